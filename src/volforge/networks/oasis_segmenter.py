"""The U-Net that segments images into N classes and `fake`: OASIS's discriminator, USIS's segmenter.

Source: Schoenfeld et al., ICLR 2021; 22,251,559 parameters for 38 classes and three channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.spade import SLOPE, xavier
from volforge.networks.spectral import spectral_norm

WIDTHS = (2, 2, 4, 4, 8, 8)  # of the way down, in units of `width`


def _conv(before: int, after: int, kernel: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, kernel, padding=kernel // 2))


class _Down(nn.Module):
    def __init__(self, before: int, after: int, is_first: bool):
        super().__init__()
        self.is_first = is_first
        self.conv1, self.conv2 = _conv(before, after, 3), _conv(after, after, 3)
        self.past = _conv(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.is_first else functional.leaky_relu(x, SLOPE))
        h = functional.avg_pool2d(self.conv2(functional.leaky_relu(h, SLOPE)), 2)
        found: Tensor = h + self.past(functional.avg_pool2d(x, 2))  # a 1x1 convolution and a mean change places freely
        return found


class _Up(nn.Module):
    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv1, self.conv2 = _conv(before, after, 3), _conv(after, after, 3)
        self.past = _conv(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = functional.interpolate(functional.leaky_relu(x, SLOPE), scale_factor=2, mode="nearest")
        h = self.conv2(functional.leaky_relu(self.conv1(h), SLOPE))
        found: Tensor = h + functional.interpolate(self.past(x), scale_factor=2, mode="nearest")
        return found


class OasisSegmenter(nn.Module):
    """Logits of `fake` (channel 0) and of every class (channel k + 1) at every pixel.

    Args:
        classes: Classes of label maps, background included.
        channels: Channels of the image.
        width: Channels of the output's level (published: 64); deeper ones have up to 8 times as many.
        levels: Levels down (published: 6).
        gain: Of the weights at the beginning (published: 0.02).

    Shapes:
        Image (N, channels, H, W), sides multiples of `divisor`; logits (N, classes + 1, H, W).
    """

    def __init__(self, classes: int, channels: int = 1, width: int = 64, levels: int = 6, gain: float = 0.02):
        super().__init__()
        if not 1 <= levels <= 6:
            raise ValueError("the segmenter has one to six levels")
        down = [width * k for k in WIDTHS[:levels]]
        up = [width, *down[:-1]]  # channels of each resolution on the way up, fine to coarse
        self.divisor = 2**levels
        self.down = nn.ModuleList(
            _Down(a, b, k == 0) for k, (a, b) in enumerate(zip([channels, *down[:-1]], down, strict=True))
        )
        ups = []
        for k in reversed(range(levels)):
            below = down[-1] if k == levels - 1 else up[k + 1] + down[k]
            ups.append(_Up(below, up[k]))
        self.up = nn.ModuleList(ups)
        self.head = nn.Conv2d(up[0], classes + 1, 1)
        xavier(self, gain)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        if any(n % self.divisor for n in image.shape[-2:]):
            raise ValueError(f"sides must be multiples of {self.divisor}, not {tuple(image.shape[-2:])}")
        skips, x = [], image
        for block in self.down:
            x = block(x)
            skips.append(x)
        for k, block in enumerate(self.up):
            x = block(x if k == 0 else torch.cat([skips[len(self.up) - 1 - k], x], dim=1))
        found: Tensor = self.head(x)
        return found
