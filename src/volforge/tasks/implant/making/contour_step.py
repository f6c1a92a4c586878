"""The contour step: how much higher the implant lies than the bone beside it, outside and inside.

Source: methods, section 6.4. At places of the rim 2 mm apart a plane is fitted to the surface of the implant and one to
that of the bone, 1 to 3 mm from the gap, and both are extrapolated to its middle; the step is the implant's height less
the bone's along the skull's outward normal n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.shape.mesh import Mesh
from volforge.tasks.implant.making.rim_gap import RimGap, rim_gap
from volforge.tasks.implant.making.scene import Scene
from volforge.volume.geometry import Array

NEAR_MM, FAR_MM = 1.0, 3.0  # of the planes, from the gap
HALF_WIDTH_MM = 1.5  # of the planes, along the rim
APART_MM = 2.0
EDGE_MM = 1.2  # places of the wall so near to the outer surface are its edge
FLAT_COSINE = 0.7
HEIGHT_MM = 10.0  # surfaces further above or below the edge are others
LEAST = 6  # vertices of a plane


@dataclass(frozen=True)
class Steps:
    """Steps around a rim, of one of its two surfaces.

    Attributes:
        points: (N, 3) mm, middles of the gap.
        mm: (N,) height of the implant less that of the bone, along the outward normal.
    """

    points: Array
    mm: Array

    @property
    def median_mm(self) -> float:
        """Median of the signed steps; NaN without any."""
        return float(np.median(self.mm)) if len(self.mm) else float("nan")

    @property
    def p95_mm(self) -> float:
        """95th percentile of the steps' sizes; NaN without any."""
        return float(np.percentile(np.abs(self.mm), 95)) if len(self.mm) else float("nan")


@dataclass(frozen=True)
class ContourStep:
    """Steps of the outer and of the inner surface."""

    outer: Steps
    inner: Steps


def contour_step(scene: Scene, gap: RimGap | None = None) -> ContourStep:
    """Steps between implant and bone around the rim.

    Closed form: an implant whose outer radius is larger by d gives d outside and 0 inside.

    Args:
        scene: Implant and bone.
        gap: Its rim gap, where it is known.
    """
    gap = rim_gap(scene) if gap is None else gap
    if not len(gap.mm):
        return ContourStep(*(Steps(np.zeros((0, 3)), np.zeros(0)),) * 2)
    around = scene.outwards(scene.bone_surface.vertices)
    flat = (scene.bone_normals * around).sum(axis=1)
    return ContourStep(_side(scene, gap, flat, 1.0), _side(scene, gap, flat, -1.0))


def _side(scene: Scene, gap: RimGap, flat: Array, sign: float) -> Steps:
    """Steps of the outer (1) or inner (-1) surface."""
    from scipy.spatial import cKDTree

    nothing = Steps(np.zeros((0, 3)), np.zeros(0))
    edge_mm = max(EDGE_MM, 1.5 * scene.voxel_mm)
    surface = scene.bone_surface.vertices[sign * flat > FLAT_COSINE]
    if not len(surface):
        return nothing
    edge = cKDTree(surface).query(gap.points, distance_upper_bound=edge_mm)[0] <= edge_mm
    if not edge.any():
        return nothing
    p, q, m = gap.points[edge], gap.facing[edge], gap.normals[edge]
    cells = np.floor((p - p.min(axis=0)) / max(APART_MM, 1.5 * scene.voxel_mm)).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    cell = cell.ravel()
    count = np.bincount(cell).astype(float)[:, None]

    def mean(v: Array) -> Array:
        return np.stack([np.bincount(cell, v[:, n]) for n in range(3)], axis=1) / count

    middle, half = mean((p + q) / 2), np.bincount(cell, np.linalg.norm(q - p, axis=1)) / count.ravel() / 2
    up = scene.outwards(middle)
    across = mean(m)
    across -= (across * up).sum(axis=1, keepdims=True) * up
    length = np.linalg.norm(across, axis=1)
    heights = []
    for mesh, normals, towards in (
        (scene.implant_surface, scene.implant_normals, 1.0),
        (scene.bone_surface, scene.bone_normals, -1.0),
    ):
        near = cKDTree(mesh.vertices).query_ball_point(middle, r=_reach(scene, float(half.max())))
        heights.append(
            [
                _height(mesh, normals, np.asarray(near[n], np.int64), middle[n], up[n], towards * across[n] / length[n],
                        half[n], sign, scene.voxel_mm)
                if length[n] > 0.3 else np.nan
                for n in range(len(middle))
            ]
        )  # fmt: skip
    step = np.asarray(heights[0]) - np.asarray(heights[1])
    known = np.isfinite(step)
    return Steps(middle[known], step[known])


def _far(voxel_mm: float) -> float:
    """End of the planes: on coarse grids they reach further, or hold no vertices."""
    return max(FAR_MM, NEAR_MM + 2.5 * voxel_mm)


def _reach(scene: Scene, half_mm: float) -> float:
    return float(np.hypot(_far(scene.voxel_mm) + half_mm + HALF_WIDTH_MM, HEIGHT_MM))


def _height(
    mesh: Mesh, normals: Array, near: Array, middle: Array, up: Array, away: Array, half: float, sign: float,
    voxel_mm: float,
) -> float:  # fmt: skip
    """Height at the middle of the gap of the plane through a surface beside it; NaN where too little of it is there.

    Args:
        mesh, normals: Of implant or bone.
        near: Vertices about the middle.
        middle: (3,) mm.
        up: Outward normal.
        away: Unit vector from the gap to this body.
        half: Half of the gap, mm.
        sign: 1: outer surface, -1: inner.
        voxel_mm: Edge of a voxel.
    """
    near = near[sign * (normals[near] @ up) > FLAT_COSINE]
    from_middle = mesh.vertices[near] - middle
    t, b, h = from_middle @ away, from_middle @ np.cross(up, away), from_middle @ up
    beside = (t >= half + NEAR_MM) & (t <= half + _far(voxel_mm)) & (np.abs(b) <= max(HALF_WIDTH_MM, 1.2 * voxel_mm))
    beside &= np.abs(h) <= HEIGHT_MM
    if np.count_nonzero(beside) < LEAST:
        return float("nan")
    t, b, h = t[beside], b[beside], h[beside]
    # pores below the surface have floors that look outwards too: of every column the outermost counts
    column = max(0.75, voxel_mm)
    keys = np.stack([np.floor(t / column), np.floor(b / column)], axis=1)
    _, cell = np.unique(keys, axis=0, return_inverse=True)
    top = np.full(int(cell.max()) + 1, -np.inf)
    np.maximum.at(top, cell.ravel(), sign * h)
    outermost = sign * h >= top[cell.ravel()] - voxel_mm
    if np.count_nonzero(outermost) < LEAST:
        return float("nan")
    t, b, h = t[outermost], b[outermost], h[outermost]
    matrix = np.stack([np.ones_like(t), t, b], axis=1)
    return float(np.linalg.lstsq(matrix, h, rcond=None)[0][0])
