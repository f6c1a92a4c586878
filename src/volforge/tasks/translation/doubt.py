"""Doubt of an image: how much it varies when its source is mirrored, or shown in another contrast.

Source: test-time augmentation as in Wang et al., Neurocomputing 2019; sizes of the changes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from volforge.volume.cut import AXES
from volforge.volume.geometry import Array

FLIPS = {"x": 0, "y": 1, "z": 2}
GAMMA = 0.3  # largest |log gamma|
DARKER = 0.03  # share of the window by which its lower end moves upwards, at most
BRIGHTER = 0.05  # share by which its upper end moves, either way
STEP = 8  # deviations are kept in steps of an eighth of the unit


@dataclass(frozen=True)
class Doubt:
    """Repetitions whose spread is the doubt.

    Attributes:
        flips: Sides exchanged.
        jitters: Repetitions under other contrasts; they change the deviation alone, not the image.
        joins: Whether the image is the mean of both sides then; else it stays what it is without a doubt.
    """

    flips: bool = False
    jitters: int = 0
    joins: bool = True

    @classmethod
    def of(cls, content: Mapping[str, Any] | None) -> Doubt | None:
        """From plain values; None where none is wanted."""
        return None if content is None else cls(bool(content["flips"]), int(content["jitters"]))


@dataclass(frozen=True)
class Repetition:
    """One pass over a source.

    Attributes:
        axes: Axes of the scan that are turned round.
        jitter: Number of its contrast; 0: as it is.
        counts: Whether the image is a mean over it; the deviation is over all.
    """

    axes: tuple[int, ...] = ()
    jitter: int = 0
    counts: bool = True


def repetitions(flips: Sequence[str], doubt: Doubt | None) -> list[Repetition]:
    """All passes: every combination of the flips, then the contrasts; the first one is the plain source.

    Args:
        flips: Axes (x, y, z) whose flips are averaged.
        doubt: Adds x, and contrasts.
    """
    wanted = sorted({*flips, *("x" if doubt is not None and doubt.flips else "")})
    axes = [FLIPS[f] for f in wanted]
    averaged = {FLIPS[f] for f in (wanted if doubt is None or doubt.joins else flips)}
    every = [c for n in range(len(axes) + 1) for c in combinations(axes, n)]
    turned = [Repetition(c, counts=averaged.issuperset(c)) for c in every]
    return turned + [Repetition((), k + 1, counts=False) for k in range(doubt.jitters if doubt is not None else 0)]


def halton(number: int, base: int) -> float:
    """A number of the Halton sequence, between 0 and 1: evenly spread for every count, and drawn by no generator."""
    value, share = 0.0, 1.0
    while number:
        share /= base
        value += share * (number % base)
        number //= base
    return value


def jittered(values: Array, number: int) -> Array:
    """An image under another contrast: its window moved, and a gamma.

    Args:
        values: From -1 to 1, any shape.
        number: Which; 0: as it is. The same number gives the same contrast everywhere.

    Returns:
        float32 from -1 to 1; -1 stays -1, so that what lies outside of the body stays dark.
    """
    if not number:
        return values
    gamma = float(np.exp(GAMMA * (2 * halton(number, 2) - 1)))
    low = DARKER * halton(number, 3)
    high = 1 + BRIGHTER * (2 * halton(number, 5) - 1)
    share = np.clip(((values + 1) / 2 - low) / (high - low), 0, 1)
    return np.asarray(2 * share**gamma - 1, np.float32)


def turned(stacks: Array, axes: Sequence[int], view: str) -> Array:
    """Stacks of slices of a scan whose axes run the other way; its own inverse.

    Args:
        stacks: (..., slices, rows, columns) of a view; where axes of the scan turn, whichever of the three it is.
        axes: Of the scan (0 to 2).
        view: axial, coronal or sagittal.
    """
    across = [a for a in range(3) if a != AXES[view]]
    place = {AXES[view]: -3, across[1]: -2, across[0]: -1}
    return np.flip(stacks, tuple(place[a] for a in axes)) if len(axes) else stacks


def pooled(images: Sequence[Array], deviations: Sequence[Array | None]) -> Array:
    """Deviation of an image of several views: that within views, and that between them.

    The law of total variance: the mean of the views' variances and the variance of their images add.

    Args:
        images: One per view, of one shape.
        deviations: Theirs; None: none.

    Returns:
        float32 in steps of an eighth.
    """
    found: Array = np.empty(images[0].shape, np.float32, order="F")
    for z in range(images[0].shape[2]):  # slice by slice: several volumes in floating point are large
        within = [d[:, :, z].astype(np.float32) ** 2 for d in deviations if d is not None]
        total = np.mean(within, axis=0) if within else np.zeros(images[0].shape[:2], np.float32)
        if len(images) > 1:
            total = total + np.var([i[:, :, z].astype(np.float32) for i in images], axis=0, ddof=1)
        found[:, :, z] = in_steps(np.sqrt(total))
    return found


def in_steps(deviation: Array) -> Array:
    """A deviation in steps that files compress well."""
    return np.asarray(np.rint(deviation * STEP) / STEP, np.float32)
