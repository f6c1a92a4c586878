"""Our own network: a residual encoder U-Net with deep supervision.

Source: the residual encoder presets of nnU-Net (Isensee et al. 2024, arXiv 2404.09556): residual blocks in the encoder,
one convolution per level in the decoder, instance norm, leaky ReLU, strides that leave a coarse axis alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Size = tuple[int, int, int]


def _norm(channels: int, norm: str) -> nn.BatchNorm3d | nn.InstanceNorm3d:
    return nn.BatchNorm3d(channels) if norm == "batch" else nn.InstanceNorm3d(channels, affine=True)


def _unit(before: int, after: int, norm: str, stride: Size | int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, 3, stride=stride, padding=1, bias=False),
        _norm(after, norm),
        nn.LeakyReLU(0.01, inplace=True),
    )


class _Residual(nn.Module):
    """Two convolutions and a way past them: average pooling where the block goes down, 1x1x1 where it widens."""

    def __init__(self, before: int, after: int, stride: Size, norm: str):
        super().__init__()
        self.body = nn.Sequential(
            _unit(before, after, norm, stride),
            nn.Conv3d(after, after, 3, padding=1, bias=False),
            _norm(after, norm),
        )
        past: list[nn.Module] = []
        if stride != (1, 1, 1):
            past.append(nn.AvgPool3d(stride, stride, ceil_mode=True))
        if before != after:
            past += [nn.Conv3d(before, after, 1, bias=False), _norm(after, norm)]
        self.past = nn.Sequential(*past)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.past(x))


def strides_of(levels: int, spacing_mm: Sequence[float] | None) -> list[Size]:
    """Strides of each level: an axis whose voxels are more than twice as long as the finest is halved later.

    Args:
        levels: Resolutions.
        spacing_mm: Voxel size; None: isotropic.
    """
    spacing = list(spacing_mm or (1.0, 1.0, 1.0))
    strides: list[Size] = [(1, 1, 1)]
    for _ in range(levels - 1):
        a, b, c = (2 if s < 2 * min(spacing) else 1 for s in spacing)
        strides.append((a, b, c))
        spacing = [s * k for s, k in zip(spacing, (a, b, c), strict=True)]
    return strides


class ResidualUNet(nn.Module):
    """Residual encoder U-Net.

    Args:
        channels: Channels of the image.
        classes: Output classes, background included.
        width: Channels of the first level; they double with each level, up to `most`.
        levels: Resolutions.
        blocks: Residual blocks of each level; the last number serves all deeper ones.
        most: Largest number of channels.
        norm: `instance`; or `batch`, whose running statistics make results independent of the window.
        supervised: Resolutions whose logits are trained, the full one included.
        spacing_mm: Voxel size, for the strides of anisotropic images.

    Shapes:
        Input (N, channels, X, Y, Z), sides multiples of `divisor`. In training a list of logits, full resolution first;
        else the full one, (N, classes, X, Y, Z).
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 32,
        levels: int = 5,
        blocks: Sequence[int] = (1, 2, 3),
        most: int = 320,
        supervised: int = 3,
        norm: str = "instance",
        spacing_mm: Sequence[float] | None = None,
    ):
        super().__init__()
        if levels < 2:
            raise ValueError("a U-Net needs at least two levels")
        widths = [min(most, width * 2**k) for k in range(levels)]
        strides = strides_of(levels, spacing_mm)
        counts = [blocks[min(k, len(blocks) - 1)] for k in range(levels)]
        if norm not in ("batch", "instance"):
            raise ValueError(f"norm is batch or instance, not {norm!r}")
        self.first = _unit(channels, width, norm)
        self.down = nn.ModuleList(
            nn.Sequential(
                _Residual(widths[max(0, k - 1)], w, strides[k], norm),
                *(_Residual(w, w, (1, 1, 1), norm) for _ in range(n - 1)),
            )
            for k, (w, n) in enumerate(zip(widths, counts, strict=True))
        )
        pairs = [(widths[k + 1], widths[k], strides[k + 1]) for k in reversed(range(levels - 1))]
        self.widen = nn.ModuleList(nn.ConvTranspose3d(below, here, s, stride=s) for below, here, s in pairs)
        self.up = nn.ModuleList(_unit(2 * here, here, norm) for _, here, _ in pairs)
        self.supervised = max(1, min(supervised, levels - 1))
        self.heads = nn.ModuleList(nn.Conv3d(w, classes, 1) for w in widths[: self.supervised])
        a, b, c = (math.prod(s[axis] for s in strides) for axis in range(3))
        self.divisor: Size = (a, b, c)
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight, a=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, _Residual):
                last = module.body[-1]
                assert isinstance(last, (nn.BatchNorm3d, nn.InstanceNorm3d))
                nn.init.zeros_(last.weight)  # a block begins as its way past

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of an image."""
        if any(n % d for n, d in zip(image.shape[2:], self.divisor, strict=True)):
            raise ValueError(f"sides must be multiples of {self.divisor}, not {tuple(image.shape[2:])}")
        x = self.first(image)
        skips: list[Tensor] = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        found: list[Tensor] = []
        for k, (widen, up) in enumerate(zip(self.widen, self.up, strict=True)):
            level = len(self.up) - 1 - k
            x = up(torch.cat([skips[level], widen(x)], dim=1))
            if level < self.supervised and (self.training or level == 0):
                found.insert(0, self.heads[level](x))
        return found if self.training else found[0]
