"""The generator on Haar sub-bands: SPADE blocks whose features are wavelet coefficients of an image twice as large.

Source: USIS-Wavelet (Eskandar et al., Computers & Graphics 2023). At width 16, 38 classes, 64 values of noise and three
channels the published network has 55,803,884 parameters, of which 1,577,408 belong to four modulations that no image
passes; without them 54,226,476.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.haar import haar, inverse_haar
from volforge.networks.oasis_generator import WIDTHS, beginning
from volforge.networks.spade import SLOPE, Spade, xavier
from volforge.networks.spectral import spectral_norm


class _WaveletSpade(nn.Module):
    """Modulation of the image that sub-bands stand for."""

    def __init__(self, channels: int, given: int, hidden: int, convolved: bool):
        super().__init__()
        self.convolved = convolved
        self.spade = Spade(channels // 4, given, hidden)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return haar(self.spade(inverse_haar(x, self.convolved), given), self.convolved)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, given: int, hidden: int, idle: bool, convolved: bool):
        super().__init__()
        middle = min(before, after)
        self.idle = _WaveletSpade(before, given, hidden, convolved) if idle and before != after else None
        self.first = _WaveletSpade(before, given, hidden, convolved)
        self.conv1 = spectral_norm(nn.Conv2d(before, middle, 3, padding=1))
        self.second = _WaveletSpade(middle, given, hidden, convolved)
        self.conv2 = spectral_norm(nn.Conv2d(middle, after, 3, padding=1))
        self.past = spectral_norm(nn.Conv2d(before, after, 1, bias=False)) if before != after else nn.Identity()

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """What goes past the block, and what it adds."""
        h = self.conv1(functional.leaky_relu(self.first(x, given), SLOPE))
        return self.past(x), self.conv2(functional.leaky_relu(self.second(h, given), SLOPE))


class WaveletGenerator(nn.Module):
    """Image generator on wavelet coefficients, conditioned on labels and noise.

    Args:
        classes: Channels of the label map.
        channels: Channels of the image.
        width: A quarter of the channels of the last block; coarser ones have up to 16 times as many.
        noise: Values of noise; 0: none.
        blocks: Blocks; each but the last doubles the size (published: 6, from 4 x 4 to 128 x 128 sub-bands).
        hidden: Channels inside the modulations.
        grain: Values of noise that differ from pixel to pixel, after those of `noise`: what no label map and no single
            latent determine. Published: none.
        idle: Hold the four modulations of the published network that are never used, so that its weights fit.
        convolved: Sub-bands with the signs of the published code (see `haar`), as its weights need.
        gain: Of the weights at the beginning (published: 0.02). With 1 a short training gets somewhere.

    Shapes:
        As `OasisGenerator`.
    """

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        width: int = 16,
        noise: int = 64,
        blocks: int = 6,
        hidden: int = 128,
        grain: int = 0,
        gain: float = 0.02,
        idle: bool = False,
        convolved: bool = False,
    ):
        super().__init__()
        if not 2 <= blocks <= 6:
            raise ValueError("a wavelet generator has two to six blocks")
        given = classes + noise + grain
        widths = [4 * width * k for k in WIDTHS[6 - blocks :]]
        self.noise, self.grain, self.divisor = noise, grain, 2**blocks
        self.stem = nn.Conv2d(given, widths[0], 3, padding=1)
        self.convolved = convolved
        self.blocks = nn.ModuleList(_Block(a, b, given, hidden, idle, convolved) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv2d(widths[-1], 4 * channels, 1)
        xavier(self, gain)

    def forward(self, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Image of a label map."""
        given, coarse = beginning(labels, noise if self.noise + self.grain else None, self.divisor)
        x = self.stem(coarse)
        for k, block in enumerate(self.blocks):
            past, x = block(x, given)
            if k == len(self.blocks) - 1:
                x = x + past
            else:
                image = functional.interpolate(inverse_haar(past, self.convolved), scale_factor=2, mode="bilinear")
                x = functional.interpolate(x, scale_factor=2, mode="nearest") + haar(image, self.convolved)
        found: Tensor = torch.tanh(inverse_haar(self.head(x).float(), self.convolved))
        return found
