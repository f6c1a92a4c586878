"""Skulls of tests: a spherical shell whose defects have closed forms, and a head of CT with couch and holder."""

import numpy as np

from volforge.cohort.phantoms.fields import oblique_grid, world_points

INNER_MM, OUTER_MM = 70.0, 78.0


def shell(spacing=(2.0, 2.0, 2.0), tilt=(0.0, 0.0, 0.0), floor_mm=None):
    """A spherical shell about the origin, with a floor where asked for: mask and affine."""
    shape = tuple(round(172.0 / s) for s in spacing)
    grid = oblique_grid(shape, spacing, (0.0, 0.0, 0.0), tilt)
    x, y, z = world_points(grid)
    r = np.sqrt(x**2 + y**2 + z**2)
    bone = (r <= OUTER_MM) & (r >= INNER_MM)
    if floor_mm is not None:
        bone |= (np.abs(z - floor_mm) <= 4) & (r <= OUTER_MM)
    return bone, grid.affine


def lens_mm3(radius, other, apart):
    """Volume that two balls share."""
    if apart + radius <= other:
        return 4 / 3 * np.pi * radius**3
    height = (radius + other - apart) ** 2
    rest = apart**2 + 2 * apart * (radius + other) - 3 * (radius - other) ** 2
    return np.pi * height * rest / (12 * apart)


def prism_mm3(inside, half_mm=60.0, step_mm=0.1):
    """Volume of the shell's upper part over a figure of the plane, along its normal, by sums."""
    at = np.arange(-half_mm, half_mm, step_mm) + step_mm / 2
    u, v = np.meshgrid(at, at, indexing="ij")
    square = np.where(inside(u, v), u**2 + v**2, np.nan)
    height = np.sqrt(OUTER_MM**2 - square) - np.sqrt(INNER_MM**2 - square)
    return float(np.nansum(height)) * step_mm**2


def head_ct(spacing=(2.0, 2.0, 2.0)):
    """A head in air on a holder of plastic and a couch: HU, spacing, and its skull, flap, calcification, holder."""
    shape = tuple(round(e / s) for e, s in zip((220.0, 260.0, 200.0), spacing, strict=True))
    grid = oblique_grid(shape, spacing, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    x, y, z = world_points(grid)
    scaled = np.sqrt((x / 72) ** 2 + (y / 90) ** 2 + ((z + 20) / 80) ** 2)
    rng = np.random.default_rng(0)
    hu = np.full(shape, -1000.0)
    neck = (np.hypot(x, y) < 55) & (z < -20)
    hu[(scaled < 1.1) | neck] = 40
    skull = (scaled < 1) & (scaled > 0.92)
    hole = (x - 72) ** 2 + y**2 + (z + 20) ** 2 < 30**2
    flap = skull & ((x - 72) ** 2 + y**2 + (z + 20) ** 2 < 20**2)
    skull &= ~hole
    calcification = x**2 + y**2 + z**2 < 4**2
    hu[skull | flap] = 900
    hu[calcification] = 400
    holder = (np.abs(np.hypot(x, y) - 112) < 3) & (y < -40)
    couch = np.abs(y + 124) < 4
    hu[holder | couch] = 250
    hu += rng.normal(0, 12, shape)
    parts = {"skull": skull, "flap": flap, "calcification": calcification, "holder": holder | couch}
    return np.rint(hu).astype(np.int16), spacing, parts
