"""The Haar transform of feature maps: four sub-bands of half the size, and back.

Source: the wavelet generator and discriminator of SWAGAN (Gal et al., ACM Trans. Graph. 40, 134, 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor


def haar(image: Tensor, convolved: bool = False) -> Tensor:
    """Orthonormal Haar transform of pairs of rows and columns.

    Args:
        image: (N, C, H, W) with even H and W.
        convolved: LH and HL with the other sign, as SWAGAN's code gives them, which turns its kernels around (and has
            them in the order of the transposed image). Published weights are of such sub-bands.

    Returns:
        (N, 4 C, H/2, W/2): all channels of LL, then of LH (high along W), HL (high along H), HH. Energy is preserved.

    Raises:
        ValueError: an odd side.
    """
    if image.shape[-1] % 2 or image.shape[-2] % 2:
        raise ValueError(f"the Haar transform needs even sides, not {tuple(image.shape[-2:])}")
    image = _at_least_32_bit(image)
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    top, bottom, left, right = a + b, c + d, b - a, d - c
    lh, hl = (-left - right, top - bottom) if convolved else (left + right, bottom - top)
    return torch.cat([top + bottom, lh, hl, right - left], dim=1) / 2


def inverse_haar(bands: Tensor, convolved: bool = False) -> Tensor:
    """The image of four sub-bands; `inverse_haar(haar(x))` is x.

    Args:
        bands: (N, 4 C, H, W).
        convolved: As in `haar`.

    Returns:
        (N, C, 2 H, 2 W).
    """
    low, lh, hl, hh = _at_least_32_bit(bands).chunk(4, dim=1)
    if convolved:
        lh, hl = -lh, -hl
    n, c, h, w = low.shape
    a, b = low - lh - hl + hh, low + lh - hl - hh
    d, e = low - lh + hl - hh, low + lh + hl + hh
    rows = torch.stack([torch.stack([a, b], dim=-1), torch.stack([d, e], dim=-1)], dim=-3)
    return rows.reshape(n, c, 2 * h, 2 * w) / 2


def _at_least_32_bit(values: Tensor) -> Tensor:
    """Sums of four in 16 bit, level after level, would not be undone by their inverse."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
