"""Skulls as formulas: shells whose two surfaces are known along every direction."""

import numpy as np

from volforge.tasks.implant.kriging.disc import Disc

SMALL = Disc(pixel_mm=3.0)


def radii(semi, exponent, thickness, directions):
    """(2, ...) inner and outer radius of a superellipsoid shell of constant radial thickness."""
    outer = (np.abs(directions / np.asarray(semi)) ** exponent).sum(-1) ** (-1 / exponent)
    return np.stack([outer - thickness, outer])


def drawn(rng, directions):
    """A shell of the parameters of the `skull` phantom."""
    semi = np.array([72.0, 92.0, 80.0]) * (1 + rng.uniform(-0.04, 0.04, 3))
    return radii(semi, rng.uniform(2.1, 2.5), rng.uniform(5, 8), directions)


def voxels(semi, exponent, thickness, spacing=1.5, rotation=None, centre=(0.0, 0.0, 0.0), floor=-40.0):
    """A shell in voxels, closed below at `floor`: (X, Y, Z) uint8 and its affine."""
    half = 110.0
    n = int(2 * half / spacing)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -half + np.asarray(centre)
    turn = np.eye(3) if rotation is None else rotation
    along = [np.arange(n) * spacing - half] * 3
    points = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1) @ turn
    r = np.linalg.norm(points, axis=-1)
    inner, outer = radii(
        semi, exponent, thickness, np.where(r[..., None] > 0, points / np.maximum(r, 1e-6)[..., None], [0, 0, 1.0])
    )
    return ((r >= inner) & (r <= outer) & (points[..., 2] > floor)).astype(np.uint8), affine


def cap(points, towards, half_angle_deg):
    """Which points lie within an angle of a direction."""
    unit = np.asarray(towards) / np.linalg.norm(towards)
    cosine = points @ unit / np.maximum(np.linalg.norm(points, axis=-1), 1e-6)
    return cosine > np.cos(np.deg2rad(half_angle_deg))


def centres(shape, affine):
    """(X, Y, Z, 3) patient coordinates of voxels."""
    along = [np.arange(n) for n in shape]
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
