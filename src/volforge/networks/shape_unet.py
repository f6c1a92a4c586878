"""The shape extractor of Ge et al., SPIE 2019: a U-Net that reads a body's outline off a slice.

Source: read in the code that was published with the paper; a U-Net (Ronneberger et al., MICCAI 2015) with batch norms,
doubling by interpolation; 13,395,329 parameters at width 64 with the three equal channels of the original.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DOWN = (1, 2, 4, 8, 8)  # channels in units of `width`, fine to coarse
UP = (4, 2, 1, 1)  # coarse to fine


def double(before: int, after: int) -> nn.Sequential:
    """Two convolutions of 3 x 3, each with batch norm and ReLU."""
    parts: list[nn.Module] = []
    for known in (before, after):
        parts += [nn.Conv2d(known, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*parts)


class ShapeUNet(nn.Module):
    """Outline of the body in a slice.

    Beside a generator that is trained it is frozen and in eval mode, else its batch norms learn the generator's images.
    (The original left it in train mode, fed with 0 to 255.)

    Args:
        channels: Channels of the image.
        width: Channels of the finest level (published: 64).

    Shapes:
        Image (N, channels, H, W), values -1 to 1, sides multiples of `divisor`.
        Logits (N, 1, H, W): their sigmoid is the soft outline.

    Raises:
        ValueError: No width.
    """

    divisor = 16

    def __init__(self, channels: int = 1, width: int = 64):
        super().__init__()
        if width < 1:
            raise ValueError("a shape extractor has a width from 1 on")
        down, up = [width * k for k in DOWN], [width * k for k in UP]
        self.down = nn.ModuleList(double(a, b) for a, b in zip([channels, *down], down, strict=False))
        skips = down[-2::-1]
        coarser = [down[-1], *up[:-1]]
        self.up = nn.ModuleList(double(s + c, u) for s, c, u in zip(skips, coarser, up, strict=True))
        self.head = nn.Conv2d(up[-1], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image.

        Raises:
            ValueError: Sides that are no multiples of 16.
        """
        h, w = image.shape[-2:]
        if h % self.divisor or w % self.divisor:
            raise ValueError(f"sides must be multiples of {self.divisor}, not {(h, w)}")
        levels = [self.down[0](image)]
        for part in self.down[1:]:
            levels.append(part(functional.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for part in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = part(torch.cat([levels.pop(), x], dim=1))  # the finer level first, as in the published weights
        found: Tensor = self.head(x).float()
        return found
