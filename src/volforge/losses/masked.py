"""Means over a mask, and the mask itself: the inside of a body, some millimetres from its outline."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

FEWEST = 16  # pixels of a mask below which a slice says nothing
DEPTH_MM = 8.0


def inside(body: Tensor, pixel_mm: tuple[float, float] | float, depth_mm: float = DEPTH_MM) -> Tensor:
    """The part of a body that lies deeper than so many millimetres, by Euclidean distance within the slice.

    Terms of structure are taken there: with the outline in view a constant scores as well as the truth. What lies
    beyond the image is no body, since nothing is known of it.

    Args:
        body: (N, 1, H, W), 0 or 1, or bool.
        pixel_mm: Size of a pixel along rows (H) and columns (W); one number for both.
        depth_mm: Distance to the centre of the nearest pixel that is no body.

    Returns:
        (N, 1, H, W) bool.

    Raises:
        ValueError: A size or depth that is not positive, or not so many dimensions.
    """
    rows, columns = (pixel_mm, pixel_mm) if isinstance(pixel_mm, (int, float)) else pixel_mm
    if min(rows, columns) <= 0 or depth_mm < 0 or body.dim() != 4 or body.shape[1] != 1:
        raise ValueError("a body is (N, 1, H, W), a pixel's size is above 0, a depth not below")
    reach = [math.floor(depth_mm / size * (1 + 1e-9)) for size in (rows, columns)]
    dy, dx = (
        size * torch.arange(-r, r + 1, dtype=torch.float64) for size, r in zip((rows, columns), reach, strict=True)
    )
    disc = dy[:, None].square() + dx[None, :].square() <= depth_mm**2 * (1 + 1e-9)
    kernel = disc.to(body.device, torch.float32)[None, None]
    padded = functional.pad(1 - body.float(), [reach[1], reach[1], reach[0], reach[0]], value=1.0)
    return functional.conv2d(padded, kernel) < 0.5


def flat(image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pixels (N, C H W) of an image as float32, and their weights 0 or 1, all 1 without a mask.

    Args:
        image: (N, C, H, W).
        mask: (N, 1, H, W) or (N, C, H, W), 0 or 1, or bool.
    """
    values = image.float().flatten(1)
    if mask is None:
        return values, torch.ones_like(values)
    return values, mask.expand_as(image).float().flatten(1)


def joint_moments(a: Tensor, b: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance and both variances (N,) of pixels (N, P) with weights (N, P) 0 or 1; 0 without pixels."""
    count = weights.sum(dim=1).clamp(min=1)

    def mean(x: Tensor) -> Tensor:
        return (x * weights).sum(dim=1) / count

    a, b = (x - mean(x)[:, None] for x in (a, b))
    return mean(a * b), mean(a.square()), mean(b.square())


def known(mask: Tensor | None, count: int) -> Tensor | slice:
    """Which of `count` samples have enough pixels in their mask, to index with.

    Args:
        mask: (N, 1, H, W) or None: all.
        count: N.
    """
    if mask is None:
        return slice(0, count)
    return mask.float().flatten(1).sum(dim=1) >= FEWEST


def mean_of(values: Tensor) -> Tensor:
    """Mean of values of any shape; 0, with a gradient of 0, where there is none."""
    return values.mean() if values.numel() else values.sum()
