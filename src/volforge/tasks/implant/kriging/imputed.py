"""The pose of a skull with holes, as if they were closed.

Least squares without the back of a skull pitches it: the bone that is missing would have held it. So the holes are
closed from what is about them, the pose is found again with those points, and so on: what is missing is replaced by
what is expected, in turns (Dempster, Laird and Rubin 1977).
"""

from __future__ import annotations

import numpy as np

from volforge.tasks.implant.kriging.casting import Surfaces, cast
from volforge.tasks.implant.kriging.complete import Passes, complete_maps
from volforge.tasks.implant.kriging.holes import holes_of
from volforge.tasks.implant.kriging.pose import Pose, Registered, Template, even_directions, register
from volforge.tasks.implant.kriging.solve import Field, Thinning
from volforge.tasks.implant.kriging.template import pose_of
from volforge.volume.geometry import Array

TURNS = 3
QUICK = Passes(ring_mm=9.0, count=1)
FEW = Thinning(every_mm=1.0, second_mm=6.0, third_mm=14.0, beyond=8)


def closed_pose(skull: Array, affine: Array, template: Template, field: Field) -> Registered:
    """The pose of a skull that may have holes.

    Args:
        skull: (X, Y, Z) uint8, 1 is bone.
        affine: (4, 4) voxel to patient, mm, RAS.
        template: What it is laid onto.
        field: What skulls are like.
    """
    found = pose_of(skull, affine, template)
    for _ in range(TURNS):
        surfaces = observed(skull, affine, found.pose, field)
        holes = holes_of(field, surfaces.radii, surfaces.left)
        if not holes:
            break
        hole = np.logical_or.reduce([h.pixels for h in holes])
        found = register(_points(skull, affine, found.pose, surfaces, hole, field), template, found.pose)
    return found


def observed(skull: Array, affine: Array, pose: Pose, field: Field) -> Surfaces:
    """Surfaces along all directions of the disc; NaN beyond it."""
    surfaces = cast(skull, affine, pose, field.disc.directions)
    surfaces.radii[:, ~field.disc.inside] = np.nan
    return surfaces


def _points(
    skull: Array, affine: Array, pose: Pose, surfaces: Surfaces, hole: Array, field: Field
) -> tuple[Array, Array]:
    """Points of both surfaces: of the bone, and about the holes those that are expected."""
    from scipy.ndimage import map_coordinates

    found = complete_maps(field, surfaces.radii, hole, QUICK, FEW, deviation=False)
    directions = even_directions()
    _, at = field.disc.locate(directions)
    zone = ((found.distance <= QUICK.ring_mm) & field.region).astype(np.float32)
    expected = map_coordinates(zone, at, order=0) > 0.5
    radii = cast(skull, affine, pose, directions).radii
    points = []
    for surface in (0, 1):
        known = np.where(zone > 0, found.maps[surface], 0.0)
        filled = map_coordinates(np.nan_to_num(known), at, order=0)
        radius = np.where(expected, filled, radii[surface])
        points.append(pose.out_of((radius[:, None] * directions)[np.isfinite(radius) & (radius > 0)]))
    return points[0], points[1]
