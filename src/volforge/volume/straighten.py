"""Slices that make no perpendicular grid (gantry tilt, uneven steps, shifted slices): onto one, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import MAX_SHEAR_DEGREES, Affine, Array, Grid, shear_degrees

MOST_SHIFT = 0.1  # of a pixel, by which slices may lie off their line before they are resampled


@dataclass(frozen=True)
class Planes:
    """Slices in space, RAS mm.

    Attributes:
        shape: (X, Y): voxels along `u` and `v`.
        origins: (N, 3): centre of the first voxel of each slice, in ascending order along u x v or against it.
        u, v: (3,): steps along the two axes of a slice; perpendicular.
    """

    shape: tuple[int, int]
    origins: Array
    u: Array
    v: Array

    @property
    def normal(self) -> Array:
        """Unit vector on which the slices ascend."""
        normal = np.cross(self.u, self.v)
        normal = normal / np.linalg.norm(normal)
        return np.asarray(normal if (self.origins[-1] - self.origins[0]) @ normal >= 0 else -normal)

    @property
    def heights_mm(self) -> Array:
        """(N,): place of each slice along the normal, the first at 0."""
        return np.asarray((self.origins - self.origins[0]) @ self.normal)

    @property
    def shifts(self) -> Array:
        """(N, 2): where the first voxel of each slice lies in the pixels of the first slice."""
        moved = self.origins - self.origins[0]
        return np.stack([moved @ self.u / (self.u @ self.u), moved @ self.v / (self.v @ self.v)], axis=1)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the way from first to last slice and the normal (the gantry's tilt)."""
        way = self.origins[-1] - self.origins[0]
        cosine = abs(way @ self.normal) / np.linalg.norm(way)
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    def off_line(self) -> float:
        """Largest distance in pixels of a slice's first voxel from the line through all, across the normal."""
        heights, shifts = self.heights_mm, self.shifts
        if len(heights) < 3:
            return 0.0
        line = np.stack([np.polyval(np.polyfit(heights, shifts[:, a], 1), heights) for a in (0, 1)], axis=1)
        return float(np.abs(shifts - line).max())

    def needs_straightening(self, even: bool) -> bool:
        """Whether a perpendicular grid must be made by resampling."""
        return not even or self.tilt_degrees > MAX_SHEAR_DEGREES or self.off_line() > MOST_SHIFT

    def straight(self, step_mm: float) -> Grid:
        """The perpendicular grid that covers all slices, with `step_mm` along the normal; third axis the slices'."""
        low = np.floor(self.shifts.min(axis=0) + 1e-6)
        high = np.ceil(self.shifts.max(axis=0) - 1e-6) + np.array(self.shape) - 1
        count = int(np.floor(self.heights_mm[-1] / step_mm + 1e-3)) + 1
        affine = np.eye(4)
        affine[:3, :3] = np.stack([self.u, self.v, self.normal * step_mm], axis=1)
        affine[:3, 3] = self.origins[0] + low[0] * self.u + low[1] * self.v
        x, y = (int(n) for n in high - low + 1)
        return Grid((x, y, count), affine)


def straighten(array: Array, planes: Planes, grid: Grid, *, nearest: bool, outside: float) -> Array:
    """Resample slices onto their perpendicular grid: linear (or nearest) in the slice and between slices.

    Args:
        array: (X, Y, N), one slice per plane.
        planes: Where the slices lie.
        grid: From `planes.straight`.
        nearest: For labels and masks.
        outside: Value beyond the slices.

    Returns:
        Array of the grid's shape; dtype of `array` (linear results of integers are rounded).
    """
    heights, shifts = planes.heights_mm, planes.shifts
    low = np.floor(shifts.min(axis=0) + 1e-6)
    step = grid.spacing_mm[2]
    result = np.empty(grid.shape, dtype=array.dtype, order="F")
    placed: dict[int, Array] = {}

    def slice_at(k: int) -> Array:
        if k not in placed:
            for old in [i for i in placed if i < k - 1]:
                del placed[old]
            placed[k] = _shifted(array[:, :, k], shifts[k] - low, grid.shape[:2], nearest, outside)
        return placed[k]

    for z in range(grid.shape[2]):
        height = min(z * step, float(heights[-1]))
        k = int(np.clip(np.searchsorted(heights, height, side="right") - 1, 0, len(heights) - 2))
        t = float(np.clip((height - heights[k]) / (heights[k + 1] - heights[k]), 0, 1))
        if nearest:
            result[:, :, z] = slice_at(k + int(t > 0.5))
            continue
        mixed = slice_at(k) if t < 1e-3 else slice_at(k + 1) if t > 1 - 1e-3 else None
        if mixed is None:
            mixed = (1 - t) * slice_at(k) + t * slice_at(k + 1)
        result[:, :, z] = np.rint(mixed) if array.dtype.kind in "iu" else mixed
    return result


