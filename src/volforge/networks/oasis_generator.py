"""The generator of OASIS: from a label map with noise to an image, by SPADE blocks from coarse to fine.

Source: Schoenfeld et al., ICLR 2021; 71,190,467 parameters at width 64, 38 classes, 64 values of noise, three channels.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.spade import SLOPE, SpadeBlock, xavier

WIDTHS = (16, 16, 16, 8, 4, 2, 1)  # in units of `width`, coarse to fine


def conditioned(labels: Tensor, noise: Tensor | None) -> Tensor:
    """Noise and labels as one map, noise first.

    Args:
        labels: (N, C, H, W) one-hot, or shares of classes.
        noise: (N, Z), the same everywhere; (N, Z, H, W), by place; or None.

    Returns:
        (N, Z + C, H, W).
    """
    if noise is None:
        return labels
    if noise.dim() == 2:
        noise = noise[:, :, None, None].expand(-1, -1, *labels.shape[-2:])
    return torch.cat([noise, labels], dim=1)


def beginning(labels: Tensor, noise: Tensor | None, divisor: int) -> tuple[Tensor, Tensor]:
    """The conditioning map of a generator, and the same at its coarsest size.

    Raises:
        ValueError: Sides that are no multiples of the divisor.
    """
    h, w = labels.shape[-2:]
    if h % divisor or w % divisor:
        raise ValueError(f"sides must be multiples of {divisor}, not {(h, w)}")
    given = conditioned(labels, noise)
    return given, functional.interpolate(given, size=(h // divisor, w // divisor), mode="nearest")


class OasisGenerator(nn.Module):
    """Image generator conditioned on labels and noise.

    Args:
        classes: Channels of the label map.
        channels: Channels of the image.
        width: Channels of the last block; coarser ones have up to 16 times as many.
        noise: Values of noise; 0: none, and the image depends on the labels alone.
        blocks: Blocks; each but the last doubles the size (published: 6, from 8 x 8 to 256 x 256).
        hidden: Channels inside the modulations.
        grain: Values of noise that differ from pixel to pixel, after those of `noise`: what no label map and no single
            latent determine. Published: none.
        gain: Of the weights at the beginning (published: 0.02). With 1 a short training gets somewhere.

    Shapes:
        Labels (N, classes, H, W) with sides that are multiples of `divisor`; noise (N, noise), or
        (N, noise + grain, H, W); with grain always the latter.
        Image (N, channels, H, W) between -1 and 1.
    """

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        width: int = 64,
        noise: int = 64,
        blocks: int = 6,
        hidden: int = 128,
        grain: int = 0,
        gain: float = 0.02,
    ):
        super().__init__()
        if not 2 <= blocks <= 6:
            raise ValueError("an OASIS generator has two to six blocks")
        given = classes + noise + grain
        widths = [width * k for k in WIDTHS[6 - blocks :]]
        self.noise, self.grain, self.divisor = noise, grain, 2 ** (blocks - 1)
        self.stem = nn.Conv2d(given, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(SpadeBlock(a, b, given, hidden) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1)
        xavier(self, gain)

    def forward(self, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Image of a label map."""
        given, coarse = beginning(labels, noise if self.noise + self.grain else None, self.divisor)
        x = self.stem(coarse)
        for k, block in enumerate(self.blocks):
            x = block(x, given)
            if k < len(self.blocks) - 1:
                x = functional.interpolate(x, scale_factor=2, mode="nearest")
        found: Tensor = torch.tanh(self.head(functional.leaky_relu(x, SLOPE)).float())
        return found
