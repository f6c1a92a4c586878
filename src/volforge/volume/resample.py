"""Resampling between grids, by SimpleITK; every value outside of the source is named by the caller."""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array, Grid


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


def _smoothed(array: Array, grid: Grid, onto: Grid) -> Array:
    from scipy.ndimage import gaussian_filter1d

    for axis, (fine, coarse) in enumerate(zip(grid.spacing_mm, onto.spacing_mm, strict=True)):
        if coarse > 1.2 * fine:
            # full width at half maximum of the remaining blur: that of a box of the coarse voxel's width
            sigma = np.sqrt(coarse**2 - fine**2) / np.sqrt(12) / fine
            array = gaussian_filter1d(array, sigma, axis=axis, mode="nearest")
    return array


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
