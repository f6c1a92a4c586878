"""The plane of symmetry of a defective skull, and the skull mirrored at it."""

from __future__ import annotations

import numpy as np

from volforge.tasks.implant.grids import Frame
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.resample import gaussian_along

COARSE_MM = 4.0
BLUR = 1.2  # coarse voxels: how far the search sees
TILTS = (-0.12, 0.0, 0.12)  # radians, starts of the search
MOST_POINTS = 6000


def reflection(skull: Array, grid: Grid) -> Affine:
    """The reflection that makes a skull overlap best with itself.

    The plane begins across the patient's left-right axis through the bone's middle; offset and two angles are found on
    a coarse blurred copy. What is missing on one side finds no partner and has no say.

    Args:
        skull: (X, Y, Z) bone, boolean.
        grid: Its grid.

    Returns:
        4x4 in voxels of the grid; its own inverse.
    """
    from scipy.ndimage import map_coordinates
    from scipy.optimize import minimize

    frame = _coarse_frame(skull, grid)
    coarse, place = frame.average(skull), frame.grid(grid).affine
    points = np.argwhere(coarse > 0.25)
    points = points[:: 1 + len(points) // MOST_POINTS]
    weights = coarse[tuple(points.T)]
    for axis in range(3):
        coarse = gaussian_along(coarse, BLUR, axis)
    world = points @ place[:3, :3].T + place[:3, 3]
    middle = (weights[:, None] * world).sum(axis=0) / weights.sum()
    inverse = np.linalg.inv(place)

    def cost(x: Array) -> float:
        there = _applied(inverse @ _reflection(middle, x), world)
        overlap = map_coordinates(coarse, there.T, order=1, mode="constant")
        return -float((weights * overlap).sum() / weights.sum())

    starts = [np.array([0.0, yaw, 0.0]) for yaw in TILTS]
    steps = np.array([[0, 0, 0], [4.0, 0, 0], [0, 0.08, 0], [0, 0, 0.08]])
    runs = [
        minimize(cost, s, method="Nelder-Mead", options={"initial_simplex": s + steps, "xatol": 1e-3, "fatol": 1e-6})
        for s in starts
    ]
    best = min(runs, key=lambda r: (float(r.fun), *np.abs(r.x).tolist()))
    return np.asarray(np.linalg.inv(grid.affine) @ _reflection(middle, best.x) @ grid.affine)


def _coarse_frame(skull: Array, grid: Grid) -> Frame:
    """Coarse voxels over the bone."""
    box = bounding_box(skull)
    a, b, c = (COARSE_MM / s for s in grid.spacing_mm)
    x, y, z = (int(np.ceil((s.stop - s.start) / k)) + 4 for s, k in zip(box, (a, b, c), strict=True))
    return Frame((box[0].start - 2 * a, box[1].start - 2 * b, box[2].start - 2 * c), (a, b, c), (x, y, z))


def _applied(matrix: Affine, points: Array) -> Array:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def _reflection(middle: Array, x: Array) -> Affine:
    """Reflection at the plane with offset (mm), yaw and roll (radians) from the sagittal one through a point."""
    normal = np.array([1.0, np.tan(x[1]), np.tan(x[2])])
    normal /= np.linalg.norm(normal)
    matrix = np.eye(4)
    matrix[:3, :3] -= 2 * np.outer(normal, normal)
    matrix[:3, 3] = 2 * normal * (normal @ (middle + x[0] * normal))
    return matrix


def mirrored(skull: Array, matrix: Affine, start: Array, size: tuple[int, int, int]) -> Array:
    """A part of the mirrored skull.

    Args:
        skull: (X, Y, Z) bone, boolean.
        matrix: From `reflection`.
        start, size: First voxel and voxels of the part.

    Returns:
        `size`, float32, 0 to 1.
    """
    from scipy.ndimage import affine_transform

    offset = matrix[:3, :3] @ np.asarray(start, float) + matrix[:3, 3]
    return np.asarray(
        affine_transform(skull.view(np.uint8), matrix[:3, :3], offset, tuple(size), output=np.float32, order=1)
    )
