"""Implants without learning: the blind mean implant, and, held to the hole in the vault, mirrored side and closing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from volforge.baselines.boxes import box_of, carried, common_shape, whole_box
from volforge.baselines.hole import Hole, hole_in_vault
from volforge.baselines.symmetry import mirror_image
from volforge.volume.boxes import Box, foreground_box, grown
from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.morphology import closing, largest_component, opening

OPENING_MM = 1.5  # takes the film off that the subtraction of two skulls leaves
MARGIN_MM = 12.0
LOCAL_MM = 35.0  # bone so near to the hole decides the last motion of the mirror image
COARSE_MM = 4.0


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


def mirror(defective: Array, affine: Affine, margin_mm: float = MARGIN_MM) -> Array:
    """The bone of the other side where the vault has a hole.

    The skull's mirror image is registered to the skull: the plane of symmetry, then a small motion that fits the bone
    about the hole. Of what it has more only what lies in the largest opening of the vault is taken; a thin film is
    opened off, and the largest piece stays.

    Args:
        defective: Defective skull, (X, Y, Z), above 0 where bone is.
        affine: Voxels to RAS mm.
        margin_mm: What lies so near to the opening belongs to it: walls slant.

    Returns:
        (X, Y, Z) bool; empty where the vault is closed.
    """
    from scipy.ndimage import map_coordinates

    found = _hole_of(defective, affine, margin_mm)
    if found is None:
        return np.zeros(defective.shape, bool)
    hole, box, covered = found

    def near(places: Array) -> Array:
        return hole.covers(places, LOCAL_MM)

    image = mirror_image(defective, affine, near)
    candidates = np.argwhere(covered & ~(defective[box] > 0)) + [s.start for s in box]
    whole = np.linalg.inv(affine) @ image @ affine
    index = candidates @ whole[:3, :3].T + whole[:3, 3]
    missing = np.zeros(covered.shape, bool)
    if len(index):
        low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, np.array(defective.shape) - 1)
        high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, low + 1, defective.shape)
        part = (defective[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] > 0).astype(np.float32)
        share = map_coordinates(part, (index - low).T, order=1, mode="constant", output=np.float32)
        missing[tuple((candidates[share > 0.5] - [s.start for s in box]).T)] = True
    return _largest_piece(missing, defective.shape, box, Grid((1, 1, 1), affine).spacing_mm)


def close(defective: Array, affine: Affine, radius_mm: float, margin_mm: float = MARGIN_MM) -> Array:
    """What a closing adds to the skull in the hole of its vault; the largest piece.

    Args:
        defective: Defective skull, (X, Y, Z), above 0 where bone is.
        affine: Voxels to RAS mm.
        radius_mm: Radius of the ball.
        margin_mm: What lies so near to the opening belongs to it.

    Returns:
        (X, Y, Z) bool; empty where the vault is closed.
    """
    found = _hole_of(defective, affine, margin_mm)
    if found is None:
        return np.zeros(defective.shape, bool)
    _, box, covered = found
    spacing = Grid((1, 1, 1), affine).spacing_mm
    margin = [int(np.ceil(2 * radius_mm / s)) + 1 for s in spacing]
    wide = grown(box, margin, defective.shape)
    skull = defective[wide] > 0
    inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))
    added = (closing(skull, radius_mm, spacing) & ~skull)[inner] & covered
    return _largest_piece(added, defective.shape, box, spacing)


def _hole_of(defective: Array, affine: Affine, margin_mm: float) -> tuple[Hole, Box, Array] | None:
    """The hole in the vault, a box about it, and which voxels of the box it covers; None without a hole."""
    hole = hole_in_vault(defective, affine)
    if hole is None:
        return None
    grid = Grid(tuple(defective.shape), affine)
    # where the hole lies is seen on few voxels; then all near these are asked
    steps = [max(1, round(COARSE_MM / s)) for s in grid.spacing_mm]
    rough = _covered(
        hole, tuple(slice(0, n, s) for n, s in zip(defective.shape, steps, strict=True)), affine, margin_mm
    )
    place = foreground_box(rough)
    if place is None:
        return None
    whole = tuple(slice(p.start * s, (p.stop - 1) * s + 1) for p, s in zip(place, steps, strict=True))
    box = grown(whole, steps, defective.shape)
    return hole, box, _covered(hole, box, affine, margin_mm)


def _covered(hole: Hole, box: Box, affine: Affine, margin_mm: float) -> Array:
    """Which voxels of a box (with steps) the hole covers, slab by slab."""
    x, y, z = (np.arange(s.start, s.stop, s.step or 1) for s in box)
    found = np.zeros((len(x), len(y), len(z)), bool)
    flat = np.stack(np.meshgrid(y, z, indexing="ij"), axis=-1).reshape(-1, 2).astype(float)
    for n, first in enumerate(x):
        places = flat @ affine[:3, 1:3].T + affine[:3, 0] * float(first) + affine[:3, 3]
        found[n] = hole.covers(places, margin_mm).reshape(len(y), len(z))
    return found


def _largest_piece(missing: Array, shape: tuple[int, ...], box: Box, spacing: Sequence[float]) -> Array:
    opened = opening(missing, OPENING_MM, (spacing[0], spacing[1], spacing[2]))
    kept = opened if opened.any() else missing  # voxels wider than the ball: nothing thinner to take off
    implant = np.zeros(shape, bool)
    if kept.any():
        implant[box] = largest_component(kept)
    return implant
