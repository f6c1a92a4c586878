"""The rim gap: how far the wall of the hole stands from the implant.

Source: methods, section 6.4. The wall is the boundary of the bone within 8 mm of the implant whose normal m lies more
than 60 degrees off the skull's normal n, |m.n| < 0.5. Bone has pores, and cut bone has open ones: a place of the wall
must face the implant, see it, and be about the nearest bone of what it faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.shape.nearest import nearest_on
from volforge.tasks.implant.making.scene import Scene
from volforge.volume.geometry import Array

WALL_MM = 8.0
WALL_COSINE = 0.5
WIDE_MM = 1.0
MUTUAL = 0.6  # the nearest bone of the faced place must not be much nearer
ALONG = (0.2, 0.35, 0.5, 0.65, 0.8)


@dataclass(frozen=True)
class RimGap:
    """Distances from the wall of a hole to its implant.

    Attributes:
        points: (N, 3) mm, places of the wall.
        facing: (N, 3) mm, the nearest places of the implant.
        normals: (N, 3), of the wall, out of the bone.
        mm: (N,) distances; 0 where the wall lies in the implant.
        area_mm2: (N,) area of the wall that each place stands for.
    """

    points: Array
    facing: Array
    normals: Array
    mm: Array
    area_mm2: Array

    @property
    def median_mm(self) -> float:
        """Median by area; NaN without a wall."""
        return weighted_percentile(self.mm, self.area_mm2, 50)

    @property
    def p95_mm(self) -> float:
        """95th percentile by area; NaN without a wall."""
        return weighted_percentile(self.mm, self.area_mm2, 95)

    @property
    def mean_mm(self) -> float:
        """Mean by area; NaN without a wall."""
        total = float(self.area_mm2.sum())
        return float((self.mm * self.area_mm2).sum() / total) if total else float("nan")

    def share_over(self, mm: float = WIDE_MM) -> float:
        """Share of the wall's area whose gap is wider, 0 to 1; NaN without a wall."""
        total = float(self.area_mm2.sum())
        return float(self.area_mm2[self.mm > mm].sum() / total) if total else float("nan")


def rim_gap(scene: Scene) -> RimGap:
    """The rim gap of an implant in its hole, on smooth surfaces.

    Closed form: in a shell of radii R_i to R_o with a hole of half angle b and an implant of half angle b - g the gap
    at radius r is r sin g, its mean over the wall 2/3 sin g (R_o^3 - R_i^3) / (R_o^2 - R_i^2).

    Args:
        scene: Implant and bone.

    Returns:
        The places of the wall with their distances; none where no wall lies within 8 mm.
    """
    from scipy.spatial import cKDTree

    bone, implant = scene.bone_surface, scene.implant_surface
    if not len(bone.faces) or not len(implant.faces):
        return RimGap(*(np.zeros((0, 3)),) * 3, *(np.zeros(0),) * 2)
    tree = cKDTree(implant.vertices)
    rough = tree.query(bone.vertices, distance_upper_bound=WALL_MM + scene.voxel_mm)[0]
    kept = np.flatnonzero(np.isfinite(rough))
    p, m = bone.vertices[kept], scene.bone_normals[kept]
    wall = np.abs((m * scene.outwards(p)).sum(axis=1)) < WALL_COSINE if len(p) else np.zeros(0, bool)
    kept, p, m = kept[wall], p[wall], m[wall]
    q, mm = nearest_on(implant, p)
    mm = np.where(scene.sampled(scene.implant_field, p) > 0.5, 0.0, mm)
    close = mm <= WALL_MM
    kept, p, m, q, mm = kept[close], p[close], m[close], q[close], mm[close]
    nearly = 0.5 * scene.voxel_mm  # below this nothing lies between
    facing = ((q - p) * m).sum(axis=1) > 0
    back = cKDTree(bone.vertices).query(q)[0] if len(q) else np.zeros(0)
    mutual = back >= MUTUAL * mm - nearly
    seen = np.ones(len(p), bool)
    for k in ALONG:
        seen &= scene.sampled(scene.bone_field, p + k * (q - p)) < 0.5
    kept_too = (mm <= nearly) | (facing & mutual & seen)
    area = bone.vertex_areas[kept[kept_too]]
    return RimGap(p[kept_too], q[kept_too], m[kept_too], mm[kept_too], area)


def weighted_percentile(values: Array, weights: Array, percent: float) -> float:
    """The value below which so much of the weight lies; NaN without weight."""
    if not len(values) or not weights.sum() > 0:
        return float("nan")
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order])
    place = int(np.searchsorted(share, percent / 100 * share[-1]))
    return float(values[order][min(place, len(values) - 1)])
