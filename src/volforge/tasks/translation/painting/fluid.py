"""Compact pieces of fluid where the CT has soft tissue: ventricles, eyes, bladders, cysts."""

from __future__ import annotations

import numpy as np

from volforge.tasks.translation.painting.fields import Frame, smooth_field, step_up
from volforge.tasks.translation.painting.regions import Regions
from volforge.tasks.translation.painting.shapes import depth_mm
from volforge.volume.geometry import Array

EYE_RADIUS_MM = (10.0, 13.0)
EDGE_MM = 0.7


def fluid_weight(regions: Regions, frame: Frame, rng: np.random.Generator, *, trunk: bool) -> Array:
    """Where fluid is painted.

    Args:
        regions: Tissues of the CT; fluid lies in its soft tissue only.
        frame: The grid.
        rng: Number, places and sizes.
        trunk: Also large pieces, as bladders are.

    Returns:
        (K, H, W) float32 from 0 to 1.
    """
    weight = np.zeros(frame.shape, np.float32)
    if regions.inside.any() and rng.random() < 0.75:
        weight = np.maximum(weight, _ventricles(regions, frame, rng))
    if regions.soft.any():
        weight = np.maximum(weight, _balls(regions, frame, rng, trunk=trunk))
    return weight * (regions.inside | regions.soft)


def _ventricles(regions: Regions, frame: Frame, rng: np.random.Generator) -> Array:
    """One to four long ellipsoids with wavy walls, the first two at times mirrored at the middle."""
    wave = smooth_field(frame, 8.0, rng)
    deepest = float(regions.depth_mm.max())
    out = np.zeros(frame.shape, np.float32)
    middle = _middle_mm(regions.inside, frame)
    for number in range(int(rng.integers(1, 4))):
        centre = _place(regions.depth_mm > min(15.0, 0.5 * deepest), frame, rng)
        half = tuple(min(float(rng.uniform(*ends)), 0.5 * deepest) for ends in ((3, 9), (5, 26), (8, 25)))
        turn = rng.uniform(0, np.pi)
        out = np.maximum(out, _ellipsoid(frame, centre, half, turn, wave))
        if number == 0 and rng.random() < 0.6:
            other = (centre[0], centre[1], 2 * middle - centre[2])
            out = np.maximum(out, _ellipsoid(frame, other, half, np.pi - turn, wave))
    return out * step_up(regions.depth_mm - 2, EDGE_MM)


def _balls(regions: Regions, frame: Frame, rng: np.random.Generator, *, trunk: bool) -> Array:
    """Up to three balls of the size of an eye; in a trunk also larger ones, where there is room."""
    out = np.zeros(frame.shape, np.float32)
    depth = depth_mm(regions.soft, frame)
    room = float(depth.max())
    still = np.zeros(frame.shape, np.float32)
    for _ in range(int(rng.integers(0, 4))):
        centre = _place(depth > min(5.0, 0.6 * room), frame, rng)
        radius = rng.uniform(*EYE_RADIUS_MM)
        if trunk and room > 20 and rng.random() < 0.5:
            radius = rng.uniform(4, min(30.0, room))
        out = np.maximum(out, _ellipsoid(frame, centre, (radius,) * 3, 0.0, still))
    return out


def _ellipsoid(frame: Frame, centre: tuple[float, ...], half: tuple[float, ...], turn: float, wave: Array) -> Array:
    """Weight of an ellipsoid: half axes across, along (turned in the plane) and through the slices, mm."""
    z, y, x = (p - np.float32(c) for p, c in zip(frame.places_mm(), centre, strict=True))
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across, along = c * x + s * y, c * y - s * x
    radius = np.sqrt((across / half[0]) ** 2 + (along / half[1]) ** 2 + (z / half[2]) ** 2)
    return step_up((1 - radius + np.float32(0.2) * wave) * np.float32(min(half[:2])), EDGE_MM)


def _place(mask: Array, frame: Frame, rng: np.random.Generator) -> tuple[float, float, float]:
    """A voxel of the mask, drawn by its share of the way through it, mm; the middle of the slab if it is empty."""
    found = np.flatnonzero(mask)
    share = rng.random()
    if not len(found):
        return (0.0, 0.0, 0.0)
    at = np.unravel_index(found[int(share * len(found))], frame.shape)
    return tuple((float(i) - (n - 1) / 2) * s for i, n, s in zip(at, frame.shape, frame.steps_mm, strict=True))  # type: ignore[return-value]


def _middle_mm(mask: Array, frame: Frame) -> float:
    columns = np.flatnonzero(mask.any((0, 1)))
    return (float(columns[0] + columns[-1]) / 2 - (frame.shape[2] - 1) / 2) * frame.pixel_mm
