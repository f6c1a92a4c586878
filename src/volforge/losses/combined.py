"""Sums of Dice and cross-entropy."""

from __future__ import annotations

from torch import Tensor, nn

from volforge.losses.cross_entropy import CrossEntropy
from volforge.losses.dice import HardForwardDice, SoftDice


class DiceCE(nn.Module):
    """Soft Dice + weight * cross-entropy."""

    needs_distance = False

    def __init__(self, ce_weight: float = 1.0, squared: bool = True):
        super().__init__()
        self.dice, self.ce, self.ce_weight = SoftDice(squared), CrossEntropy(), ce_weight

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) against ids (N, X, Y, Z)."""
        return self.dice(logits, labels) + self.ce_weight * self.ce(logits, labels)


class HardForwardDiceCE(nn.Module):
    """The published "D+CE": hard-forward Dice + weight * cross-entropy, the weight 1."""

    needs_distance = False

    def __init__(self, ce_weight: float = 1.0):
        super().__init__()
        self.dice, self.ce, self.ce_weight = HardForwardDice(), CrossEntropy(), ce_weight

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) against ids (N, X, Y, Z)."""
        return self.dice(logits, labels) + self.ce_weight * self.ce(logits, labels)
