"""Volumes on coarser voxels: means over blocks."""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array, Grid


def block_factor(grid: Grid, coarse_mm: float) -> tuple[int, int, int]:
    """How many voxels along each axis make about a length."""
    x, y, z = (max(1, round(coarse_mm / s)) for s in grid.spacing_mm)
    return x, y, z


def block_means(values: Array, grid: Grid, factor: tuple[int, int, int]) -> tuple[Array, Grid]:
    """Means over blocks of voxels; a block that the volume ends in repeats the last voxels.

    Args:
        values: (X, Y, Z), of numbers or boolean.
        grid: Their grid.
        factor: Voxels of a block along each axis.

    Returns:
        (x, y, z) float32, and its grid.
    """
    missing = [-n % f for n, f in zip(values.shape, factor, strict=True)]
    padded = np.pad(values, [(0, m) for m in missing], mode="edge") if any(missing) else values
    x, y, z = (n // f for n, f in zip(padded.shape, factor, strict=True))
    total = np.zeros((x, y, z), np.float32, order="F")
    for i in range(factor[0]):
        for j in range(factor[1]):
            for k in range(factor[2]):
                total += padded[i :: factor[0], j :: factor[1], k :: factor[2]]
    total /= np.float32(np.prod(factor))
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((np.array(factor) - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * np.array(factor)
    return total, Grid((x, y, z), affine)


def blown_up(mask: Array, factor: tuple[int, int, int], shape: tuple[int, ...]) -> Array:
    """A mask of blocks on the voxels that they are made of, (X, Y, Z)."""
    for axis, count in enumerate(factor):
        mask = np.repeat(mask, count, axis=axis) if count > 1 else mask
    return np.asfortranarray(mask[: shape[0], : shape[1], : shape[2]])
