"""One joint from masks to numbers: inflation, joint space, widths, contact, and what a reader must be warned of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.bones import CLOSE_MM, Bones, bones_of
from volforge.shape.frame import MARGIN_MM, distance_in_frame, image_in_frame
from volforge.shape.inflate import Inflated, inflate, inflated_of
from volforge.shape.inflate_mesh import InflatedMesh, condyle_surface, inflate_mesh
from volforge.shape.surface import Surface, surface_of_field
from volforge.shape.width import Contact, Width, find_contact, joint_space_width
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import face, largest_component

METHODS = ("ray", "mesh", "geodesic", "euclid", "ball", "direct")
FUSED_SHARE = 0.3  # of the facing surface in contact: no joint space is left to measure
HOLE_SHARE = 0.005
CUBE_SHARE = 0.6
CUT_SHARE = 0.98
UNRESOLVED_SHARE = 0.2
THICK = 2.01  # ratio of voxel edges from which stairs of slices tell in widths
FLAGS = {
    "contact": "condyle and barrier touch in the label map",
    "bones_fused": "over 30 % of the facing surface is in contact: the width is that of the rest",
    "unresolved": "over 20 % of the facing surface has no width that the data show",
    "barrier_holes": "the barrier has holes: rays that leave through them bound no joint space",
    "no_barrier": "no barrier within the longest way: there is no joint space to measure",
    "condyle_cut": "the condyle ends at the scan's border: its top may be missing",
    "cube_cut": "the clip cube reaches out of the scan: the negative volume is that of the part in view",
    "condyle_in_pieces": "the condyle's label has further pieces: the largest is measured, the others only stop rays",
    "thick_slices": "slices over twice as thick as the voxels in them: widths are too small",
    "no_image": "widths were asked for from the image, and there is none: there are no widths",
    "not_enhanced": "the barrier was to be enhanced, and there is no image or no confidence",
    "clip_bound": "over 60 % of the outer surface lies on the clip cube: the number tells of the cube",
}


@dataclass(frozen=True)
class JointSettings:
    """How a joint is measured.

    Attributes:
        method: `ray`, `mesh`, `geodesic`, `euclid`; `ball`: a sphere less the bones, as an annotator draws it;
            `direct`: a mask that is the negative volume.
        r_max_mm: Longest way of the inflation.
        cube_mm: Edge of the clip cube.
        step_mm: Edge of working voxels; None: the scan's finest, between 0.3 and 0.5 mm.
        sensitivity_mm: Other longest ways, for the table of sensitivity.
        with_width: Measure widths (about a second a joint).
        with_surfaces: Make the bones' surfaces, also without widths.
        ball_mm: Radius of the sphere of `ball`.
        accelerator: Where rays walk: `cpu` or `gpu`.
        joint_space_mm: How far from the condyle the barrier bounds the joint space; None: `r_max_mm`.
    """

    method: str = "ray"
    r_max_mm: float = 14.0
    cube_mm: float = 30.0
    step_mm: float | None = None
    sensitivity_mm: Sequence[float] = ()
    with_width: bool = True
    with_surfaces: bool = True
    ball_mm: float = 15.0
    accelerator: str = "cpu"
    joint_space_mm: float | None = None

    @property
    def reach_mm(self) -> float:
        """How far beyond the clip cube bone must be known: the longest way that any of its rays looks."""
        return max(MARGIN_MM, self.r_max_mm, *self.sensitivity_mm)


@dataclass(frozen=True)
class Joint:
    """A measured joint.

    Attributes:
        bones: Its bones on the working grid.
        inflated: Negative volume and joint space.
        condyle, barrier: Surfaces in RAS mm; None where they are not wanted, or without a barrier.
        width: Widths over the condyle's surface.
        mesh: The inflated mesh, for the method `mesh`.
        contact: Where the bones touch.
        sensitivity: Negative volume and joint space in mm3 by longest way.
        flags: What a reader must know, of `FLAGS`.
    """

    bones: Bones
    inflated: Inflated
    condyle: Surface | None
    barrier: Surface | None
    width: Width | None
    mesh: InflatedMesh | None
    contact: Contact
    sensitivity: dict[float, tuple[float, float]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def negative_volume_mm3(self) -> float:
        """Volume of the whole negative volume, by voxels."""
        return float(np.count_nonzero(self.inflated.space) * self.bones.frame.step_mm**3)

    @property
    def joint_space_mm3(self) -> float:
        """Volume of the part that bone bounds; NaN where no barrier is known, which is not the same as none."""
        if not self.bones.has_barrier:
            return float("nan")
        return float(np.count_nonzero(self.inflated.joint_space) * self.bones.frame.step_mm**3)


def measure_joint(
    condyle: Array,
    barrier: Array,
    others: Array | None,
    grid: Grid,
    settings: JointSettings,
    image: Array | None = None,
    drawn: Array | None = None,
) -> Joint:
    """Measure one joint.

    Args:
        condyle, barrier: (X, Y, Z) bool.
        others: Bone that blocks the way and bounds no joint space (rest of the mandible), or None.
        grid: Grid of the masks, any spacing and tilt.
        settings: How.
        image: CT in HU on the same grid: widths are then those of the CT, or None.
        drawn: With the method `direct`, the negative volume, (X, Y, Z) bool.

    Raises:
        VolforgeError: the condyle is empty, or an unknown method.
    """
    if settings.method not in METHODS:
        raise VolforgeError(f"'{settings.method}' is no method of inflation", remedy=f"one of {', '.join(METHODS)}")
    condyle, crumbs = main_piece(condyle)
    box, grid = joint_region(condyle, grid, settings)
    condyle, barrier, crumbs = condyle[box], barrier[box], crumbs[box]
    others, image, drawn = (None if v is None else v[box] for v in (others, image, drawn))
    if crumbs.any():  # bone all the same
        others = crumbs if others is None else others | crumbs
    bones = bones_of(
        condyle, barrier, others, grid, cube_mm=settings.cube_mm, step_mm=settings.step_mm,
        margin_mm=settings.reach_mm, accelerator=settings.accelerator, bound_mm=settings.joint_space_mm,
    )  # fmt: skip
    bones.check()
    moved = inflate_mesh(bones, settings.r_max_mm) if settings.method == "mesh" else None
    inflated = moved.inflated if moved is not None else _inflated(bones, settings, settings.r_max_mm, drawn, grid)
    sensitivity = {
        float(r): _volumes(_inflated(bones, settings, r, drawn, grid), bones.frame.step_mm)
        for r in settings.sensitivity_mm
    }
    contact = find_contact(condyle, barrier, bones, grid)
    own = other_surface = width = None
    if settings.with_width or settings.with_surfaces:
        own = condyle_surface(bones)
        other_surface = barrier_surface(bones)
        if other_surface is not None and settings.with_width:
            values = image_in_frame(image, grid, bones.frame) if image is not None else None
            pitch = max(grid.spacing_mm)
            width = joint_space_width(
                bones, own.mesh, other_surface.mesh, settings.r_max_mm, pitch, contact.places, values
            )
    flags = _flags(bones, condyle, inflated, width, contact)
    if crumbs.any():
        flags = (*flags, "condyle_in_pieces")
    if max(grid.spacing_mm) > THICK * min(grid.spacing_mm):
        flags = (*flags, "thick_slices")
    return Joint(bones, inflated, own, other_surface, width, moved, contact, sensitivity, flags)


def main_piece(condyle: Array) -> tuple[Array, Array]:
    """The largest piece of a condyle, and the others: a stray one would move the clip cube.

    Args:
        condyle: (X, Y, Z) bool.
    """
    if not condyle.any():
        return condyle, np.zeros_like(condyle)
    box = bounding_box(condyle)
    largest = np.zeros_like(condyle)
    largest[box] = largest_component(condyle[box], 26)
    return largest, condyle & ~largest


def joint_region(condyle: Array, grid: Grid, settings: JointSettings) -> tuple[tuple[slice, slice, slice], Grid]:
    """The part of a scan that a joint needs, and its grid: the condyle and all that its clip cube reaches.

    A skull fills a scan; distances over all of it would cost a hundred times what the joint does. The condyle touches
    the part's faces only where the scan itself ends.

    Args:
        condyle: (X, Y, Z) bool.
        grid: The scan's.
        settings: How the joint is measured.

    Raises:
        VolforgeError: the condyle is empty.
    """
    if not condyle.any():
        raise VolforgeError("the condyle is empty", remedy="look at the label map of this side")
    reach = np.sqrt(3) * (settings.cube_mm / 2 + settings.reach_mm) + CLOSE_MM  # corners of a cube that lies askew
    margin = tuple(int(np.ceil(reach / s)) + 2 for s in grid.spacing_mm)
    box = bounding_box(condyle, (margin[0], margin[1], margin[2]))
    return box, grid.part(box)


def _inflated(bones: Bones, settings: JointSettings, r_max_mm: float, drawn: Array | None, grid: Grid) -> Inflated:
    if settings.method == "mesh":
        return inflate_mesh(bones, r_max_mm).inflated
    if settings.method in ("ray", "geodesic", "euclid"):
        return inflate(bones, settings.method, r_max_mm)
    free = bones.free
    if settings.method == "ball":
        axes = [np.arange(n) - (n - 1) / 2 for n in free.shape]
        squares = sum(np.square(a * bones.frame.step_mm) for a in np.meshgrid(*axes, indexing="ij", sparse=True))
        space = free & (squares <= settings.ball_mm**2)
    else:
        if drawn is None:
            raise VolforgeError("the method `direct` needs a mask of the negative volume")
        space = free & (distance_in_frame(drawn, grid, bones.frame) < 0)
    return inflated_of(bones, space, r_max_mm)


def barrier_surface(bones: Bones) -> Surface | None:
    """Surface of the barrier on the whole working grid, closed at its rim; None where there is none."""
    if not bones.has_barrier:
        return None
    return surface_of_field(bones.barrier, bones.frame.grid.affine, whole=True)


def _volumes(inflated: Inflated, step_mm: float) -> tuple[float, float]:
    voxel = step_mm**3
    return float(np.count_nonzero(inflated.space) * voxel), float(np.count_nonzero(inflated.joint_space) * voxel)


def _flags(bones: Bones, condyle: Array, inflated: Inflated, width: Width | None, contact: Contact) -> tuple[str, ...]:
    found = []
    if len(contact.places):
        found.append("contact")
    if width is not None:
        facing = float(width.areas[width.facing].sum())
        if facing and contact.area_mm2 / facing > FUSED_SHARE:
            found.append("bones_fused")
        if width.unresolved_share > UNRESOLVED_SHARE:
            found.append("unresolved")
        if width.hole_share > HOLE_SHARE:
            found.append("barrier_holes")
    if not bones.has_barrier:
        found.append("no_barrier")
    rims = [face(condyle, axis, i) for axis in (0, 1) for i in (0, -1)] + [condyle[:, :, -1]]  # it may end below
    if any(rim.any() for rim in rims):
        found.append("condyle_cut")
    if bones.seen < CUT_SHARE:
        found.append("cube_cut")
    if inflated.stops.get("clip", 0.0) > CUBE_SHARE:
        found.append("clip_bound")
    return tuple(found)
