"""A U-Net from image to image: what a regression wants whose answer lies where its input lies.

Ours; Ronneberger et al., MICCAI 2015, with residual blocks, group norms (Wu and He, ECCV 2018) and SiLU. Group norms
see each image by itself, as instance norms of CycleGAN do, but keep how bright channels are to each other.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = 8  # channels of a group, as far as there are so many
SMALLEST = 2  # pixels of the coarsest level


class Block(nn.Module):
    """Two convolutions of 3 x 3 with norms, added to what came in.

    Args:
        before, after: Channels.
    """

    def __init__(self, before: int, after: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(groups_of(before), before),
            nn.SiLU(),
            nn.Conv2d(before, after, 3, padding=1),
            nn.GroupNorm(groups_of(after), after),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, before, H, W) to (N, after, H, W)."""
        return cast(Tensor, self.skip(x) + self.layers(x))


class ImageUNet(nn.Module):
    """Image from image.

    Args:
        channels: Channels of the input: contrasts and neighbouring slices.
        outputs: Channels of the output.
        width: Channels of the finest level; each coarser one has twice as many, up to eight times.
        levels: Levels, the finest included.

    Shapes:
        Input (N, channels, H, W), values -1 to 1, sides multiples of `divisor`.
        Output (N, outputs, H, W) between -1 and 1.

    Raises:
        ValueError: No width, or fewer than two levels.
    """

    def __init__(self, channels: int = 1, outputs: int = 1, width: int = 32, levels: int = 5):
        super().__init__()
        if width < 1 or levels < 2:
            raise ValueError("a U-Net has a width from 1 on, and two levels or more")
        wide = [width * min(2**k, 8) for k in range(levels)]
        self.divisor = 2 ** (levels - 1)
        self.smallest = SMALLEST * self.divisor
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(Block(a, b) for a, b in zip([width, *wide], wide, strict=False))
        self.up = nn.ModuleList(Block(wide[k + 1] + wide[k], wide[k]) for k in reversed(range(levels - 1)))
        self.last = nn.Sequential(
            nn.GroupNorm(groups_of(width), width), nn.SiLU(), nn.Conv2d(width, outputs, 3, padding=1), nn.Tanh()
        )

    def forward(self, image: Tensor) -> Tensor:
        """The image.

        Raises:
            ValueError: Sides that are no multiples of `divisor`, or too small.
        """
        h, w = image.shape[-2:]
        if h % self.divisor or w % self.divisor or min(h, w) < self.smallest:
            raise ValueError(f"sides must be multiples of {self.divisor}, {self.smallest} or more, not {(h, w)}")
        x = self.first(image)
        levels: list[Tensor] = []
        for k, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if k else x)
            levels.append(x)
        levels.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, levels.pop()], dim=1))
        return cast(Tensor, self.last(x)).float()


def groups_of(channels: int) -> int:
    """Groups of a norm: as many as divide the channels into groups of eight, or one."""
    return channels // GROUP if channels % GROUP == 0 else 1