def _shifted(plane: Array, shift: Array, shape: tuple[int, int], nearest: bool, outside: float) -> Array:
    """A slice laid into a larger one at a fractional place; linear where it is not `nearest`."""
    whole = np.rint(shift).astype(int) if nearest else np.floor(shift + 1e-6).astype(int)
    rest = np.zeros(2) if nearest else np.clip(shift - whole, 0, 1)
    dtype = plane.dtype if nearest else np.float64
    values = np.full(shape, outside, dtype=dtype)
    values[whole[0] : whole[0] + plane.shape[0], whole[1] : whole[1] + plane.shape[1]] = plane
    for axis in (0, 1):
        if rest[axis] > 1e-3:
            before = np.roll(values, 1, axis=axis)
            before[(0, slice(None)) if axis == 0 else (slice(None), 0)] = outside
            values = (1 - rest[axis]) * values + rest[axis] * before
    return values


def onto_planes(array: Array, grid: Grid, planes: Planes, *, nearest: bool, outside: float) -> Array:
    """Sample a volume at the voxels of slices: the way back from the straightened grid.

    Args:
        array: (X, Y, Z) on `grid`, any orientation.
        grid: Its grid.
        planes: The slices of the source.
        nearest: For labels and masks; otherwise linear.
        outside: Value where a slice leaves the grid.

    Returns:
        (X, Y, N) in the dtype of `array`.
    """
    from scipy.ndimage import map_coordinates

    inverse = np.linalg.inv(grid.affine)
    i, j = np.meshgrid(np.arange(planes.shape[0]), np.arange(planes.shape[1]), indexing="ij")
    result = np.empty((*planes.shape, len(planes.origins)), dtype=array.dtype)
    for k, origin in enumerate(planes.origins):
        points = origin[:, None] + planes.u[:, None] * i.ravel() + planes.v[:, None] * j.ravel()
        index = inverse[:3, :3] @ points + inverse[:3, 3:]
        # A rounding error below 0 would be "outside" to map_coordinates and empty the rim of the slice.
        whole = np.rint(index)
        index = np.where(np.abs(index - whole) < 1e-6, whole, index)
        source = array if nearest else array.astype(np.float64, copy=False)
        drawn = map_coordinates(source, index, order=0 if nearest else 1, mode="constant", cval=outside)
        result[:, :, k] = (np.rint(drawn) if array.dtype.kind in "iu" else drawn).reshape(planes.shape)
    return result


def planes_of_affine(shape: tuple[int, int, int], affine: Affine) -> tuple[Planes, int]:
    """The slices of a sheared volume, and the file axis that they follow each other on.

    Raises:
        ScanError: no two axes are perpendicular: no stack of slices makes such a grid.
    """
    for axis in (2, 1, 0):
        a, b = (i for i in range(3) if i != axis)
        u, v, w = affine[:3, a], affine[:3, b], affine[:3, axis]
        if abs(u @ v) <= np.sin(np.radians(MAX_SHEAR_DEGREES)) * np.linalg.norm(u) * np.linalg.norm(v):
            origins = affine[:3, 3] + np.arange(shape[axis])[:, None] * w
            return Planes((shape[a], shape[b]), origins, u.copy(), v.copy()), axis
    raise ScanError(
        f"the voxel axes are sheared by {shear_degrees(affine):.2f} degrees, and no two of them are perpendicular",
        remedy="resample the volume to perpendicular axes before import",
    )


def straighten_affine(array: Array, affine: Affine, *, nearest: bool, outside: float) -> tuple[Array, Grid]:
    """A sheared volume on a perpendicular grid, its axes in the order of the file.

    Raises:
        ScanError: as `planes_of_affine`; fewer than two slices.
    """
    a, b, c = array.shape
    planes, axis = planes_of_affine((a, b, c), affine)
    if len(planes.origins) < 2:
        raise ScanError("a single slice cannot be straightened", remedy="export the whole volume")
    step = float(planes.heights_mm[-1]) / (len(planes.origins) - 1)
    grid = planes.straight(step)
    result = straighten(np.moveaxis(array, axis, 2), planes, grid, nearest=nearest, outside=outside)
    order = [0, 1]
    order.insert(axis, 2)
    matrix = np.eye(4)
    matrix[:3, :3] = grid.affine[:3, :3][:, order]
    matrix[:3, 3] = grid.affine[:3, 3]
    x, y, z = (grid.shape[i] for i in order)
    return np.asarray(result.transpose(order)), Grid((x, y, z), matrix)


def planes_record(planes: Planes) -> dict[str, Any]:
    """The planes for a record, as plain lists."""
    return {
        "shape": list(planes.shape),
        "origins": planes.origins.tolist(),
        "u": planes.u.tolist(),
        "v": planes.v.tolist(),
    }
