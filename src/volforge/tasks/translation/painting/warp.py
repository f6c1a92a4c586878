"""One warp for all arrays of a sample: affine, and elastic; all slices of a slab alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from volforge.errors import VolforgeError
from volforge.tasks.translation.painting.fields import Frame, smooth_field
from volforge.tasks.translation.painting.options import Painting
from volforge.volume.geometry import Array


def warped(
    arrays: Mapping[str, Array],
    rng: np.random.Generator,
    *,
    options: Painting,
    pixel_mm: float,
    air: float = -1000.0,
) -> dict[str, Array]:
    """Move all arrays of a sample alike, within their planes.

    Args:
        arrays: (K, H, W) arrays of one shape. Real ones are images (linear); integers and masks are maps (nearest).
        rng: Decides what is drawn.
        options: Turn, scale, shift, flip, and the elastic part.
        pixel_mm: Side of a pixel.
        air: What lies beyond the rim of an image; beyond that of a map lies 0.

    Returns:
        New arrays by name, of the dtypes that came.

    Raises:
        VolforgeError: Shapes that differ.
    """
    shapes = {v.shape for v in arrays.values()}
    if len(shapes) != 1:
        raise VolforgeError(
            "arrays of one sample have different shapes",
            ", ".join(f"{k} {v.shape}" for k, v in arrays.items()),
            "cut them by one recipe",
        )
    grid = _grid(next(iter(shapes)), rng, options, pixel_mm)
    return {name: _sampled(values, grid, air) for name, values in arrays.items()}


def _grid(shape: tuple[int, ...], rng: np.random.Generator, options: Painting, pixel_mm: float) -> torch.Tensor:
    """Where each pixel comes from, (1, H, W, 2) as shares of the half sides, columns first."""
    _, h, w = shape
    angle = np.radians(rng.uniform(-1, 1) * options.turn_degrees)
    sizes = 1 + rng.uniform(-1, 1, 2) * options.scale
    moves = rng.uniform(-1, 1, 2) * options.shift * 2
    sign = -1 if rng.random() < 0.5 and options.flip else 1
    flat = Frame((1, h, w), pixel_mm, pixel_mm)
    _, y, x = flat.places_mm()
    c, s = np.cos(angle), np.sin(angle)
    sides = np.array([w, h]) * pixel_mm / 2
    columns = (sign * (c * x - s * y) * sizes[0]) / sides[0] + moves[0]
    rows = ((s * x + c * y) * sizes[1]) / sides[1] + moves[1]
    grid = np.stack([columns[0], rows[0]], -1).astype(np.float32)
    if options.elastic_mm:
        cell = options.elastic_cell_mm
        shifts = [smooth_field(flat, cell, rng)[0] * np.float32(options.elastic_mm / side) for side in sides]
        grid += np.stack(shifts, -1)
    return torch.from_numpy(grid[None])


def _sampled(values: Array, grid: torch.Tensor, air: float) -> Array:
    is_image = values.dtype.kind == "f"
    beyond = air if is_image else 0
    above = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32) - np.float32(beyond))[None]
    mode = "bilinear" if is_image else "nearest"
    found = functional.grid_sample(above, grid, mode=mode, padding_mode="zeros", align_corners=False)[0].numpy()
    return (found + np.float32(beyond)).astype(values.dtype)
