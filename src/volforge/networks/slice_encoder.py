"""A small convolutional encoder of slices: it gives the features of our own Fréchet distance.

It is trained on a study's real training images only and then frozen, so that the distance asks whether synthetic
slices are like those. It learns to draw real slices again, and to tell them from damaged ones: without the second it
sees no texture, and painted means are as good as real. It is not Inception and its distance is not a FID.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64
LEAST = 1e-4  # deviation of a feature that counts as none


class SliceEncoder(nn.Module):
    """Encoder of 64x64 slices; features are channel means and deviations of three scales, 224 in all.

    They are counted from the mean of real training slices in units of their deviation (`settle`): a feature that hardly
    varies among real slices tells most about others.
    """

    FEATURES = 224

    def __init__(self, width: int = 16):
        super().__init__()
        w = width
        self.down = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(i, o, 3, 2, 1), nn.GroupNorm(8, o), nn.SiLU(), nn.Conv2d(o, o, 3, 1, 1), nn.SiLU()
                )
                for i, o in ((1, w), (w, 2 * w), (2 * w, 4 * w))
            ]
        )
        self.up = nn.ModuleList(
            [
                nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, 1, 1), nn.SiLU())
                for i, o in ((4 * w, 2 * w), (2 * w, w), (w, 16))
            ]
        )
        self.head = nn.Conv2d(16, 1, 3, 1, 1)
        self.register_buffer("mean", torch.zeros(self.FEATURES))
        self.register_buffer("deviation", torch.ones(self.FEATURES))

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: Shape (N, 1, H, W), values 0 to 1; resized to 64x64 by area.

        Returns:
            Shape (N, 224).
        """
        return (self.raw(images) - self.mean) / self.deviation

    def raw(self, images: Tensor) -> Tensor:
        """Features as they come."""
        x = self.resized(images)
        parts = []
        for block in self.down:
            x = block(x)
            parts += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        return torch.cat(parts, 1)

    @torch.no_grad()
    def settle(self, images: Tensor, batch: int = 64) -> None:
        """Take mean and deviation of the features of real slices, (N, 1, 64, 64)."""
        found = torch.cat([self.raw(part) for part in images.split(batch)])
        self.mean = found.mean(dim=0)
        spread = found.std(dim=0) if len(found) > 1 else torch.ones_like(self.mean)
        self.deviation = spread.clamp_min(LEAST)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What the decoder makes of the coarsest scale, shape (N, 1, 64, 64)."""
        x = self.resized(images)
        for block in self.down:
            x = block(x)
        for block in self.up:
            x = block(x)
        out: Tensor = self.head(x)
        return out

    @staticmethod
    def resized(images: Tensor) -> Tensor:
        """Images of 64x64."""
        if images.shape[-2:] == (SIDE, SIDE):
            return images
        return functional.interpolate(images, size=(SIDE, SIDE), mode="area")
