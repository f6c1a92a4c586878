"""Patches that are compared by contrast: where they lie, and the heads that embed them.

Source: Park et al., ECCV 2020 (CUT), section 3 and supplement: 256 places in each layer, the same in source and made
image; for every layer a network of two linear maps with 256 values, whose result has length 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.resnet_generator import normal_start

COUNT = 256
WIDTH = 256


def patch_places(sizes: Sequence[tuple[int, int]], rng: np.random.Generator, count: int = COUNT) -> list[Tensor]:
    """Places of patches, drawn for each layer by itself, none twice; all of a layer that has fewer.

    Args:
        sizes: (H, W) of the layers' feature maps.
        rng: Of this step.
        count: Places of a layer.

    Returns:
        For each layer (P,) int64: row * W + column.

    Raises:
        ValueError: No place is asked for.
    """
    if count < 1:
        raise ValueError("at least one patch is compared")
    return [torch.from_numpy(rng.permutation(h * w)[:count].astype(np.int64)) for h, w in sizes]


def sizes_of(features: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(H, W) of feature maps."""
    return [(int(f.shape[-2]), int(f.shape[-1])) for f in features]


def patches_at(features: Tensor, places: Tensor) -> Tensor:
    """Values of a feature map (N, C, H, W) at places (P,): (N, P, C)."""
    return features.flatten(2)[:, :, places.to(features.device)].transpose(1, 2)


class PatchHeads(nn.Module):
    """Embeddings of patches, a head for each layer.

    All weights are there from the beginning: optimisers, checkpoints and processes that train together see them.

    Args:
        channels: Of the layers' feature maps; `ResnetGenerator.channels_of` tells them.
        width: Values of an embedding.

    Raises:
        ValueError: No layer, or no width.
    """

    def __init__(self, channels: Sequence[int], width: int = WIDTH):
        super().__init__()
        if not channels or min(channels) < 1 or width < 1:
            raise ValueError("heads need layers with channels, and a width")
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)) for c in channels
        )
        normal_start(self)

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Embedded patches.

        Args:
            features: For each layer (N, C, H, W).
            places: For each layer (P,), as `patch_places` gives them.

        Returns:
            For each layer (N, P, width), of length 1.

        Raises:
            ValueError: Another number of layers than there are heads.
        """
        if not len(features) == len(places) == len(self.heads):
            raise ValueError(f"{len(features)} feature maps, {len(places)} sets of places, {len(self.heads)} heads")
        return [
            functional.normalize(head(patches_at(f, p)).float(), dim=2, eps=1e-7)
            for head, f, p in zip(self.heads, features, places, strict=True)
        ]
