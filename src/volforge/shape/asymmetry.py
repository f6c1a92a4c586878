"""Left against right: indices of volumes, and the distance of the mirrored and registered shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from volforge.metrics.measure import Measure
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures
from volforge.shape.bones import Bones
from volforge.shape.frame import Frame
from volforge.shape.mesh import Mesh
from volforge.volume.geometry import Array

TOLERANCE = 1e-4
ROUNDS = 60
MOST_POINTS = 4000


def asymmetry_index(left: float, right: float) -> tuple[float, float]:
    """Signed and absolute asymmetry in percent: (left - right) over the mean of both.

    NaN where one is unknown or both are 0.
    """
    mean = 0.5 * (left + right)
    if not math.isfinite(mean) or mean == 0:
        return math.nan, math.nan
    signed = 100 * (left - right) / mean
    return signed, abs(signed)


@dataclass(frozen=True)
class Alignment:
    """How the mirrored right joint lies on the left one.

    Attributes:
        matrix: (4, 4) from RAS mm of the right joint to RAS mm of the left one; its determinant is -1.
        residual_mm: Root mean square distance of the right barrier's points to the left one, afterwards.
    """

    matrix: Array
    residual_mm: float


def align_mirrored(left: Bones, right: Bones, left_barrier: Mesh, right_barrier: Mesh) -> Alignment:
    """Mirror the right joint and lay it onto the left one by its barrier (rigid iterative closest points).

    The start is the mirror image about the plane between the two clip cubes; the barrier carries the alignment, since
    the skull hardly differs from side to side and the condyle is what is asked about.

    Args:
        left, right: The joints.
        left_barrier, right_barrier: Surfaces of their barriers in RAS mm.
    """
    from scipy.spatial import cKDTree
    from trimesh.registration import icp

    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[:3, 3] = left.frame.centre - flip[:3, :3] @ right.frame.centre
    target, source = _thinned(left_barrier, left.frame), _thinned(right_barrier, right.frame)
    moved = source @ flip[:3, :3].T + flip[:3, 3]
    tree = cKDTree(target)
    # trimmed: what has no partner near it (a crest on one side, the rim of the cube) does not pull
    for _ in range(3):
        away = tree.query(moved)[0]
        near = away <= max(np.percentile(away, 80), 1e-6)
        matrix, _, _ = icp(
            moved[near], target, threshold=TOLERANCE, max_iterations=ROUNDS // 3, reflection=False, scale=False
        )
        moved = moved @ matrix[:3, :3].T + matrix[:3, 3]
        flip = matrix @ flip
    away = np.sort(tree.query(moved)[0])
    kept = away[: max(1, int(0.8 * len(away)))]
    return Alignment(flip, float(np.sqrt((kept**2).mean())))


def compare_shapes(left: Array, right: Array, frames: tuple[Frame, Frame], matrix: Array, name: str) -> list[Measure]:
    """Dice, HD95 and ASSD of a left shape and the mirrored right one.

    Args:
        left, right: (X, Y, Z) bool on their working grids.
        frames: Of both.
        matrix: From `align_mirrored`.
        name: Structure that the measures speak of.
    """
    from scipy.ndimage import affine_transform

    from volforge.shape.field import signed_distance

    if not left.any() or not right.any():
        return []
    own, other = frames
    index = np.linalg.inv(other.grid.affine) @ np.linalg.inv(matrix) @ own.grid.affine
    field = signed_distance(right, (other.step_mm,) * 3)
    carried = affine_transform(
        field, index[:3, :3], index[:3, 3], output_shape=left.shape, order=1, cval=float(field.max())
    )
    labels = left.astype(np.uint8), (carried < 0).astype(np.uint8)
    metrics = SegmentationMetrics((1.0,))
    found = measure_structures(labels[1], labels[0], (own.step_mm,) * 3, {name: 1}, metrics)
    wanted = {"dice": "mirrored_dice", "hd95_mm": "mirrored_hd95_mm", "assd_mm": "mirrored_assd_mm"}
    return [Measure(wanted[m.measure], m.value, name, m.status, m.n) for m in found if m.measure in wanted]


def _thinned(mesh: Mesh, frame: Frame) -> Array:
    """Points of a surface in the clip cube, at most 4000, evenly chosen."""
    inside = np.abs(mesh.vertices - frame.centre).max(axis=1) <= frame.cube_mm / 2
    points = mesh.vertices[inside] if inside.any() else mesh.vertices
    return points[:: max(1, len(points) // MOST_POINTS)]
