"""Voxel cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class CrossEntropy(nn.Module):
    """Mean cross-entropy of voxels, in nats, from logits (the published code took the logarithm of probabilities).

    Args:
        weights: Weight of each class, background first; None: all 1, as published.
    """

    needs_distance = False
    weights: Tensor | None

    def __init__(self, weights: Sequence[float] | None = None):
        super().__init__()
        self.register_buffer(
            "weights", torch.tensor([float(w) for w in weights]) if weights is not None else None, persistent=False
        )

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) against ids (N, X, Y, Z)."""
        return functional.cross_entropy(logits, labels, self.weights)
