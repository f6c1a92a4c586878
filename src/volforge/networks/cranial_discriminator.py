"""The published discriminator of cranial implants: whole volumes, without the skull that they belong to.

Source: Li et al., Medical Image Analysis 73, 102171 (2021), read in the code that they published. At the paper's size
(128 x 128 x 64 voxels, width 64) it has 5,303,297 trainable parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.cranial_autoencoder import SLOPE, Halving, batch_norm, keras_start


class CranialDiscriminator(nn.Module):
    """Three convolutions, and one weight for every voxel of the last grid: it is tied to the size of its input.

    Args:
        size: Voxels of the volume (one number: a cube), sides multiples of 4.
        channels: Channels of the volume.
        width: Channels of the first convolution; 64 as published.

    Shapes:
        Input (N, channels, X, Y, Z); output (N, 1) logits, whose sigmoid is the published output.
    """

    def __init__(self, size: Sequence[int] | int, channels: int = 1, width: int = 64):
        super().__init__()
        size = [size] * 3 if isinstance(size, int) else list(size)
        if any(n % 4 for n in size):
            raise ValueError(f"sides must be multiples of 4, not {tuple(size)}")
        self.down = nn.Sequential(
            Halving(channels, width, 3, batch_norm(width)), Halving(width, 2 * width, 3, batch_norm(2 * width))
        )
        self.wide = nn.Conv3d(2 * width, 4 * width, 3, padding=1)
        self.norm = batch_norm(4 * width)
        self.score = nn.Linear(4 * width * math.prod(n // 4 for n in size), 1)
        self.size = tuple(size)
        keras_start(self, (nn.Conv3d, nn.Linear))

    def forward(self, volume: Tensor) -> Tensor:
        """Logit of being a true implant."""
        x = self.norm(functional.leaky_relu(self.wide(self.down(volume)), SLOPE))
        return self.score(x.flatten(1))
