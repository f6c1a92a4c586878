"""Texture of synthetic images: how much values vary inside structures, and from slice to slice, against real ones.

Mean painting has the right mean everywhere and no texture; a generator that adds noise has too much. Both are invisible
to the Dice of a segmenter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from volforge.metrics.measure import Measure, nothing
from volforge.volume.geometry import Array

FEWEST = 50  # voxels of a structure below which its spread means little


def texture(synthetic: Array, reference: Array, labels: Array, ids: Mapping[str, int]) -> list[Measure]:
    """Spread inside every structure, synthetic over real: 1 is right.

    Args:
        synthetic, reference: (X, Y, Z) in one unit. The reference need not be the same patient: then `labels` are
            the synthetic image's and the comparison is that of `spreads`.
        labels: (X, Y, Z) ids on the same grid.
        ids: Id by structure.

    Returns:
        `texture_sd_ratio` (standard deviation in the structure) and `texture_fine_ratio` (that of differences between
        neighbours in a slice: grain) of every structure; `undefined` where the real image does not vary, `absent`
        where the structure is missing or too small.
    """
    found = []
    for name, identifier in ids.items():
        mask = labels == identifier
        count = int(np.count_nonzero(mask))
        for measure, spread in (("texture_sd_ratio", _coarse), ("texture_fine_ratio", _fine)):
            real = spread(reference, mask) if count >= FEWEST else math.nan
            if count < FEWEST:
                found.append(nothing(measure, "absent", name, count))
            elif not real > 0:
                found.append(nothing(measure, "undefined", name, count))
            else:
                found.append(Measure(measure, spread(synthetic, mask) / real, name, "ok", count))
    return found


def _coarse(image: Array, mask: Array) -> float:
    return float(image[mask].astype(np.float64).std())


def _fine(image: Array, mask: Array) -> float:
    """Root mean square difference of neighbours along the first two axes, both in the structure."""
    total, count = 0.0, 0
    for axis in (0, 1):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        both = mask[tuple(low)] & mask[tuple(high)]
        steps = image[tuple(high)][both].astype(np.float64) - image[tuple(low)][both]
        total += float((steps**2).sum())
        count += len(steps)
    return math.sqrt(total / count) if count else math.nan


def slice_change(synthetic: Array, reference: Array, body: Array) -> Measure:
    """`slice_change_ratio`: mean absolute change from one slice to the next inside the body, synthetic over real.

    Args:
        synthetic, reference: (X, Y, Z) in one unit.
        body: (X, Y, Z) bool.
    """
    both = body[:, :, 1:] & body[:, :, :-1]
    count = int(np.count_nonzero(both))
    if not count:
        return nothing("slice_change_ratio", "absent", "body")
    changes = [float(np.abs(np.diff(v.astype(np.float64), axis=2))[both].mean()) for v in (synthetic, reference)]
    if not changes[1] > 0:
        return nothing("slice_change_ratio", "undefined", "body", count)
    return Measure("slice_change_ratio", changes[0] / changes[1], "body", "ok", count)
