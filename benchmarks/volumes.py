"""Volumes drawn for benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Spacing = tuple[float, float, float]


def trunk(shape: tuple[int, int, int], *, couch: bool = False) -> np.ndarray:
    """A body of textured tissue with bone and lung in air, int16 HU, in Fortran order; 60 % is air outside.

    Args:
        shape: Voxels.
        couch: A plate of 200 HU below the body, apart from it.
    """
    rng = np.random.default_rng(0)
    x, y, z = (np.linspace(-1, 1, n).reshape([-1 if a == k else 1 for a in range(3)]) for k, n in enumerate(shape))
    volume = np.full(shape, -1024, np.int16)
    body = (x / 0.75) ** 2 + (y / 0.55) ** 2 + 0.05 * z**2 < 1
    volume[body] = rng.normal(40, 25, int(body.sum())).astype(np.int16)
    lung = ((np.abs(x) - 0.3) / 0.2) ** 2 + (y / 0.35) ** 2 + z**2 < 1
    volume[lung & body] = rng.normal(-800, 60, int((lung & body).sum())).astype(np.int16)
    bone = np.abs(np.sqrt((x / 0.65) ** 2 + (y / 0.46) ** 2) - 1) < 0.02
    volume[bone & body] = rng.normal(700, 120, int((bone & body).sum())).astype(np.int16)
    if couch:
        plate = (np.abs(x) < 0.8) & (y > -0.85) & (y < -0.75) & (z > -2)
        volume[np.broadcast_to(plate, shape)] = 200
    return np.asfortranarray(volume)


def ball(out: np.ndarray, spacing: Sequence[float], centre: Sequence[float], radius_mm: float, value: int = 1) -> None:
    """Draw a ball into a label map; the centre in voxels."""
    reach = [int(radius_mm / s) + 2 for s in spacing]
    ends = zip(centre, reach, out.shape, strict=True)
    box = tuple(slice(max(0, int(c) - r), min(n, int(c) + r + 1)) for c, r, n in ends)
    x, y, z = ((np.arange(b.start, b.stop) - c) * s for b, c, s in zip(box, centre, spacing, strict=True))
    inside = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2 < radius_mm**2
    out[box][inside] = value
