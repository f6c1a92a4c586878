"""What lies within a distance of a mask, by rows of bits: for small radii several times faster than a distance map.

A ball is a stack of rows. The mask is widened along its rows once for each half-width that the ball has, packed to
bits, and laid over itself once for each row of the ball.
"""

from __future__ import annotations

import math

import numpy as np

from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Array

MOST_ROWS = 700  # of a ball; beyond, a distance map is faster


def within(mask: Array, radius_mm: float, spacing: tuple[float, float, float]) -> Array | None:
    """Voxels no further from a true voxel than a radius, between voxel centres: those that a distance map says.

    Args:
        mask: (X, Y, Z) bool, contiguous in C or Fortran order.
        radius_mm: Of the ball, above 0.
        spacing: mm.

    Returns:
        (X, Y, Z) bool in the order of the mask; None where the ball has so many rows that a distance map is faster.
    """
    reach = [int(radius_mm / s) + 1 for s in spacing]
    rows = [reach[1], reach[2]] if _is_fortran(mask) else [reach[0], reach[1]]
    if math.prod(2 * r - 1 for r in rows) > MOST_ROWS or math.prod(2 * r + 1 for r in reach) > mask.size:
        return None
    found = np.zeros_like(mask)
    box = foreground_box(mask)
    if box is None:
        return found
    box = grown(box, reach, mask.shape)
    ball = _ball(reach, radius_mm, spacing, "F" if _is_fortran(mask) else "C")
    if _is_fortran(mask):
        found[box] = _laid(mask[box].T, ball.T).T
    else:
        found[box] = _laid(mask[box], ball)
    return found


def _is_fortran(mask: Array) -> bool:
    return bool(mask.flags.f_contiguous)


def _ball(reach: list[int], radius_mm: float, spacing: tuple[float, float, float], order: str) -> Array:
    """The voxels within the radius of the middle one, as the distance transform rounds them in this memory order."""
    import edt

    ball = np.ones([2 * r + 1 for r in reach], bool, order=order)  # type: ignore[call-overload]
    ball[tuple(reach)] = False
    return np.asarray(edt.edt(ball, anisotropy=spacing, black_border=False, parallel=1) <= radius_mm)


def _laid(mask: Array, ball: Array) -> Array:
    """The mask with the ball over each of its voxels; rows run along the last axis of both."""
    lengths = ball.sum(axis=2)  # odd, or 0: a ball is round
    wide = np.ascontiguousarray(mask)
    result: Array | None = None
    for half in range(int(lengths.max() - 1) // 2 + 1):
        if half:
            narrow, wide = wide, wide.copy()
            wide[..., 1:] |= narrow[..., :-1]
            wide[..., :-1] |= narrow[..., 1:]
        places = np.argwhere(lengths == 2 * half + 1) - np.array(lengths.shape) // 2
        if not len(places):
            continue
        bits = np.packbits(wide, axis=2)
        if result is None:
            result = np.zeros_like(bits)
        for i, j in places.tolist():
            (to_i, from_i), (to_j, from_j) = _moved(i, mask.shape[0]), _moved(j, mask.shape[1])
            result[to_i, to_j] |= bits[from_i, from_j]
    assert result is not None
    return np.unpackbits(result, axis=2, count=mask.shape[2]).view(bool)


def _moved(step: int, length: int) -> tuple[slice, slice]:
    """Where to, and where from, along an axis of this length."""
    return slice(max(0, step), max(0, length + min(0, step))), slice(max(0, -step), max(0, length - max(0, step)))
