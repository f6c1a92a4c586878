"""The coarse network of the AutoImplant baseline: a deep auto-encoder with a head that sharpens its answer.

Source: Li et al., arXiv 2006.12449 (the authors of the published implants), read in their code; some 82 million
parameters at the published width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SPREAD = 0.01  # of the weights, drawn from a normal distribution that is cut off at twice of it
MOMENTUM = 0.1  # a decay of 0.9
EPSILON = 1e-5


def unit(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(before, after, kernel, stride=stride, padding=kernel // 2),
        nn.BatchNorm3d(after, eps=EPSILON, momentum=MOMENTUM),
        nn.ReLU(inplace=True),
    )


def doubling(before: int, after: int, kernel: int, last: int) -> nn.Sequential:
    """A transposed convolution of side 4 that doubles the grid, and a convolution behind it."""
    widen = nn.Sequential(
        nn.ConvTranspose3d(before, after, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm3d(after, eps=EPSILON, momentum=MOMENTUM),
        nn.ReLU(inplace=True),
    )
    return nn.Sequential(widen, unit(after, last, kernel))


def head(before: int, classes: int, kernel: int) -> nn.Sequential:
    """A unit to the classes, and three plain convolutions among them."""
    plain = [nn.Conv3d(classes, classes, kernel, padding=kernel // 2) for _ in range(3)]
    return nn.Sequential(unit(before, classes, kernel), *plain)


def normal_start(network: nn.Module, last: nn.Sequential) -> None:
    """Weights begin as published: a normal distribution cut off at two deviations, biases 0.

    But for the plain convolutions of the head (`last`), which begin as PyTorch has them: three of so small weights
    leave nothing of the gradient, and a short training stands still.
    """
    plain = {id(m) for m in list(last.children())[1:]}
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)) and id(module) not in plain:
            nn.init.trunc_normal_(module.weight, std=SPREAD, a=-2 * SPREAD, b=2 * SPREAD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class CoarseN1(nn.Module):
    """Four halvings, two convolutions, four doublings, no skip connections.

    Args:
        channels: Channels of the skull.
        classes: Output classes, background included.
        width: Channels of the first level; 64 as published.
        kernel: Side of the convolutions; 5 as published.

    Shapes:
        Input (N, channels, X, Y, Z), sides multiples of 16; output logits (N, classes, X, Y, Z).
    """

    def __init__(self, channels: int = 1, classes: int = 2, width: int = 64, kernel: int = 5):
        super().__init__()
        w = width
        down = [(channels, w, 2), (w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 2), (8 * w, 8 * w, 1)]
        steps: Sequence[nn.Module] = [unit(a, b, kernel, s) for a, b, s in [*down, (8 * w, 4 * w, 1)]]
        half = max(1, w // 2)
        up = [(4 * w, 4 * w, 2 * w), (2 * w, 2 * w, w), (w, w, w), (w, half, half)]
        self.steps = nn.Sequential(*steps, *(doubling(a, b, kernel, c) for a, b, c in up))
        self.head = head(half, classes, kernel)
        self.divisor = 16
        normal_start(self, self.head)

    def forward(self, skull: Tensor) -> Tensor:
        """Logits of a skull's grid."""
        if any(n % self.divisor for n in skull.shape[2:]):
            raise ValueError(f"sides must be multiples of {self.divisor}, not {tuple(skull.shape[2:])}")
        found: torch.Tensor = self.head(self.steps(skull))
        return found
