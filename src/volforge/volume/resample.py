"""Resampling between grids, by SimpleITK; every value outside of the source is named by the caller."""

from __future__ import annotations

import numpy as np

from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Array, Grid

SLAB = 32  # slices that are blurred at a time


def resample_to(array: Array, grid: Grid, onto: Grid, *, nearest: bool, outside: float, smooth: bool = False) -> Array:
    """Resample a volume onto another grid.

    Args:
        array: (X, Y, Z) on `grid`.
        grid, onto: Source and target grid.
        nearest: Nearest neighbour (labels, masks); otherwise linear.
        outside: Value where the target leaves the source.
        smooth: Before sampling down, take out what the coarser grid cannot hold (a Gaussian whose width joins
            the widths of the two voxels), axis by axis.

    Returns:
        Array of the target's shape in the dtype of `array` (float64 sources stay so; linear results of
        integers are rounded).
    """
    import SimpleITK as sitk

    array, grid = about(array, grid, onto, outside)
    source = array.astype(np.uint8) if array.dtype == bool else array
    working = source if nearest else source.astype(np.float32)
    if smooth and not nearest:
        working = _smoothed(working, grid, onto)
    image = _as_itk(working, grid)
    filter_ = sitk.ResampleImageFilter()
    filter_.SetNumberOfThreads(1)
    filter_.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
    filter_.SetDefaultPixelValue(float(outside))
    filter_.SetSize([int(n) for n in onto.shape])
    spacing, direction, origin = _itk_geometry(onto)
    filter_.SetOutputSpacing(spacing)
    filter_.SetOutputDirection(direction)
    filter_.SetOutputOrigin(origin)
    result = sitk.GetArrayFromImage(filter_.Execute(image)).transpose(2, 1, 0)
    if array.dtype == bool:
        return result.astype(bool)
    if array.dtype.kind in "iu" and not nearest:
        return np.rint(result).astype(array.dtype)
    return result.astype(array.dtype)


def about(array: Array, grid: Grid, onto: Grid, outside: float) -> tuple[Array, Grid]:
    """The part of a volume that is not `outside`, and as much around it as smoothing reads: the rest stays as it is.

    Args:
        array: (X, Y, Z) on `grid`.
        grid, onto: Source and target grid.
        outside: Value beyond the source.

    Returns:
        A view of the array, and its grid; one voxel where nothing else is in it.
    """
    box = foreground_box(array if outside == 0 else array != outside)
    if box is None:
        box = (slice(0, 1),) * 3
    reach = [_radius(s) + 2 for s in _sigmas(grid, onto)]  # of the blur, and of the interpolation
    every = zip(box, reach, array.shape, strict=True)
    wide = tuple(slice(max(0, b.start - r), min(n, b.stop + r)) for b, r, n in every)
    return array[wide], grid.part(wide)


def _sigmas(grid: Grid, onto: Grid) -> list[float]:
    """Width of the blur along each axis in voxels, 0 where there is none."""
    # full width at half maximum of the remaining blur: that of a box of the coarse voxel's width
    both = zip(grid.spacing_mm, onto.spacing_mm, strict=True)
    return [float(np.sqrt(c**2 - f**2) / np.sqrt(12) / f) if c > 1.2 * f else 0.0 for f, c in both]


def _radius(sigma: float) -> int:
    return int(4 * sigma + 0.5)


def _smoothed(array: Array, grid: Grid, onto: Grid) -> Array:
    for axis, sigma in enumerate(_sigmas(grid, onto)):
        if sigma:
            array = gaussian_along(array, sigma, axis)
    return array


def gaussian_along(array: Array, sigma: float, axis: int) -> Array:
    """A Gaussian along one axis; edges go on as they are.

    The same as scipy's `gaussian_filter1d(mode="nearest")`, to rounding, and as fast; the import of scipy.ndimage alone
    takes longer than the blur of most volumes.

    Args:
        array: (X, Y, Z), floating point.
        sigma: In voxels.
        axis: 0 to 2.

    Returns:
        Shape, dtype and memory order of `array`.
    """
    radius = _radius(sigma)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights = (weights / (2 * weights[1:].sum() + weights[0])).astype(array.dtype)  # from the middle outwards
    n, result = array.shape[axis], np.empty_like(array)
    pads = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
    across = 1 if axis == 2 else 2
    for first in range(0, array.shape[across], SLAB):  # few copies at a time: volumes are large
        slab = tuple(slice(first, first + SLAB) if a == across else slice(None) for a in range(3))
        padded = np.pad(array[slab], pads, mode="edge")
        shifted = [
            padded[tuple(slice(k, k + n) if a == axis else slice(None) for a in range(3))]
            for k in range(2 * radius + 1)
        ]
        total = shifted[radius] * weights[0]
        for k in range(1, radius + 1):
            total += (shifted[radius - k] + shifted[radius + k]) * weights[k]
        result[slab] = total
    return result


def _itk_geometry(grid: Grid) -> tuple[list[float], list[float], list[float]]:
    to_lps = np.diag([-1.0, -1.0, 1.0])
    spacing = np.array(grid.spacing_mm)
    direction = to_lps @ (grid.affine[:3, :3] / spacing)
    # ITK wants an orthonormal matrix to the last digits: header rounding is taken out
    u, _, v = np.linalg.svd(direction)
    return spacing.tolist(), (u @ v).ravel().tolist(), (to_lps @ grid.affine[:3, 3]).tolist()


def _as_itk(array: Array, grid: Grid):  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    spacing, direction, origin = _itk_geometry(grid)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    return image
