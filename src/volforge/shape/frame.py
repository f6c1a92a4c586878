"""The working grid of one joint: cubic voxels along the patient's axes, about a clip cube.

Scans have any spacing and tilt. A joint is looked at on a grid of its own, so that the clip cube is the same cube of
patient space in all of them, and distances cost the same along all axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.shape.field import near_cubic, signed_distance
from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.resample import resample_to

MARGIN_MM = 8.0  # bone is known this far beyond the clip cube, at least
FINEST_MM, COARSEST_MM = 0.3, 0.5
# a shift in voxels: surfaces of voxels that lie just between two others would all fall to the same side
_OFF = np.array([0.011, 0.007, 0.013])


@dataclass(frozen=True)
class Frame:
    """The working grid of a joint.

    Attributes:
        centre: Of the clip cube, RAS mm.
        step_mm: Edge of its voxels.
        cube: Voxels along an edge of the clip cube.
        margin: Voxels around it on every side.
    """

    centre: Array
    step_mm: float
    cube: int
    margin: int

    @property
    def grid(self) -> Grid:
        """The whole grid, margin included."""
        n = self.cube + 2 * self.margin
        matrix: Affine = np.diag([self.step_mm, self.step_mm, self.step_mm, 1.0])
        matrix[:3, 3] = np.asarray(self.centre) - (n - 1) / 2 * self.step_mm
        return Grid((n, n, n), matrix)

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The clip cube in the grid."""
        part = slice(self.margin, self.margin + self.cube)
        return part, part, part

    @property
    def cube_mm(self) -> float:
        """Edge of the clip cube."""
        return self.cube * self.step_mm

    def to_index(self, places: Array) -> Array:
        """Voxel coordinates of places in RAS mm, (N, 3)."""
        return (places - self.grid.affine[:3, 3]) / self.step_mm

    def to_mm(self, index: Array) -> Array:
        """RAS mm of voxel coordinates, (N, 3)."""
        return np.asarray(index * self.step_mm + self.grid.affine[:3, 3])


def frame_about(
    centre: Array, finest_mm: float, cube_mm: float = 30.0, step_mm: float | None = None, margin_mm: float = MARGIN_MM
) -> Frame:
    """The working grid about a place.

    Args:
        centre: RAS mm.
        finest_mm: Smallest voxel edge of the scan.
        cube_mm: Edge of the clip cube.
        step_mm: Edge of the working voxels; None: the scan's finest, between 0.3 and 0.5 mm.
        margin_mm: How far beyond the cube bone is known.
    """
    wanted = step_mm or float(np.clip(finest_mm, FINEST_MM, COARSEST_MM))
    cube = max(8, int(np.ceil(cube_mm / wanted - 1e-6)))
    step = cube_mm / cube
    mirrored = np.array([np.sign(centre[0]) or 1.0, 1.0, 1.0])  # what is mirrored about x = 0 has a mirrored grid
    return Frame(np.asarray(centre, float) + _OFF * mirrored * step, step, cube, int(np.ceil(margin_mm / step)))


def view_in_frame(grid: Grid, frame: Frame) -> Array:
    """Which voxels of the working grid lie in the scan."""
    index = np.linalg.inv(grid.affine) @ frame.grid.affine
    axes = [np.arange(n) for n in frame.grid.shape]
    found = np.ones(frame.grid.shape, bool)
    for row, count in zip(index[:3], grid.shape, strict=True):
        place = row[3] + sum(row[a] * axes[a].reshape([-1 if b == a else 1 for b in range(3)]) for a in range(3))
        found &= (place >= -0.5) & (place <= count - 0.5)
    return found


def distance_in_frame(mask: Array, grid: Grid, frame: Frame) -> Array:
    """Signed distance to a mask of the scan on the working grid; beyond the scan nothing lies.

    Args:
        mask: (X, Y, Z) on `grid`.
        grid: The scan's.
        frame: The joint's.

    Returns:
        mm, negative inside, float32.
    """
    box = _part_for(grid, frame)
    part = mask[box]
    far = float(frame.grid.shape[0] * frame.step_mm)
    if not part.any():
        return np.full(frame.grid.shape, far, np.float32)
    fine, fine_grid = near_cubic(part, grid.part(box))
    field = np.clip(signed_distance(fine, fine_grid.spacing_mm), -far, far)
    return resample_to(field, fine_grid, frame.grid, nearest=False, outside=far)


def image_in_frame(image: Array, grid: Grid, frame: Frame) -> Array:
    """An image on the working grid, float32; -1024 beyond the scan."""
    box = _part_for(grid, frame)
    part = image[box].astype(np.float32)
    return resample_to(part, grid.part(box), frame.grid, nearest=False, outside=-1024.0)


def back_on_scan(values: Array, frame: Frame, grid: Grid) -> Array:
    """Labels of the working grid on the scan's own grid, nearest neighbour; 0 elsewhere."""
    box = _part_for(grid, frame)
    result = np.zeros(grid.shape, values.dtype, order="F")
    result[box] = resample_to(values, frame.grid, grid.part(box), nearest=True, outside=0)
    return result


def _part_for(grid: Grid, frame: Frame) -> tuple[slice, slice, slice]:
    """The part of a scan that reaches into the working grid, with two voxels more."""
    n = frame.grid.shape[0] - 1
    corners = np.array([[i, j, k] for i in (0, n) for j in (0, n) for k in (0, n)], float)
    inverse = np.linalg.inv(grid.affine)
    places = frame.to_mm(corners) @ inverse[:3, :3].T + inverse[:3, 3]
    low = np.clip(np.floor(places.min(axis=0)) - 2, 0, np.array(grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(places.max(axis=0)) + 3, low + 1, grid.shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z
