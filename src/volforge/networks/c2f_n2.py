"""The fine network of the AutoImplant baseline: narrow, for the crop about a coarse implant at native resolution.

Source: Li et al., arXiv 2006.12449, read in their code; some 0.65 million parameters at the published width.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from volforge.networks.c2f_n1 import doubling, head, normal_start, unit


class FineN2(nn.Module):
    """Five halvings, two convolutions, five doublings, no skip connections.

    Args:
        channels: Channels of the skull.
        classes: Output classes, background included.
        width: Channels of the halvings; 16 as published.
        kernel: Side of the convolutions; 3 as published.

    Shapes:
        Input (N, channels, X, Y, Z), sides multiples of 32; output logits (N, classes, X, Y, Z).
    """

    def __init__(self, channels: int = 1, classes: int = 2, width: int = 16, kernel: int = 3):
        super().__init__()
        w = width
        down = [unit(channels if k == 0 else w, w, kernel, 2) for k in range(5)]
        code = [unit(w, 4 * w, kernel), unit(4 * w, 4 * w, kernel)]
        widths = [4 * w, 2 * w, 2 * w, 2 * w, 2 * w, w]
        up = [doubling(a, b, kernel, b) for a, b in pairwise(widths)]
        self.steps = nn.Sequential(*down, *code, *up)
        self.head = head(w, classes, kernel)
        self.divisor = 32
        normal_start(self, self.head)

    def forward(self, skull: Tensor) -> Tensor:
        """Logits of a skull's grid."""
        if any(n % self.divisor for n in skull.shape[2:]):
            raise ValueError(f"sides must be multiples of {self.divisor}, not {tuple(skull.shape[2:])}")
        found: torch.Tensor = self.head(self.steps(skull))
        return found
