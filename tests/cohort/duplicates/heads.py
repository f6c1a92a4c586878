"""Drawn skulls: shells of ellipsoids with bumps of their own, on any grid, turned, cropped, with a defect."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def skull(
    seed: int,
    *,
    spacing: float = 2.0,
    turn_degrees: tuple[float, float, float] = (0, 0, 0),
    shift_mm: tuple[float, float, float] = (0, 0, 0),
    crop_mm: float = 0.0,
    grow_mm: float = 0.0,
    defect: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """A skull as uint8 in RAS order, and its affine."""
    rng = np.random.default_rng(seed)
    axes = np.array([72.0, 92.0, 78.0]) * rng.uniform(0.94, 1.06, 3)
    centres = rng.normal(size=(14, 3))
    centres /= np.linalg.norm(centres, axis=1)[:, None]
    heights, widths = rng.uniform(-4, 4, 14), rng.uniform(0.25, 0.6, 14)
    size = np.array([210, 240, 220])
    shape = np.ceil(size / spacing).astype(int)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = -size / 2 + np.array(shift_mm)
    points = np.stack(np.indices(shape)).reshape(3, -1).T * spacing - size / 2
    points = points @ Rotation.from_euler("xyz", turn_degrees, degrees=True).as_matrix()
    length = np.maximum(np.linalg.norm(points, axis=1), 1e-6)
    direction = points / length[:, None]
    radius = 1 / np.sqrt(((direction / axes) ** 2).sum(axis=1))
    for centre, height, width in zip(centres, heights, widths, strict=True):
        radius = radius + height * np.exp(-((np.linalg.norm(direction - centre, axis=1) / width) ** 2))
    inside = (length <= radius + grow_mm) & (length >= radius - 7 - grow_mm)
    inside &= points[:, 2] > -70 + crop_mm
    if defect:
        inside &= np.linalg.norm(direction - np.array([0.6, 0.2, 0.77]), axis=1) > 0.35
    return inside.reshape(shape).astype(np.uint8), affine
