"""Compiled walks over the voxels of a skull: its extent, its outer surface by direction, the vault near a place.

Directions from the centre of a head lie on Lambert's equal-area disc about the upright axis: a pixel has the same area
everywhere, and the disc needs no seam.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from volforge.volume.geometry import Array

BASE_DEGREES, BROW_DEGREES = 110.0, 90.0  # from the upright axis: where the base begins, and in front orbits and face


@njit(cache=True)
def extent_above(bone: Array, affine: Array, floor: float) -> tuple[Array, Array]:
    """Lowest and highest RAS coordinates of the voxel centres of bone that lie at `floor` mm or above.

    Args:
        bone: (X, Y, Z) bool in C order.
        affine: 4x4, voxel index to RAS mm.
        floor: Height along S.

    Returns:
        Two (3,); infinite where nothing lies there.
    """
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    p = np.zeros(3)
    for i in range(bone.shape[0]):
        for j in range(bone.shape[1]):
            for k in range(bone.shape[2]):
                if not bone[i, j, k]:
                    continue
                p[2] = affine[2, 0] * i + affine[2, 1] * j + affine[2, 2] * k + affine[2, 3]
                if p[2] < floor:
                    continue
                p[0] = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] * k + affine[0, 3]
                p[1] = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] * k + affine[1, 3]
                for a in range(3):
                    low[a] = min(low[a], p[a])
                    high[a] = max(high[a], p[a])
    return low, high


@njit(cache=True)
def pixel_of(x: float, y: float, z: float, r: float, pitch: float, half: int) -> tuple[int, int]:
    """The pixel of Lambert's disc that a vector of length r points to; -1 where it lies beyond the disc."""
    up = z / r
    if up < -0.99:
        return -1, -1
    scale = np.sqrt(2.0 / (1.0 + up)) / r
    a, b = int(np.rint(x * scale / pitch)) + half, int(np.rint(y * scale / pitch)) + half
    if a < 0 or b < 0 or a > 2 * half or b > 2 * half:
        return -1, -1
    return a, b


@njit(cache=True)
def farthest_bone(bone: Array, affine: Array, centre: Array, pitch: float, half: int, lowest: float) -> Array:
    """Distance in mm from the centre to the farthest bone in every direction.

    Args:
        bone: (X, Y, Z) bool in C order.
        affine: 4x4, voxel index to RAS mm.
        centre: (3,) RAS mm.
        pitch: Edge of the disc's pixels, radians at its middle.
        half: The disc has 2 half + 1 pixels on a side.
        lowest: Cosine of the largest angle from the upright axis that is looked at.

    Returns:
        (2 half + 1,) * 2 float32; 0 where there is no bone.
    """
    found = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for i in range(bone.shape[0]):
        for j in range(bone.shape[1]):
            for k in range(bone.shape[2]):
                if not bone[i, j, k]:
                    continue
                x = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] * k + affine[0, 3] - centre[0]
                y = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] * k + affine[1, 3] - centre[1]
                z = affine[2, 0] * i + affine[2, 1] * j + affine[2, 2] * k + affine[2, 3] - centre[2]
                r = np.sqrt(x * x + y * y + z * z)
                if r < 1 or z < lowest * r:
                    continue
                a, b = pixel_of(x, y, z, r, pitch, half)
                if a >= 0 and r > found[a, b]:
                    found[a, b] = r
    return found


@njit(cache=True)
def depths_of_bone(bone: Array, affine: Array, centre: Array, pitch: float, outer: Array, most: int) -> Array:
    """Where bone lies under the outer surface, by direction, in steps of 1 mm.

    Args:
        bone, affine, centre, pitch: As above.
        outer: Of `farthest_bone`.
        most: Steps.

    Returns:
        outer's shape plus (most,) bool.
    """
    half = outer.shape[0] // 2
    found = np.zeros((outer.shape[0], outer.shape[1], most), np.bool_)
    for i in range(bone.shape[0]):
        for j in range(bone.shape[1]):
            for k in range(bone.shape[2]):
                if not bone[i, j, k]:
                    continue
                x = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] * k + affine[0, 3] - centre[0]
                y = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] * k + affine[1, 3] - centre[1]
                z = affine[2, 0] * i + affine[2, 1] * j + affine[2, 2] * k + affine[2, 3] - centre[2]
                r = np.sqrt(x * x + y * y + z * z)
                if r < 1:
                    continue
                a, b = pixel_of(x, y, z, r, pitch, half)
                if a >= 0 and outer[a, b] > 0:
                    depth = int(outer[a, b] - r)
                    if 0 <= depth < most:
                        found[a, b, depth] = True
    return found


@njit(cache=True)
def is_low(x: float, y: float, z: float, semi: Array) -> bool:
    """Whether a vector from the centre points below the vault: to the skull base, in front to orbits and face."""
    x, y, z = x / semi[0], y / semi[1], z / semi[2]
    flat = np.sqrt(x * x + y * y)
    ahead = max(y / flat, 0.0) if flat > 0 else 0.0
    limit = BASE_DEGREES - (BASE_DEGREES - BROW_DEGREES) * ahead
    return z < np.cos(np.radians(limit)) * np.sqrt(flat * flat + z * z)


@njit(cache=True)
def vault_near(
    bone: Array,
    affine: Array,
    centre: Array,
    semi: Array,
    pitch: float,
    inner: Array,
    place: Array,
    axes: Array,
    reach: float,
    first: Array,
    last: Array,
    step: Array,
) -> tuple[Array, Array]:
    """The voxels of the vault in a ball.

    Args:
        bone, affine, centre, pitch: As above.
        semi: (3,) mm, as `Head` has it.
        inner: Distance from which on bone belongs to the vault, by direction; infinite: none does.
        place: (3,) RAS mm, the middle of the ball.
        axes: (3, 3), rows: the axes of the returned coordinates in RAS.
        reach: Radius of the ball, mm.
        first, last, step: (3,) voxels that are looked at: from, to (exclusive), every how many.

    Returns:
        (N, 3) int32 voxels and (N, 3) float32 mm from the place along the axes.
    """
    half = inner.shape[0] // 2
    size, count = 4096, 0
    index, local = np.empty((size, 3), np.int32), np.empty((size, 3), np.float32)
    for i in range(first[0], last[0], step[0]):
        for j in range(first[1], last[1], step[1]):
            for k in range(first[2], last[2], step[2]):
                if not bone[i, j, k]:
                    continue
                x = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] * k + affine[0, 3]
                y = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] * k + affine[1, 3]
                z = affine[2, 0] * i + affine[2, 1] * j + affine[2, 2] * k + affine[2, 3]
                u, v, w = x - place[0], y - place[1], z - place[2]
                if u * u + v * v + w * w > reach * reach:
                    continue
                x -= centre[0]
                y -= centre[1]
                z -= centre[2]
                r = np.sqrt(x * x + y * y + z * z)
                if r < 1:
                    continue
                a, b = pixel_of(x, y, z, r, pitch, half)
                if a < 0 or r < inner[a, b] or is_low(x, y, z, semi):
                    continue
                if count == size:
                    size *= 2
                    more, further = np.empty((size, 3), np.int32), np.empty((size, 3), np.float32)
                    more[:count] = index
                    further[:count] = local
                    index, local = more, further
                index[count, 0], index[count, 1], index[count, 2] = i, j, k
                for q in range(3):
                    local[count, q] = axes[q, 0] * u + axes[q, 1] * v + axes[q, 2] * w
                count += 1
    return index[:count].copy(), local[:count].copy()
