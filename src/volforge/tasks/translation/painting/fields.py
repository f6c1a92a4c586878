"""Smooth random fields whose grain is a length in mm, through all slices of a slab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Frame:
    """The grid of a slab.

    Attributes:
        shape: Slices, rows and columns.
        pixel_mm: Side of a pixel.
        between_mm: Distance of neighbouring slices.
    """

    shape: tuple[int, int, int]
    pixel_mm: float
    between_mm: float

    @property
    def steps_mm(self) -> tuple[float, float, float]:
        """Distance of neighbours along slices, rows and columns."""
        return self.between_mm, self.pixel_mm, self.pixel_mm

    def pixels(self, mm: float) -> int:
        """A length as a number of pixels, at least one."""
        return max(1, round(mm / self.pixel_mm))

    def places_mm(self) -> list[Array]:
        """Place of the voxels along each axis, from the middle of the slab: three arrays that broadcast."""
        out = []
        for axis, (count, step) in enumerate(zip(self.shape, self.steps_mm, strict=True)):
            along = (np.arange(count, dtype=np.float32) - np.float32((count - 1) / 2)) * np.float32(step)
            out.append(along.reshape([-1 if a == axis else 1 for a in range(3)]))
        return out


def smooth_field(frame: Frame, cell_mm: float, rng: np.random.Generator) -> Array:
    """A Gaussian field of mean 0 and variance 1 in every voxel.

    Cubic B-splines over normal values on a lattice that depends on the extent in mm and not on the pixels, so that a
    finer grid of the same extent shows the same field. A single slice needs no knots beside it: a plane through such a
    field is such a field.

    Args:
        frame: The grid.
        cell_mm: Distance of the lattice's knots; the correlation falls to a half at about this distance.
        rng: Knots are drawn from it.

    Returns:
        (K, H, W) float32.
    """
    weights = [
        _splines(n, step, cell_mm) if n > 1 else np.ones((1, 1), np.float32)
        for n, step in zip(frame.shape, frame.steps_mm, strict=True)
    ]
    knots = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    through, down, along = weights
    plane = np.tensordot(through, knots, axes=1) if len(through) > 1 else knots
    return np.matmul(np.matmul(down, plane), along.T)


def _splines(count: int, step: float, cell: float) -> Array:
    """Weights (count, knots) of cubic B-splines, each row of length 1: so the variance is 1 everywhere."""
    at = (np.arange(count, dtype=np.float32) - np.float32((count - 1) / 2)) * np.float32(step / cell)
    # of the extent, not of the outermost voxel (see above), and the same however the extent was rounded
    reach = int(np.ceil(count * step / 2 / cell + 1e-6)) + 2
    away = np.abs(at[:, None] - np.arange(-reach, reach + 1, dtype=np.float32))
    outer, inner = np.maximum(2 - away, 0), np.maximum(1 - away, 0)
    weights = outer * outer * outer - 4 * inner * inner * inner
    return weights / np.sqrt(np.einsum("ij,ij->i", weights, weights))[:, None]


def step_up(values: Array, width: float) -> Array:
    """A smooth step from 0 to 1 about 0, a logistic curve of this width."""
    return 1 / (1 + np.exp(np.clip(values / -np.float32(width), -30, 30)))
