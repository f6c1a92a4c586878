"""The bones of one joint on its working grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.balls import head_centre
from volforge.shape.field import directions, signed_distance, smoothed
from volforge.shape.frame import Frame, distance_in_frame, frame_about
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import bounding_box, closing

NORMAL_SIGMA = 1.0  # voxels at least; the normals of voxel surfaces are steps without it
NORMAL_PITCH = 0.75  # ... and of the scan's largest voxel edge
CLOSE_MM, CLOSE_PITCH = 1.5, 1.5  # radius that closes pinholes of a thin roof: at least, and in voxel edges


@dataclass(frozen=True)
class Bones:
    """Signed distances to the bones of a joint, mm, negative inside, on the working grid.

    Attributes:
        frame: The grid.
        condyle: Bone that is inflated.
        barrier: Bone that confines it (the temporal bone).
        others: Bone that blocks the way but bounds no joint space (rest of the mandible); None where there is none.
        seen: Share of the clip cube that lies in the scan, 0 to 1.
        closed: Distance to the barrier with its holes closed, or None. A roof thinner than a voxel is full of them.
        sigma: Voxels of the Gaussian under which normals are taken.
    """

    frame: Frame
    condyle: Array
    barrier: Array
    others: Array | None = None
    seen: float = 1.0
    closed: Array | None = None
    sigma: float = NORMAL_SIGMA

    @cached_property
    def in_cube(self) -> Array:
        """The clip cube."""
        found = np.zeros(self.condyle.shape, bool)
        found[self.frame.inner] = True
        return found

    @cached_property
    def condyle_mask(self) -> Array:
        """Voxels of the condyle in the clip cube."""
        return (self.condyle < 0) & self.in_cube

    @cached_property
    def barrier_mask(self) -> Array:
        """Voxels of the barrier; where the condyle lies too, the condyle's."""
        return (self.barrier < 0) & (self.condyle >= 0)

    @cached_property
    def opaque(self) -> Array:
        """Signed distance to all bone that stops a ray: barrier and others."""
        return self.barrier if self.others is None else np.minimum(self.barrier, self.others)

    @cached_property
    def shut_barrier(self) -> Array:
        """Signed distance to the barrier with its holes closed."""
        return self.barrier if self.closed is None else np.minimum(self.barrier, self.closed)

    @cached_property
    def shut(self) -> Array:
        """Signed distance to all bone that stops a ray, holes closed."""
        return self.shut_barrier if self.others is None else np.minimum(self.shut_barrier, self.others)

    @cached_property
    def away(self) -> Array:
        """Signed distance in mm to the condyle inside the clip cube, shape of the cube."""
        mask = self.condyle_mask[self.frame.inner]
        return signed_distance(mask, (self.frame.step_mm,) * 3)

    @cached_property
    def outward(self) -> Array:
        """Unit vectors away from the condyle, (cube, cube, cube, 3) float32."""
        return directions(smoothed(self.away, self.sigma))

    def check(self) -> None:
        """Raise where nothing can be inflated.

        Raises:
            VolforgeError: no condyle in the clip cube.
        """
        if not self.condyle_mask.any():
            raise VolforgeError("no condyle in the clip cube", remedy="look at the label map of this side")


def bones_of(
    condyle: Array,
    barrier: Array,
    others: Array | None,
    grid: Grid,
    *,
    cube_mm: float = 30.0,
    step_mm: float | None = None,
    shift_mm: Sequence[float] = (0.0, 0.0, 0.0),
    close_mm: float | None = None,
) -> Bones:
    """The bones of a joint from masks of a scan.

    The clip cube lies about the centroid of the condylar head: the condyle less than 15 mm below its highest voxel
    (where it is published nowhere).

    Args:
        condyle, barrier, others: (X, Y, Z) bool.
        grid: Their grid.
        cube_mm: Edge of the clip cube, along the patient's axes.
        step_mm: Edge of working voxels; None: the scan's finest, between 0.3 and 0.5 mm.
        shift_mm: Moves the working grid.
        close_mm: Rays do not pass holes of the barrier up to twice as wide; None: 1.5 mm and 1.5 voxel edges at least.

    Raises:
        VolforgeError: the condyle is empty.
    """
    if not condyle.any():
        raise VolforgeError("the condyle is empty", remedy="look at the label map of this side")
    centre = head_centre(condyle, grid.affine) + np.asarray(shift_mm)
    frame = frame_about(centre, min(grid.spacing_mm), cube_mm, step_mm)
    own, seen = distance_in_frame(condyle, grid, frame)
    other = distance_in_frame(others, grid, frame)[0] if others is not None and others.any() else None
    pitch = max(grid.spacing_mm)
    radius = max(CLOSE_MM, CLOSE_PITCH * pitch) if close_mm is None else close_mm
    closed = None
    if radius > 0 and barrier.any():
        box = bounding_box(barrier)
        shut = barrier.copy()
        shut[box] = closing(barrier[box], radius, grid.spacing_mm)
        closed = distance_in_frame(shut & ~condyle, grid, frame)[0]
    sigma = max(NORMAL_SIGMA, NORMAL_PITCH * pitch / frame.step_mm)
    return Bones(frame, own, distance_in_frame(barrier, grid, frame)[0], other, seen, closed, sigma)
