"""The bones of one joint on its working grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.field import directions, signed_distance, smoothed
from volforge.shape.frame import MARGIN_MM, Frame, distance_in_frame, frame_about, view_in_frame
from volforge.volume.balls import head_centre
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import closing

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
        view: Voxels that lie in the scan; None: all.
        closed: Distance to the barrier with its holes closed, or None. A roof thinner than a voxel is full of them.
        sigma: Voxels of the Gaussian under which normals are taken.
        accelerator: Where rays walk: `cpu` or `gpu`.
        bound_mm: How far from the condyle the barrier bounds the joint space; None: as far as it is inflated.
    """

    frame: Frame
    condyle: Array
    barrier: Array
    others: Array | None = None
    view: Array | None = None
    closed: Array | None = None
    sigma: float = NORMAL_SIGMA
    accelerator: str = "cpu"
    bound_mm: float | None = None

    @cached_property
    def in_cube(self) -> Array:
        """The clip cube."""
        found = np.zeros(self.condyle.shape, bool)
        found[self.frame.inner] = True
        return found

    @property
    def seen(self) -> float:
        """Share of the clip cube that lies in the scan, 0 to 1."""
        return 1.0 if self.view is None else float(self.view[self.frame.inner].mean())

    def bound(self, r_max_mm: float) -> float:
        """How far from the condyle the barrier bounds the joint space of an inflation of this length, mm."""
        return r_max_mm if self.bound_mm is None else min(r_max_mm, self.bound_mm)

    @property
    def has_barrier(self) -> bool:
        """Whether any of the barrier lies on the working grid."""
        return bool((self.barrier < 0).any())

    @cached_property
    def free(self) -> Array:
        """Where a negative volume may lie: in the clip cube and in the scan, and no bone."""
        found = self.in_cube & ~self.condyle_mask & (self.opaque >= 0)
        return found if self.view is None else found & self.view

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

    @property
    def seen_from_condyle(self) -> Callable[..., Array]:
        """Walk down to the condyle (`volforge.shape.rays`), on the accelerator."""
        from volforge.shape import rays, rays_gpu  # compiled on first use

        if self.accelerator == "cpu":
            return rays.seen_from_condyle
        return partial(rays_gpu.seen_from_condyle, accelerator=self.accelerator)

    @property
    def way_to_bone(self) -> Callable[..., Array]:
        """Walk along rays to the barrier (`volforge.shape.rays`), on the accelerator."""
        from volforge.shape import rays, rays_gpu

        if self.accelerator == "cpu":
            return rays.way_to_bone
        return partial(rays_gpu.way_to_bone, accelerator=self.accelerator)

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
    margin_mm: float = MARGIN_MM,
    close_mm: float | None = None,
    accelerator: str = "cpu",
    bound_mm: float | None = None,
) -> Bones:
    """The bones of a joint from masks of a scan.

    The clip cube lies about the centroid of the condylar head: the condyle less than 15 mm below its highest voxel
    (where it is published nowhere).

    Args:
        condyle, barrier, others: (X, Y, Z) bool.
        grid: Their grid.
        cube_mm: Edge of the clip cube, along the patient's axes.
        step_mm: Edge of working voxels; None: the scan's finest, between 0.3 and 0.5 mm.
        margin_mm: How far beyond the clip cube bone is known: as far as rays may look.
        close_mm: Rays do not pass holes of the barrier up to twice as wide; None: 1.5 mm and 1.5 voxel edges at least.
        accelerator: Where rays walk: `cpu` or `gpu`.
        bound_mm: How far from the condyle the barrier bounds the joint space; None: as far as it is inflated.

    Raises:
        VolforgeError: the condyle is empty.
    """
    if not condyle.any():
        raise VolforgeError("the condyle is empty", remedy="look at the label map of this side")
    centre = head_centre(condyle, grid.affine)
    frame = frame_about(centre, min(grid.spacing_mm), cube_mm, step_mm, max(MARGIN_MM, margin_mm))
    own = distance_in_frame(condyle, grid, frame)
    other = distance_in_frame(others, grid, frame) if others is not None and others.any() else None
    pitch = max(grid.spacing_mm)
    radius = max(CLOSE_MM, CLOSE_PITCH * pitch) if close_mm is None else close_mm
    closed = None
    if radius > 0 and barrier.any():
        room = tuple(int(np.ceil(radius / s)) + 1 for s in grid.spacing_mm)  # a bone goes on beyond scan faces only
        box = bounding_box(barrier, (room[0], room[1], room[2]))
        shut = barrier.copy()
        shut[box] = closing(barrier[box], radius, grid.spacing_mm)
        closed = distance_in_frame(shut & ~condyle, grid, frame)
    sigma = max(NORMAL_SIGMA, NORMAL_PITCH * pitch / frame.step_mm)
    view = view_in_frame(grid, frame)
    return Bones(frame, own, distance_in_frame(barrier, grid, frame), other, view, closed, sigma, accelerator, bound_mm)
