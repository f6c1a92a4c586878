"""Synthetic "balls": what an annotator leaves who lays a sphere over a joint and subtracts the bones.

Source: Belikova et al., Sci. Rep. 11, 16292 (2021), whose manual negative volume is made so. Radius and rule of the
centre are not published; ours fit the 3 cm cube of the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array, Grid

HEAD_MM = 15.0  # the condylar head: what lies less than this below the highest voxel


@dataclass(frozen=True)
class Ball:
    """A ball to lay over one joint.

    Attributes:
        condyle: Id of its condyle.
        id: Id that the ball gets.
    """

    condyle: int
    id: int


def head_centre(condyle: Array, affine: Array) -> Array:
    """Centroid of the condylar head in mm: the voxels less than 15 mm below the most superior one.

    Args:
        condyle: Mask, not empty.
        affine: Voxels to RAS mm; the way up is its third row.
    """
    places = np.argwhere(condyle) @ affine[:3, :3].T + affine[:3, 3]
    up = places[:, 2]
    return np.asarray(places[up > up.max() - HEAD_MM].mean(axis=0))


def with_balls(labels: Array, grid: Grid, balls: Sequence[Ball], radius_mm: float) -> Array:
    """Label map with a ball over each joint, where no structure lies.

    A voxel that two balls reach goes to the nearer one. A joint without a condyle gets none.

    Args:
        labels: (X, Y, Z).
        grid: Its grid.
        balls: Joints.
        radius_mm: Radius of the balls.
    """
    largest = max((b.id for b in balls), default=0)
    result = labels.astype(np.result_type(labels.dtype, np.min_scalar_type(largest)), order="F", copy=True)
    nearest = np.full(labels.shape, np.inf, np.float32, order="F")
    for ball in balls:
        condyle = labels == ball.condyle
        if not condyle.any():
            continue
        centre = head_centre(condyle, grid.affine)
        voxel = np.linalg.inv(grid.affine[:3, :3]) @ (centre - grid.affine[:3, 3])
        reach = radius_mm / np.array(grid.spacing_mm) + 1
        # on tilted grids a sphere reaches as far along the axes as on straight ones: they are perpendicular
        low = np.maximum(np.floor(voxel - reach), 0).astype(int)
        high = np.minimum(np.ceil(voxel + reach) + 1, labels.shape).astype(int)
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), axis=-1)
        away = np.linalg.norm((index - voxel) * np.array(grid.spacing_mm), axis=-1).astype(np.float32)
        free = (labels[box] == 0) & (away <= radius_mm) & (away < nearest[box])
        result[box][free] = ball.id
        nearest[box][free] = away[free]
    return result
