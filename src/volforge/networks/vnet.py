"""The published V-Net.

Source: Belikova et al., Sci. Rep. 11, 16292 (2021), after Milletari et al. 2016 (arXiv 1606.04797); batch norm and the
dropout of skips are additions to the latter. At the paper's size (width 16, five levels, one channel in, two classes)
it has 65,191,134 parameters. The published code ends in a softmax; ours returns logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

DOWN_CONVOLUTIONS = (2, 3, 3, 3)
UP_CONVOLUTIONS = (1, 2, 3, 3)  # from the finest level
DROPOUT = 0.5


def _norm(channels: int, norm: str) -> nn.Module:
    if norm == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    # statistics of the batch at hand in evaluation too, as published: with one sample this is instance norm
    return nn.BatchNorm3d(channels, track_running_stats=False)


def _unit(before: int, after: int, norm: str) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(before, after, 5, padding=2), _norm(after, norm), nn.PReLU(after))


class _Down(nn.Module):
    def __init__(self, before: int, convolutions: int, norm: str):
        super().__init__()
        after = 2 * before
        self.down = nn.Sequential(nn.Conv3d(before, after, 2, stride=2), _norm(after, norm), nn.PReLU(after))
        self.convolutions = nn.Sequential(*(_unit(after, after, norm) for _ in range(convolutions)))
        self.last = nn.PReLU(after)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        return self.last(self.convolutions(down) + down)


class _Up(nn.Module):
    def __init__(self, before: int, skip: int, convolutions: int, norm: str):
        super().__init__()
        after = 2 * skip
        self.up = nn.Sequential(nn.ConvTranspose3d(before, skip, 2, stride=2), _norm(skip, norm), nn.PReLU(skip))
        self.dropout = nn.Dropout3d(DROPOUT)
        self.convolutions = nn.Sequential(*(_unit(after, after, norm) for _ in range(convolutions)))
        self.last = nn.PReLU(after)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        both = torch.cat([self.up(x), self.dropout(skip)], dim=1)
        return self.last(self.convolutions(both) + both)


class VNet(nn.Module):
    """V-Net: strided convolutions down, transposed ones up, residual blocks of 5x5x5 convolutions.

    Args:
        channels: Channels of the image; must divide `width`.
        classes: Output classes, background included.
        width: Channels of the first level; they double with each level.
        levels: Resolutions, each half the one above; 2 to 5.
        norm: `batch` as published (statistics of the batch, always), or `instance`, its equal at batch size 1.

    Shapes:
        Input (N, channels, X, Y, Z), sides multiples of 2^(levels - 1); output logits (N, classes, X, Y, Z).
    """

    def __init__(self, channels: int, classes: int, width: int = 16, levels: int = 5, norm: str = "batch"):
        super().__init__()
        if not 2 <= levels <= 5:
            raise ValueError(f"a V-Net has 2 to 5 levels, not {levels}")
        if width % channels:
            raise ValueError(f"width {width} must be a multiple of the {channels} channels, which are repeated onto it")
        if norm not in ("batch", "instance"):
            raise ValueError(f"norm is batch or instance, not {norm!r}")
        self.first = nn.Sequential(nn.Conv3d(channels, width, 5, padding=2), _norm(width, norm))
        self.first_act = nn.PReLU(width)
        self.repeats = width // channels
        widths = [width * 2**k for k in range(levels)]
        self.down = nn.ModuleList(
            _Down(w, n, norm) for w, n in zip(widths[:-1], DOWN_CONVOLUTIONS[: levels - 1], strict=True)
        )
        ups = list(zip(widths[:-1], UP_CONVOLUTIONS[: levels - 1], strict=True))[::-1]
        # the deepest decoder gets the bottom, the others what the decoder below them made: twice their skip's channels
        before = [widths[-1], *(2 * skip for skip, _ in ups[:-1])]
        self.up = nn.ModuleList(_Up(b, skip, n, norm) for b, (skip, n) in zip(before, ups, strict=True))
        self.last = nn.Sequential(
            nn.Conv3d(2 * width, classes, 5, padding=2),
            _norm(classes, norm),
            nn.PReLU(classes),
            nn.Conv3d(classes, classes, 1),
        )
        self.divisor = 2 ** (levels - 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        if any(n % self.divisor for n in image.shape[2:]):
            raise ValueError(f"every side must be a multiple of {self.divisor}, not {tuple(image.shape[2:])}")
        x = self.first_act(self.first(image) + image.repeat(1, self.repeats, 1, 1, 1))
        skips: Sequence[Tensor] = ()
        for block in self.down:
            skips = (x, *skips)
            x = block(x)
        for block, skip in zip(self.up, skips, strict=True):
            x = block(x, skip)
        return self.last(x)
