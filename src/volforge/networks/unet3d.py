"""The published 3D U-Net, plain and with attention gates.

Source: Belikova et al., Sci. Rep. 11, 16292 (2021), after Çiçek et al. 2016 (arXiv 1606.06650); gates after
Oktay et al. 2018 (arXiv 1804.03999). At the paper's size (width 32, four levels, one channel in, two classes) it has
4,080,914 parameters, with gates 4,113,963.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8


def _unit(before: int, after: int) -> nn.Sequential:
    """3x3x3 convolution without bias, ReLU, then group norm: the norm comes last, as published."""
    groups = GROUPS if after >= GROUPS else 1
    return nn.Sequential(
        nn.Conv3d(before, after, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.GroupNorm(groups, after)
    )


class _Gate(nn.Module):
    """Additive attention: which places of the skip are let through, told by the decoder.

    The running statistics of a batch norm are of little use at batch size 1; `norm="instance"` has none.
    """

    def __init__(self, gating: int, skip: int, inner: int, norm: str):
        super().__init__()

        def normed(channels: int) -> nn.Module:
            return nn.BatchNorm3d(channels) if norm == "batch" else nn.InstanceNorm3d(channels, affine=True)

        self.gating = nn.Sequential(nn.Conv3d(gating, inner, 1), normed(inner))
        self.skip = nn.Sequential(nn.Conv3d(skip, inner, 1), normed(inner))
        self.alpha = nn.Sequential(nn.Conv3d(inner, 1, 1), normed(1))

    def forward(self, gating: Tensor, skip: Tensor) -> Tensor:
        both = functional.relu(self.gating(gating) + self.skip(skip))
        return skip * torch.sigmoid(self.alpha(both))


class UNet3D(nn.Module):
    """3D U-Net: max pooling down, nearest neighbour up, skips concatenated.

    Args:
        channels: Channels of the image.
        classes: Output classes, background included.
        width: Channels of the first level; they double with each level.
        levels: Resolutions, each half the one above.
        attention: Gate the skips.
        gate_norm: `batch` as published, or `instance`.

    Shapes:
        Input (N, channels, X, Y, Z), any size of at least 2^(levels - 1); output logits (N, classes, X, Y, Z).
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 32,
        levels: int = 4,
        attention: bool = False,
        gate_norm: str = "batch",
    ):
        super().__init__()
        if levels < 2:
            raise ValueError("a U-Net needs at least two levels")
        if gate_norm not in ("batch", "instance"):
            raise ValueError(f"gate_norm is batch or instance, not {gate_norm!r}")
        widths = [width * 2**k for k in range(levels)]
        before = [channels, *widths[:-1]]
        self.down = nn.ModuleList(
            nn.Sequential(_unit(b, max(w // 2, b)), _unit(max(w // 2, b), w))
            for b, w in zip(before, widths, strict=True)
        )
        steps = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.gates = nn.ModuleList(_Gate(up, skip, skip // 2, gate_norm) for up, skip in steps if attention)
        self.up = nn.ModuleList(nn.Sequential(_unit(up + skip, skip), _unit(skip, skip)) for up, skip in steps)
        self.head = nn.Conv3d(width, classes, 1)
        self.divisor = 2 ** (levels - 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        if min(image.shape[2:]) < self.divisor:
            raise ValueError(f"every side must have {self.divisor} voxels or more, not {tuple(image.shape[2:])}")
        skips: Sequence[Tensor] = ()
        x = image
        for k, block in enumerate(self.down):
            x = block(functional.max_pool3d(x, 2) if k else x)
            skips = (x, *skips)
        for k, block in enumerate(self.up):
            skip = skips[k + 1]
            x = functional.interpolate(x, size=skip.shape[2:])
            if self.gates:
                skip = self.gates[k](x, skip)
            x = block(torch.cat([skip, x], dim=1))
        return self.head(x)
