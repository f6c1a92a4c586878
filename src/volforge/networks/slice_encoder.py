"""A small convolutional autoencoder of slices: its encoder gives the features of our own Fréchet distance.

It is trained on a study's real training images only and then frozen, so that the distance asks whether synthetic
slices are like those. It is not Inception and its distance is not a FID.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64


class SliceEncoder(nn.Module):
    """Autoencoder of 64x64 slices; features are channel means and deviations of three scales, 224 in all."""

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

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: Shape (N, 1, H, W), values 0 to 1; resized to 64x64 by area.

        Returns:
            Shape (N, 224).
        """
        x = self.resized(images)
        parts = []
        for block in self.down:
            x = block(x)
            parts += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        return torch.cat(parts, 1)

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
