"""The discriminator on Haar sub-bands: one score for a whole image.

Source: SWAGAN (Gal et al., 2021) after StyleGAN2 (Karras et al., CVPR 2020); 26,211,073 parameters at 256 x 256 and
three channels.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.haar import haar

SLOPE = 0.2
FILTER = (1.0, 3.0, 3.0, 1.0)


class _Equalised(nn.Module):
    """Convolution or linear map with equalised learning rate: weights are N(0, 1) and scaled when they are used."""

    def __init__(self, before: int, after: int, kernel: int = 0, down: bool = False, active: bool = True):
        super().__init__()
        shape = (after, before, kernel, kernel) if kernel else (after, before)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale = 1 / math.sqrt(before * max(1, kernel) ** 2)
        self.kernel, self.down, self.active = kernel, down, active

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if not self.kernel:
            x = functional.linear(x, weight)
        elif self.down:
            x = functional.conv2d(blurred(x, 2), weight, stride=2)
        else:
            x = functional.conv2d(x, weight, padding=self.kernel // 2)
        x = x + self.bias.view(1, -1, *([1, 1] if self.kernel else []))
        return functional.leaky_relu(x, SLOPE) * math.sqrt(2) if self.active else x


def blurred(x: Tensor, pad: int) -> Tensor:
    """Image under the separable filter 1 3 3 1, padded by zeros."""
    line = torch.tensor(FILTER, dtype=x.dtype, device=x.device) / sum(FILTER)
    kernel = (line[:, None] * line[None, :]).expand(x.shape[1], 1, 4, 4)
    return functional.conv2d(functional.pad(x, [pad] * 4), kernel, groups=x.shape[1])


class WaveletDiscriminator(nn.Module):
    """Score of an image: high where it looks real.

    Args:
        size: Side of the image, a power of two from 16.
        channels: Channels of the image.
        width: Channels of the finest level (published: 128).
        most: Channels of all others (published: 512).
        group: Largest group whose spread is shown to the last level; a divisor of the batch is taken.

    Shapes:
        Image (N, channels, size, size); score (N, 1). `features` are the outputs of the levels, fine to coarse.
    """

    forward_methods = ("scored",)  # what else is called in training, for wrappers that set precision or join processes

    def __init__(self, size: int, channels: int = 1, width: int = 128, most: int = 512, group: int = 4):
        super().__init__()
        levels = round(math.log2(size)) - 3
        if levels < 1 or 2 ** (levels + 3) != size:
            raise ValueError(f"the side of the image must be a power of two from 16, not {size}")
        self.group, self.divisor = group, size
        bands = 4 * channels
        widths = [width] + [most] * levels
        self.see = nn.ModuleList(_Equalised(bands, w, 1) for w in widths)
        self.levels = nn.ModuleList(
            nn.Sequential(_Equalised(a, a, 3), _Equalised(a, b, 3, down=True)) for a, b in itertools.pairwise(widths)
        )
        self.last = _Equalised(most + 1, most, 3)
        self.score = nn.Sequential(_Equalised(most * 16, most), _Equalised(most, 1, active=False))

    def forward(self, image: Tensor) -> Tensor:
        """Score of images."""
        return self.scored(image)[0]

    def scored(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score, and the outputs of the levels."""
        if tuple(image.shape[-2:]) != (self.divisor, self.divisor):
            raise ValueError(f"images must have {self.divisor} x {self.divisor} pixels, not {tuple(image.shape[-2:])}")
        x: Tensor | None = None
        features = []
        for k, see in enumerate(self.see):
            seen = see(haar(image))
            x = seen if x is None else x + seen
            if k < len(self.levels):
                x = self.levels[k](x)
                features.append(x)
                image = blurred(image, 1)[..., ::2, ::2]
        assert x is not None
        found: Tensor = self.score(self.last(torch.cat([x, self._spread(x)], dim=1)).flatten(1))
        return found, features

    def _spread(self, x: Tensor) -> Tensor:
        """Mean deviation within groups of the batch, as one more channel: a generator without variety shows."""
        group = math.gcd(self.group, len(x)) if len(x) % self.group else self.group
        parts = x.reshape(group, -1, *x.shape[1:])
        deviation = (parts.var(dim=0, unbiased=False) + 1e-8).sqrt()
        mean = deviation.mean(dim=(1, 2, 3), keepdim=True)
        return mean.repeat(group, 1, *x.shape[2:])
