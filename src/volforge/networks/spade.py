"""Spatially-adaptive normalisation: a label map scales and shifts normalised features.

Source: Park et al., CVPR 2019 (SPADE); with noise beside the labels, Schoenfeld et al., ICLR 2021 (OASIS).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.spectral import spectral_norm

SLOPE = 0.2


class Spade(nn.Module):
    """Batch norm whose scale and shift are two convolutions of the conditioning map.

    Args:
        channels: Of the features.
        given: Channels of the conditioning map (noise and one-hot labels).
        hidden: Channels between (published: 128).

    Shapes:
        Features (N, channels, H, W), map (N, given, any, any), which is resized by nearest neighbour.
    """

    def __init__(self, channels: int, given: int, hidden: int = 128):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(given, hidden, 3, padding=1)
        self.scale = nn.Conv2d(hidden, channels, 3, padding=1)
        self.shift = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """Features, normalised and modulated."""
        if given.shape[-2:] != x.shape[-2:]:
            given = functional.interpolate(given, size=x.shape[-2:], mode="nearest")
        h = functional.relu(self.shared(given))
        found: Tensor = self.norm(x) * (1 + self.scale(h)) + self.shift(h)
        return found


class SpadeBlock(nn.Module):
    """Residual block of two modulated convolutions under spectral norm.

    Args:
        before, after: Channels.
        given: Channels of the conditioning map.
        hidden: Channels inside the modulation.
    """

    def __init__(self, before: int, after: int, given: int, hidden: int = 128):
        super().__init__()
        middle = min(before, after)
        self.first = Spade(before, given, hidden)
        self.conv1 = spectral_norm(nn.Conv2d(before, middle, 3, padding=1))
        self.second = Spade(middle, given, hidden)
        self.conv2 = spectral_norm(nn.Conv2d(middle, after, 3, padding=1))
        self.past: nn.ModuleList | None = None
        if before != after:
            conv = spectral_norm(nn.Conv2d(before, after, 1, bias=False))
            self.past = nn.ModuleList([Spade(before, given, hidden), conv])

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """Features of the same size."""
        h = self.conv1(functional.leaky_relu(self.first(x, given), SLOPE))
        h = self.conv2(functional.leaky_relu(self.second(h, given), SLOPE))
        if self.past is None:
            found: Tensor = x + h
        else:
            norm, conv = self.past
            found = conv(norm(x, given)) + h
        return found


def xavier(module: nn.Module, gain: float = 0.02) -> None:
    """The published beginning of generators and segmenters: Xavier normal with this gain, biases zero.

    Convolutions under spectral norm are divided by their norm, so that for them the gain sets the direction alone.
    """
    for name, values in module.named_parameters():
        if values.dim() > 1:
            nn.init.xavier_normal_(values, gain)
        elif name.endswith("bias"):
            nn.init.zeros_(values)
