"""Grids in space: canonical orientation with its exact inverse, spacing, and comparison by physical space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volforge.errors import ScanError

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]

MAX_SHEAR_DEGREES = 0.5


@dataclass(frozen=True)
class Grid:
    """A voxel grid: shape (X, Y, Z) and the 4x4 affine from voxel index to RAS millimetres."""

    shape: tuple[int, int, int]
    affine: Affine

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Grid:
        """The grid that a record or a geometry.json describes by `shape` and `affine`."""
        a, b, c = (int(n) for n in content["shape"])
        return cls((a, b, c), np.array(content["affine"], dtype=np.float64))

    def part(self, box: tuple[slice, ...]) -> Grid:
        """The grid of a box of this one.

        Args:
            box: A slice of step 1 per axis, with start and stop; it may reach beyond the grid.
        """
        a, b, c = (int(s.stop) - int(s.start) for s in box)
        matrix = np.eye(4)
        matrix[:3, 3] = [s.start for s in box]
        return Grid((a, b, c), self.affine @ matrix)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis, in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Edge lengths of the whole grid in mm."""
        x, y, z = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return x, y, z


def flat_axis(shape: tuple[int, ...]) -> int | None:
    """The axis along which a volume has one slice, where that is so of one axis alone; else None."""
    flat = [axis for axis, n in enumerate(shape) if n == 1]
    return flat[0] if len(flat) == 1 else None


@dataclass(frozen=True)
class Reorientation:
    """The axis order and flips that take a source array to RAS, and back without loss.

    Attributes:
        order: Source axis that becomes canonical axis 0, 1, 2.
        flip: Whether canonical axis 0, 1, 2 runs against its source axis.
    """

    order: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def apply(self, array: Array) -> Array:
        """Source array (3-D) to canonical order; a view."""
        return array.transpose(self.order)[tuple(slice(None, None, -1 if f else 1) for f in self.flip)]

    def invert(self, array: Array) -> Array:
        """Canonical array (3-D) to source order; a view. The exact inverse of `apply`."""
        flipped = array[tuple(slice(None, None, -1 if f else 1) for f in self.flip)]
        return flipped.transpose(tuple(int(i) for i in np.argsort(self.order)))

    def canonical(self, grid: Grid) -> Grid:
        """The grid of the canonical array."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        for axis, (source, flip) in enumerate(zip(self.order, self.flip, strict=True)):
            matrix[source, axis] = -1.0 if flip else 1.0
            matrix[source, 3] = grid.shape[source] - 1 if flip else 0.0
        a, b, c = (grid.shape[i] for i in self.order)
        return Grid((a, b, c), grid.affine @ matrix)


def check_affine(affine: Affine, *, may_shear: bool = False) -> None:
    """Raise `ScanError` for an affine that is not finite, not invertible or (unless it may be) sheared."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ScanError("the affine is not finite", remedy="repair the header of the file")
    columns = affine[:3, :3]
    lengths = np.sqrt((columns**2).sum(axis=0))
    if (lengths <= 0).any() or abs(np.linalg.det(columns / np.maximum(lengths, 1e-30))) < 1e-3:
        raise ScanError(
            "the affine is not invertible: two voxel axes coincide or one has no length",
            remedy="repair the header of the file (sform, qform or direction)",
        )
    shear = shear_degrees(affine)
    if shear > MAX_SHEAR_DEGREES and not may_shear:
        raise ScanError(
            f"the voxel axes are sheared by {shear:.2f} degrees (a gantry tilt that was not corrected?)",
            remedy="resample the volume to perpendicular axes before import",
        )


def shear_degrees(affine: Affine) -> float:
    """Largest angle by which two voxel axes miss the perpendicular."""
    columns = affine[:3, :3]
    lengths = np.sqrt((columns**2).sum(axis=0))
    cosines = (columns / lengths).T @ (columns / lengths)
    return float(np.degrees(np.arcsin(np.clip(np.abs(cosines - np.eye(3)).max(), 0, 1))))


def reorientation_of(affine: Affine) -> Reorientation:
    """The axis order and flips nearest to RAS; the affine itself (its obliqueness) stays."""
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    cosines = affine[:3, :3] / lengths  # rows: R, A, S; columns: source axes
    # the assignment of axes to directions with the largest sum of cosines, over the six permutations
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    order = max(orders, key=lambda o: sum(abs(cosines[direction, o[direction]]) for direction in range(3)))
    flip = tuple(bool(cosines[direction, order[direction]] < 0) for direction in range(3))
    return Reorientation(order, (flip[0], flip[1], flip[2]))


def axis_codes(affine: Affine) -> str:
    """Three letters such as `LPS`: where each voxel axis points."""
    turn = reorientation_of(affine)
    letters = [""] * 3
    for direction, (axis, flip) in enumerate(zip(turn.order, turn.flip, strict=True)):
        letters[axis] = ("RAS", "LPI")[flip][direction]
    return "".join(letters)


def corner_displacement_mm(a: Grid, b: Grid) -> float:
    """Largest distance in mm between equal corner voxels of two grids of one shape."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(a.shape) - 1
    difference = corners @ (a.affine - b.affine).T
    return float(np.sqrt((difference[:, :3] ** 2).sum(axis=1)).max())


def same_place(a: Grid, b: Grid) -> bool:
    """Whether two grids of one shape coincide to a tenth of a voxel (headers round differently)."""
    return a.shape == b.shape and corner_displacement_mm(a, b) <= 0.1 * min(a.spacing_mm)


def part_of(grid: Grid, whole: Grid) -> tuple[int, int, int] | None:
    """The voxel of `whole` that the first voxel of `grid` lies on, if all voxels of both coincide; else None."""
    inverse = np.linalg.inv(whole.affine)
    steps = inverse[:3, :3] @ grid.affine[:3, :3]
    offset = (inverse @ grid.affine)[:3, 3]
    drift = np.abs(steps - np.eye(3)) @ np.array(grid.shape)
    if drift.max() > 0.1 or np.abs(offset - np.rint(offset)).max() > 0.1:
        return None
    x, y, z = (int(v) for v in np.rint(offset))
    return x, y, z


def hull(a: Grid, b: Grid) -> Grid | None:
    """The smallest grid that holds two whose voxels coincide; None where they do not."""
    offset = part_of(b, a)
    if offset is None:
        return None
    low = np.minimum(0, offset)
    x, y, z = (int(n) for n in np.maximum(a.shape, np.add(offset, b.shape)) - low)
    affine = a.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return Grid((x, y, z), affine)


def describe(grid: Grid) -> str:
    """A grid in words for messages."""
    shape = "x".join(map(str, grid.shape))
    spacing = "x".join(f"{s:.4g}" for s in grid.spacing_mm)
    origin = ", ".join(f"{v:.1f}" for v in grid.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm, axes {axis_codes(grid.affine)}, first voxel at ({origin}) mm"
