"""Inner and outer surface of a skull along rays from a centre, compiled."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from volforge.tasks.implant.kriging.pose import Pose
from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Casting:
    """How rays are cast; all in mm.

    Attributes:
        first_mm, last_mm: Where a ray begins and ends.
        step_mm: Length of a step; surfaces lie between steps, by linear interpolation.
        least_mm: A run of bone shorter than this is noise.
        most_gap_mm: The outer surface ends before a gap longer than this: what lies behind belongs to no vault.
    """

    first_mm: float = 25.0
    last_mm: float = 135.0
    step_mm: float = 0.3
    least_mm: float = 0.7
    most_gap_mm: float = 7.0


@dataclass(frozen=True)
class Surfaces:
    """What rays met.

    Attributes:
        radii: (2, ...) inner and outer radius in mm of the frame; NaN where there is no bone.
        left: (...) radius at which a ray left the volume without meeting bone, mm of the frame; infinite elsewhere.
    """

    radii: Array
    left: Array


def cast(
    skull: Array,
    affine: Array,
    pose: Pose,
    directions: Array,
    how: Casting | None = None,
) -> Surfaces:
    """Cast rays through a binary skull. Bone that reaches the border of the volume ends there.

    Args:
        skull: (X, Y, Z) uint8, 1 is bone.
        affine: (4, 4) voxel to patient coordinates, mm, RAS.
        pose: The skull's; rays start at its centre and follow its axes.
        directions: (..., 3) unit vectors of the frame.
        how: Steps and limits.

    Returns:
        Radii in units of the frame (mm divided by the pose's scale), shape (2, ...).
    """
    how = how or Casting()
    inverse = np.linalg.inv(affine[:3, :3])
    origin = inverse @ (pose.centre - affine[:3, 3])
    steps = (directions.reshape(-1, 3) @ pose.rotation.T) @ inverse.T
    values = skull.view(np.uint8) if skull.dtype == bool else skull
    found = _cast(
        values,
        origin,
        np.ascontiguousarray(steps),
        how.first_mm,
        how.last_mm,
        how.step_mm,
        how.most_gap_mm,
        how.least_mm,
    )
    shape = directions.shape[:-1]
    radii = np.stack([found[:, k].reshape(shape) for k in (0, 1)]) / pose.scale
    return Surfaces(radii, found[:, 2].reshape(shape) / pose.scale)


@numba.njit(cache=True)
def _value(skull, x, y, z):  # type: ignore[no-untyped-def]
    """Trilinear value of a binary volume; -1 outside of it."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    if i < 0 or j < 0 or k < 0 or i + 1 >= skull.shape[0] or j + 1 >= skull.shape[1] or k + 1 >= skull.shape[2]:
        return -1.0
    fx, fy, fz = x - i, y - j, z - k
    low = (skull[i, j, k] * (1 - fx) + skull[i + 1, j, k] * fx) * (1 - fy)
    low += (skull[i, j + 1, k] * (1 - fx) + skull[i + 1, j + 1, k] * fx) * fy
    high = (skull[i, j, k + 1] * (1 - fx) + skull[i + 1, j, k + 1] * fx) * (1 - fy)
    high += (skull[i, j + 1, k + 1] * (1 - fx) + skull[i + 1, j + 1, k + 1] * fx) * fy
    return low * (1 - fz) + high * fz


@numba.njit(cache=True)
def _cast(skull, origin, steps, first, last, step, most_gap, least):  # type: ignore[no-untyped-def]
    """Per ray: inner radius, outer radius (NaN: no bone), radius at which it left the volume without bone."""
    found = np.full((steps.shape[0], 3), np.nan)
    for n in range(steps.shape[0]):
        found[n, 2] = np.inf
        before, inner, outer, start = 0.0, -1.0, -1.0, -1.0
        r = first
        while r < last:
            v = _value(skull, origin[0] + r * steps[n, 0], origin[1] + r * steps[n, 1], origin[2] + r * steps[n, 2])
            gone = v < 0
            v = max(v, 0.0)
            if v >= 0.5 and before < 0.5:
                start = r - step * (v - 0.5) / (v - before)
                if inner >= 0 and start - outer > most_gap:
                    break
            if v < 0.5 and before >= 0.5 and start >= 0:
                end = r - step * (0.5 - v) / (before - v)
                if end - start >= least:
                    if inner < 0:
                        inner = start
                    outer = end
            if gone:
                if inner < 0:
                    found[n, 2] = r
                break
            if inner >= 0 and v < 0.5 and r - outer > most_gap:
                break
            before = v
            r += step
        if inner >= 0:
            found[n, 0] = inner
            found[n, 1] = outer
    return found
