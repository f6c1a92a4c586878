"""A case opened along three planes through its implant: skull, prediction, reference, error."""

from __future__ import annotations

import numpy as np

from volforge.study.case_picture import TOO_LITTLE, TOO_MUCH
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array
from volforge.volume.picture import GAP, RGB, contact_sheet, plane, render

TILE = 220
MARGIN_MM = 15.0
GREY = (0.0, 1.6)
IMPLANT: RGB = (0, 158, 115)


def implant_picture(
    defective: Array, prediction: Array | None, reference: Array, spacing: tuple[float, float, float]
) -> Array:
    """A sheet with a row each of a sagittal, coronal and axial plane, where the implants are largest.

    Columns: the defective skull, the prediction, the true implant, and the error (orange: too much, blue: missing). All
    tiles show a square of the same size in mm about the implants.

    Args:
        defective: (X, Y, Z) bool.
        prediction: bool, or None: nothing was predicted.
        reference: bool.
        spacing: mm.

    Returns:
        (rows, columns, 3) uint8.
    """
    predicted = np.zeros_like(reference) if prediction is None else prediction
    focus = reference | predicted
    tight = bounding_box(focus if focus.any() else defective)
    middle = [(s.start + s.stop - 1) / 2 for s in tight]
    edge = max((s.stop - s.start) * d for s, d in zip(tight, spacing, strict=True)) + 2 * MARGIN_MM
    # a cube in mm, that may reach beyond the grid
    low = [round(m - edge / d / 2) for m, d in zip(middle, spacing, strict=True)]
    count = [max(2, round(edge / d)) for d in spacing]
    skull, first, second = (_part(v, low, count) for v in (defective, predicted, reference))
    wrong = np.where(first == second, 0, np.where(second, 2, 1)).astype(np.int64)
    both = first | second
    tiles = []
    for axis in (0, 1, 2):
        area = both.sum(axis=tuple(a for a in range(3) if a != axis))
        index = int(np.argmax(area)) if area.any() else count[axis] // 2
        grey = plane(skull, axis, index).astype(np.float32)
        shown: list[tuple[Array, dict[int, RGB], float]] = [
            (np.zeros(grey.shape, np.int64), {}, 0.0),
            (plane(first, axis, index).astype(np.int64), {1: IMPLANT}, 0.8),
            (plane(second, axis, index).astype(np.int64), {1: IMPLANT}, 0.8),
            (plane(wrong, axis, index), {1: TOO_MUCH, 2: TOO_LITTLE}, 0.9),
        ]
        tiles += [render(grey, GREY, (TILE, TILE), None, labels, colours, o) for labels, colours, o in shown]
    return contact_sheet(tiles, columns=4, gap=GAP)


def _part(mask: Array, low: list[int], count: list[int]) -> Array:
    """A box of a mask that may reach beyond its grid, where it is false."""
    found = np.zeros(count, bool)
    onto, source = [], []
    for a, n, size in zip(low, count, mask.shape, strict=True):
        begin, end = max(a, 0), min(a + n, size)
        onto.append(slice(begin - a, max(end, begin) - a))
        source.append(slice(begin, max(end, begin)))
    found[tuple(onto)] = mask[tuple(source)]
    return found
