"""Phantom skulls with a defect: complete skull, defective skull and implant, as binary volumes."""

from __future__ import annotations

import numpy as np

from volforge.cohort.phantoms.fields import (
    PhantomScan,
    Points,
    ellipsoid,
    in_file_order,
    oblique_grid,
    rotation,
    smooth_noise,
    stream,
    subject_points,
    world_points,
)
from volforge.volume.geometry import Array, Grid

SPACING_MM = 3.4
EXTENT_MM = (163.2, 217.6, 163.2)
MIN_IMPLANT_MM3 = 8000.0
DEFECTS = ("burr_box", "irregular")
MAX_TRIES = 50


def draw(seed: int, subject: str, defect: str, spacing_mm: float | None = None) -> PhantomScan:
    """Draw a skull and take a piece out.

    Args:
        seed: Seed of the cohort.
        subject: Name; with the seed it decides everything that is random.
        defect: One of `DEFECTS`.
        spacing_mm: Isotropic voxel size; 3.4 where None.

    Returns:
        image (complete), defective and implant, uint8; complete = defective + implant, voxel by voxel.

    Raises:
        RuntimeError: no defect of at least 8 cm3 was found in 50 draws.
    """
    rng = stream(seed, "skull", subject)
    step = spacing_mm or SPACING_MM
    shape = tuple(round(e / step) for e in EXTENT_MM)
    tilt = tuple(float(v) for v in rng.normal(0, 3, 3))
    grid = oblique_grid(shape, (step,) * 3, (0.0, 0.0, 0.0), tilt)  # type: ignore[arg-type]
    turn = rotation(tilt) @ rotation(tuple(float(v) for v in rng.normal(0, 6, 3)))  # type: ignore[arg-type]
    shift = rng.normal(0, 2, 3)
    p = subject_points(world_points(grid), turn, shift, 1.0)
    semi = np.array([72.0, 92.0, 80.0]) * (1 + rng.uniform(-0.04, 0.04, 3))
    complete = _skull(p, semi, rng, grid) < 0
    for attempt in range(MAX_TRIES):
        taken = _defect(p, semi, defect, rng, attempt) < 0
        implant = complete & taken
        if implant.sum() * grid.voxel_mm3 >= MIN_IMPLANT_MM3 and _is_one_piece(implant):
            break
    else:
        raise RuntimeError(f"no defect of {MIN_IMPLANT_MM3:g} mm3 found for {subject}")
    volumes = {"image": complete, "defective": complete & ~taken, "implant": implant}
    truth: dict[str, object] = {
        "defect": defect,
        "attempts": attempt + 1,
        "semi_axes_mm": semi.tolist(),
        "implant_mm3": float(implant.sum()) * grid.voxel_mm3,
    }
    scan = PhantomScan(grid, {n: v.astype(np.uint8) for n, v in volumes.items()}, truth)
    return in_file_order(scan, str(rng.choice(["RAS", "LPS", "LAS"])))


def _is_one_piece(mask: Array) -> bool:
    from volforge.volume.morphology import components

    _, counts = components(mask, 26)
    return len(counts) > 1 and counts[1:].max() >= 0.99 * counts[1:].sum()


def _skull(p: Points, semi: Array, rng: np.random.Generator, grid: Grid) -> Array:
    """Signed distance of the bone: a wavy superellipsoid shell, closed below by a perforated base."""
    x, y, z = p
    exponent = rng.uniform(2.1, 2.5)
    azimuth = np.arctan2(y, x)
    polar = np.arctan2(z, np.sqrt(x**2 + y**2))
    wave = np.ones_like(x)
    for order in range(1, 5):
        a, b = rng.normal(0, 0.01, 2) / np.sqrt(order)
        wave += (a * np.cos(order * azimuth) + b * np.sin(order * azimuth)) * np.cos(polar) ** order
        wave += rng.normal(0, 0.006) / order * np.sin(order * polar)
    radius = sum(np.abs(q / np.float32(s)) ** exponent for q, s in zip(p, semi, strict=True)) ** (1 / exponent)
    distance = np.sqrt(x**2 + y**2 + z**2)
    outer = (radius / wave - 1) * distance / np.maximum(radius, 1e-3)
    thick = 6.5 + 1.6 * smooth_noise(rng, grid.shape, grid.spacing_mm, 18.0)
    thick += 1.5 * (y < -0.6 * semi[1])  # the occiput is strong
    thick = np.clip(thick, 3.0, 11.0)
    shell = np.maximum(outer, -(outer + thick))
    floor = -0.42 * semi[2] + 6 * np.sin(y / 30.0)  # the base rises to the front
    vault = np.maximum(shell, floor - z)
    base = np.maximum(np.maximum(np.abs(z - floor) - 3.0, outer), -100.0)
    holes = [(0.0, -0.30 * semi[1], 17.0), (22.0, 0.05 * semi[1], 6.0), (-22.0, 0.05 * semi[1], 6.0)]
    holes += [(13.0, 0.45 * semi[1], 8.0), (-13.0, 0.45 * semi[1], 8.0)]
    for hx, hy, r in holes:
        base = np.maximum(base, r - np.sqrt((x - np.float32(hx)) ** 2 + (y - np.float32(hy)) ** 2))
    bone = np.minimum(vault, base)
    sinus = ellipsoid(p, (0.0, float(semi[1]) - 7.0, -6.0), (14.0, 3.2, 8.0))
    front = ellipsoid(p, (0.0, float(semi[1]) - 7.0, -6.0), (18.0, 6.5, 12.0))
    return np.maximum(np.minimum(bone, front), -sinus)


def _defect(p: Points, semi: Array, kind: str, rng: np.random.Generator, attempt: int) -> Array:
    """Signed distance of what is taken out, placed on the upper part of the vault."""
    azimuth = rng.uniform(0, 2 * np.pi)
    polar = rng.uniform(np.radians(25), np.radians(75))
    normal = np.array([np.cos(polar) * np.cos(azimuth), np.cos(polar) * np.sin(azimuth), np.sin(polar)])
    centre = normal * semi / np.linalg.norm(normal)
    if kind == "burr_box":
        helper = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
        first = np.cross(normal, helper)
        first /= np.linalg.norm(first)
        second = np.cross(normal, first)
        q = [x - np.float32(c) for x, c in zip(p, centre, strict=True)]
        along = [sum(x * np.float32(d) for x, d in zip(q, axis, strict=True)) for axis in (first, second, normal)]
        half = rng.uniform(20, 32)
        square = np.maximum(np.abs(along[0]), np.abs(along[1])) - half
        burr = rng.uniform(4, 7)
        for a in (-1, 1):
            for b in (-1, 1):
                hole = np.sqrt((along[0] - a * half) ** 2 + (along[1] - b * half) ** 2) - burr
                square = np.minimum(square, hole)
        return np.maximum(square, np.abs(along[2]) - 40)
    radius = rng.normal(30, 4)
    shape = ellipsoid(p, (float(centre[0]), float(centre[1]), float(centre[2])), (radius,) * 3)
    small = max(8.0, rng.normal(16, 3))
    for _ in range(int(rng.integers(2, 7))):
        direction = rng.normal(size=3)
        c = centre + direction / np.linalg.norm(direction) * radius
        shape = np.minimum(shape, ellipsoid(p, (float(c[0]), float(c[1]), float(c[2])), (small,) * 3))
    warp = sum(np.sin(x / 9.0 + rng.uniform(0, 6)) for x in p)
    return shape + 1.5 * warp
