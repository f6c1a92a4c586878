"""Compiled walks along normals: whether a place is seen from the condyle, and what lies beyond it.

Steps grow with the distance to bone (sphere tracing, Hart 1996), so that empty space costs little and no plate is
jumped over. All lengths are in voxels of the working grid.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from volforge.volume.geometry import Array

LEAST, MOST = 0.2, 2.0  # steps; a plate of one voxel is met at least four times


@njit(cache=True)
def seen_from_condyle(places: Array, away: Array, outward: Array, opaque: Array, margin: int) -> Array:
    """Whether the way down to the condyle is free of bone.

    The way follows the falling distance to the condyle: a straight line to the nearest place of its surface.

    Args:
        places: (N, 3) voxels of the clip cube.
        away: Distance to the condyle, clip cube.
        outward: Unit vectors away from it, (X, Y, Z, 3).
        opaque: Distance to bone, whole grid, negative inside.
        margin: Voxels of the grid around the clip cube.

    Returns:
        (N,) bool. False too where the distance is flat: equally far from two parts of the condyle.
    """
    count = len(places)
    seen = np.zeros(count, np.bool_)
    for n in range(count):
        x, y, z = float(places[n, 0]), float(places[n, 1]), float(places[n, 2])
        i, j, k = places[n, 0], places[n, 1], places[n, 2]
        left = 4.0 * away[i, j, k] + 20.0  # in steps of the least length, with room for detours
        while left > 0:
            if away[i, j, k] < 1.0:  # next to the surface: no bone fits between
                seen[n] = True
                break
            bone = opaque[i + margin, j + margin, k + margin]
            if bone < 0:
                break
            step = min(max(bone - 1.2, LEAST), MOST)
            u, v, w = outward[i, j, k, 0], outward[i, j, k, 1], outward[i, j, k, 2]
            if u == 0 and v == 0 and w == 0:
                break
            x -= step * u
            y -= step * v
            z -= step * w
            i = min(max(int(np.rint(x)), 0), away.shape[0] - 1)
            j = min(max(int(np.rint(y)), 0), away.shape[1] - 1)
            k = min(max(int(np.rint(z)), 0), away.shape[2] - 1)
            left -= step
    return seen


@njit(cache=True)
def way_to_bone(places: Array, rays: Array, reach: Array, barrier: Array, opaque: Array) -> Array:
    """How far along a ray the barrier lies.

    Args:
        places: (N, 3) voxels of the whole grid, not only whole ones.
        rays: (N, 3) unit vectors.
        reach: (N,) how far to look.
        barrier: Distance to the barrier, whole grid, negative inside.
        opaque: Distance to all bone.

    Returns:
        (N,) distance; -1 where the barrier is not met within reach, or other bone lies before it.
    """
    count = len(places)
    found = np.full(count, -1.0)
    a, b, c = barrier.shape
    for n in range(count):
        gone = 0.0
        before, last = 0.0, 1e9
        while gone <= reach[n]:
            x = places[n, 0] + gone * rays[n, 0]
            y = places[n, 1] + gone * rays[n, 1]
            z = places[n, 2] + gone * rays[n, 2]
            i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
            if i < 0 or j < 0 or k < 0 or i >= a - 1 or j >= b - 1 or k >= c - 1:
                break
            u, v, w = x - i, y - j, z - k
            here = 0.0
            near = 1e9
            for p in range(2):
                for q in range(2):
                    for r in range(2):
                        share = (u if p else 1 - u) * (v if q else 1 - v) * (w if r else 1 - w)
                        here += share * barrier[i + p, j + q, k + r]
                        near = min(near, opaque[i + p, j + q, k + r])
            if here <= 0:  # the surface lies where the line between the last two values is zero
                found[n] = gone if last >= 1e9 else before + (gone - before) * last / (last - here)
                break
            if near < 0 and opaque[int(np.rint(x)), int(np.rint(y)), int(np.rint(z))] < 0:
                if barrier[int(np.rint(x)), int(np.rint(y)), int(np.rint(z))] < 0:
                    found[n] = gone
                break
            before, last = gone, here
            gone += min(max(near - 0.2, LEAST), MOST)
    return found
