"""Carrying a volume onto another by their boxes: the alignment that needs no registration."""

from __future__ import annotations

import numpy as np

from volforge.volume.boxes import Box, foreground_box
from volforge.volume.geometry import Array


def whole_box(shape: tuple[int, ...]) -> Box:
    """The box of a whole volume."""
    return tuple(slice(0, n) for n in shape)


def box_of(mask: Array) -> Box:
    """Box of a mask; the whole volume where it is empty."""
    return foreground_box(mask) or whole_box(mask.shape)


def carried(volume: Array, box: Box, onto: Box) -> Array:
    """The part of a volume inside its box, stretched onto another box by nearest neighbour.

    Args:
        volume: (X, Y, Z).
        box: Box in the volume.
        onto: Box that gives the shape of the result.
    """
    picked = volume[box]
    for axis, (source, target) in enumerate(zip(box, onto, strict=True)):
        n, m = source.stop - source.start, target.stop - target.start
        index = np.minimum(((np.arange(m) + 0.5) * n / m).astype(np.intp), n - 1)
        picked = np.take(picked, index, axis=axis)
    return picked


def common_shape(box: Box, volumes: int = 1, most: int = 150_000_000) -> tuple[int, ...]:
    """Shape of the grid that training scans are carried onto: the first one's box, coarser where memory asks.

    Args:
        box: Box of the first scan.
        volumes: How many volumes of that shape are held.
        most: Voxels that all of them may have together.
    """
    shape = np.array([s.stop - s.start for s in box], float)
    factor = min(1.0, (most / (volumes * float(np.prod(shape)))) ** (1 / 3))
    return tuple(max(1, round(n * factor)) for n in shape)
