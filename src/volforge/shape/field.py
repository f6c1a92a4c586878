"""Signed distance fields: below the voxel at the surface, sampled anywhere, with their gradient."""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import Spacing, distance_across


def signed_distance(mask: Array, spacing: Spacing) -> Array:
    """Signed distance in mm to the surface between a mask and what is outside, negative inside.

    The Euclidean distance transform gives the exact distance to the nearest voxel centre on the other side. The surface
    lies nearer: by half a voxel next to it, further away by less, since of many centres below the surface one lies just
    under it. With one centre per voxel the expected depth of the nearest of them, seen from d voxels, is 0.5 / sqrt(d).

    Args:
        mask: (X, Y, Z) bool; neither empty nor full, or the distance is infinite.
        spacing: mm; about cubic (`near_cubic`), since a voxel has one size here.
    """
    voxel = np.float32(np.prod(spacing) ** (1 / 3))
    away = distance_across(mask, spacing)  # a bone that the box cuts has no surface there
    found = away - np.float32(0.5) * voxel / np.sqrt(np.maximum(away / voxel, 1))
    return np.where(mask, -found, found).astype(np.float32)


def near_cubic(mask: Array, grid: Grid) -> tuple[Array, Grid]:
    """The same mask on voxels that are about cubic: each is parted along its long edges.

    Nothing is interpolated; what was one voxel is now some, and the surface stays where it was.
    """
    spacing = np.array(grid.spacing_mm)
    parts = np.maximum(np.rint(spacing / spacing.min()), 1).astype(int)
    if (parts == 1).all():
        return mask, grid
    for axis, n in enumerate(parts):
        if n > 1:
            mask = np.repeat(mask, n, axis=axis)
    matrix = grid.affine.copy()
    matrix[:3, :3] = grid.affine[:3, :3] / parts
    matrix[:3, 3] = grid.affine[:3, 3] + grid.affine[:3, :3] @ ((1 / parts - 1) / 2)
    x, y, z = (int(n) for n in mask.shape)
    return mask, Grid((x, y, z), matrix)


def smoothed(field: Array, sigma_voxels: float) -> Array:
    """A field under a Gaussian."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(field, sigma_voxels, mode="nearest", truncate=3.0))


def directions(field: Array) -> Array:
    """Unit gradient at every voxel, (X, Y, Z, 3) float32, for cubic voxels; 0 where the field is flat."""
    found = np.stack([np.gradient(field.astype(np.float32), axis=n) for n in range(3)], axis=-1)
    length = np.sqrt((found**2).sum(axis=-1, keepdims=True))
    return np.divide(found, length, out=np.zeros_like(found), where=length > 1e-6)


def sample(field: Array, index: Array) -> Array:
    """Values of a field at places between voxels, trilinear; beyond the box those of its rim.

    Args:
        field: (X, Y, Z).
        index: (N, 3) in voxels.
    """
    from scipy.ndimage import map_coordinates

    return np.asarray(map_coordinates(field, np.asarray(index).T, order=1, mode="nearest"))
