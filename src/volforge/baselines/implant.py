"""Implants without learning: the blind mean implant, the mirrored other side, and closing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from volforge.baselines.boxes import box_of, carried, common_shape, whole_box
from volforge.volume.boxes import grown
from volforge.volume.geometry import Array
from volforge.volume.morphology import closing, largest_component, opening

OPENING_MM = 1.5  # takes the film off that the subtraction of two skulls leaves
MOST_SHIFT_MM = 12.0


def mean_implant(training: Iterable[tuple[Array, Array]]) -> tuple[Array, float]:
    """The implants of the training skulls, on a common grid of the defective skull's box.

    Args:
        training: Implant and defective skull of every training scan.

    Returns:
        Share of skulls whose implant covers a place, (X, Y, Z), 0 to 1; and an implant's mean share of the box.
    """
    votes: Array = np.zeros(0, np.uint16)
    n, volume = 0, 0.0
    for implant, skull in training:
        box = box_of(skull)
        if not n:
            votes = np.zeros(common_shape(box), np.uint16)
        part = carried(implant, box, whole_box(votes.shape)) > 0
        votes += part
        volume += float(part.mean())
        n += 1
    return votes / max(n, 1), volume / max(n, 1)


def blind_implant(shares: Array, volume: float, defective: Array) -> tuple[Array, Array]:
    """The implant of the average skull, blind to where this skull's defect is.

    Args:
        shares: From `mean_implant`.
        volume: From `mean_implant`: so much of the box is chosen, most frequent places first.
        defective: Defective skull that is predicted for; where bone stands there is no implant.

    Returns:
        Implant (boolean) and its confidence (0 to 1): the share of training skulls that agree.
    """
    onto = box_of(defective)
    here = np.where(defective[onto] > 0, 0.0, carried(shares, whole_box(shares.shape), onto))
    wanted = min(max(round(volume * here.size), 1), here.size)
    # places of equal share are taken all or none: the result must not depend on a sort
    least = np.partition(here.ravel(), here.size - wanted)[here.size - wanted]
    chosen = here >= max(float(least), 1e-9)
    implant, confidence = np.zeros(defective.shape, bool), np.ones(defective.shape, np.float32)
    implant[onto] = chosen
    confidence[onto] = np.where(chosen, here, 1 - here)
    return implant, confidence


def mirror(defective: Array, spacing: Sequence[float]) -> Array:
    """The bone of the other side where this side has none.

    The skull is mirrored across the sagittal plane that makes it overlap best with itself (no tilt), bone is taken
    away, a thin film is opened off, the largest piece stays.

    Args:
        defective: Defective skull, axes R, A, S.
        spacing: Voxel size in mm.
    """
    most = max(1, round(MOST_SHIFT_MM / spacing[0]))
    # the defect may take the outermost bone of one side: the mirrored bone needs room there
    box = grown(box_of(defective), (most, 0, 0), defective.shape)
    skull = defective[box] > 0
    most = min(2 * most, skull.shape[0] - 1)
    best = max(range(-most, most + 1), key=lambda s: (int((skull & _mirrored(skull, s)).sum()), -abs(s)))
    missing = _mirrored(skull, best) & ~skull
    return _largest_piece(missing, defective.shape, box, spacing)


def _mirrored(skull: Array, shift: int) -> Array:
    """The skull flipped along its first axis and moved by whole voxels."""
    flipped = skull[::-1]
    moved = np.zeros_like(flipped)
    if shift >= 0:
        moved[shift:] = flipped[: len(flipped) - shift]
    else:
        moved[:shift] = flipped[-shift:]
    return moved


def close(defective: Array, spacing: Sequence[float], radius_mm: float) -> Array:
    """What a closing adds to the skull; its largest piece.

    Args:
        defective: Defective skull.
        spacing: Voxel size in mm.
        radius_mm: Radius of the ball.
    """
    margin = [int(np.ceil(radius_mm / s)) + 1 for s in spacing]
    box = grown(box_of(defective), margin, defective.shape)
    skull = defective[box] > 0
    added = closing(skull, radius_mm, (spacing[0], spacing[1], spacing[2])) & ~skull
    return _largest_piece(added, defective.shape, box, spacing)


def _largest_piece(missing: Array, shape: tuple[int, ...], box: tuple[slice, ...], spacing: Sequence[float]) -> Array:
    opened = opening(missing, OPENING_MM, (spacing[0], spacing[1], spacing[2]))
    kept = opened if opened.any() else missing  # voxels wider than the ball: nothing thinner to take off
    implant = np.zeros(shape, bool)
    if kept.any():
        implant[box] = largest_component(kept)
    return implant
