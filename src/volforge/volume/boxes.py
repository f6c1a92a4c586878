"""Boxes of structures in label maps: everything after works on the little that is not background."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from volforge.volume.geometry import Array

Box = tuple[slice, ...]


def foreground_box(volume: Array) -> Box | None:
    """Smallest box around the non-zero voxels of a volume of any dimension, or None where there are none."""
    box: list[slice] = []
    rest = volume
    for _ in range(volume.ndim):  # each axis is looked for in what the earlier ones left
        along = rest.any(axis=tuple(a for a in range(volume.ndim) if a != len(box)))
        found = np.flatnonzero(along)
        if not found.size:
            return None
        part = slice(int(found[0]), int(found[-1]) + 1)
        rest = rest[(slice(None),) * len(box) + (part,)]
        box.append(part)
    return tuple(box)


def holding(labels: Array, ids: Iterable[int]) -> Array:
    """Where a label map holds one of some ids: `np.isin`, in the order that the map has in memory and ten times faster.

    Args:
        labels: Whole numbers from 0 on, of any integer type and shape.
        ids: Those looked for; what the map does not hold is nowhere.

    Returns:
        Boolean, of the map's shape.
    """
    table = np.zeros(int(labels.max(initial=0)) + 1, bool)
    table[[i for i in ids if 0 <= i < len(table)]] = True
    found: Array = table[labels]
    return found


def structure_boxes(labels: Array, ids: Iterable[int]) -> dict[int, Box]:
    """Boxes of several structures of a label map in one pass; structures without a voxel are left out.

    Args:
        labels: Label map of whole numbers, any integer type.
        ids: Ids to look for, above 0.
    """
    import cc3d

    wanted = list(ids)
    whole, top = foreground_box(labels), max(wanted, default=0)
    if whole is None or top < 1:
        return {}
    part = labels[whole]
    if part.dtype.kind != "u" or part.max() > top:  # the table of boxes is as long as the largest id
        part = np.where((part > 0) & (part <= top), part, 0).astype(np.min_scalar_type(top))
    found: dict[int, Box | None]
    if part.size > top:
        step = -1 if part.strides[0] < part.strides[-1] else 1  # it is three times as fast along C order
        table = cc3d.statistics(part.transpose(range(part.ndim)[::step]))
        rows = zip(table["bounding_boxes"], table["voxel_counts"], strict=True)
        places = [box[::step] if n else None for box, n in rows]
        found = {i: places[i] for i in wanted if i < len(places)}
    else:  # ids as large as the number of voxels are more than it takes
        found = {i: foreground_box(part == i) for i in wanted}
    return {
        i: tuple(slice(w.start + s.start, w.start + s.stop) for w, s in zip(whole, box, strict=True))
        for i, box in found.items()
        if box is not None
    }


def union(a: Box | None, b: Box | None) -> Box | None:
    """Smallest box around two boxes."""
    if a is None or b is None:
        return a or b
    return tuple(slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True))


def grown(box: Box, voxels: Iterable[int], shape: tuple[int, ...]) -> Box:
    """A box with a margin on every side, cut to the volume."""
    return tuple(slice(max(0, s.start - v), min(n, s.stop + v)) for s, v, n in zip(box, voxels, shape, strict=True))


def bounding_box(mask: Array, margin: tuple[int, int, int] = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """The smallest box that holds the true voxels, grown by a margin in voxels; the whole grid if empty."""
    box = foreground_box(mask)
    x, y, z = tuple(slice(0, n) for n in mask.shape) if box is None else grown(box, margin, mask.shape)
    return x, y, z
