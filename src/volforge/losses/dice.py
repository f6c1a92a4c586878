"""Soft Dice of the V-Net, and the published Dice that is hard in the forward pass.

Source: Milletari et al. 2016, equation 2; Belikova et al. 2021 for the hard forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SMOOTH = 1e-5
EPSILON = 1e-6


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Ids (N, X, Y, Z) as (N, C, X, Y, Z) of zeros and ones."""
    return functional.one_hot(labels, classes).movedim(-1, 1)


class SoftDice(nn.Module):
    """1 - 2 sum(p g) / (sum p^2 + sum g^2), over the batch, mean of the foreground classes.

    The formula of MONAI's `DiceLoss(batch=True, squared_pred=True)`, without its import, which takes seconds.

    Args:
        squared: Squares in the denominator, as published; else plain sums.
    """

    needs_distance = False

    def __init__(self, squared: bool = True):
        super().__init__()
        self.squared = squared

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) against ids (N, X, Y, Z)."""
        p = logits.softmax(dim=1)[:, 1:]
        g = one_hot(labels, logits.shape[1])[:, 1:].to(p.dtype)
        axes = [0, *range(2, p.ndim)]
        overlap = (p * g).sum(axes)
        total = (p.square() if self.squared else p).sum(axes) + g.sum(axes)  # g is 0 or 1: its own square
        return (1 - (2 * overlap + SMOOTH) / (total + SMOOTH)).mean()


class _HardForward(torch.autograd.Function):
    """Value 1 - Dice of the hard prediction; gradient of the soft Dice with the hard sums in it."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, g: Tensor, hard: Tensor) -> Tensor:
        axes = [0, *range(2, p.ndim)]
        overlap = (hard * g).sum(axes)
        total = hard.sum(axes) + g.sum(axes) + 2 * EPSILON
        ctx.save_for_backward(p, g, overlap, total)
        return (1 - 2 * overlap / total).mean()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None, None]:
        p, g, overlap, total = ctx.saved_tensors
        shape = [1, -1] + [1] * (p.ndim - 2)
        gradient = 2 * g / total.view(shape) - 4 * p * (overlap / total.square()).view(shape)
        return -above[0] * gradient / p.shape[1], None, None


class HardForwardDice(nn.Module):
    """The published Dice loss: the Dice of the argmax, whose gradient is written by hand.

    With I = sum(h g), S = sum h + sum g + 2 eps, h the hard prediction and p the foreground's softmax:
    value 1 - 2 I / S, dDice/dp = 2 g / S - 4 p I / S^2; the background channel receives the negative of it.
    With several structures, the mean over them.
    """

    needs_distance = False

    def forward(self, logits: Tensor, labels: Tensor, distance: Tensor | None = None, progress: float = 0.0) -> Tensor:
        """Loss of logits (N, C, X, Y, Z) against ids (N, X, Y, Z)."""
        classes = logits.shape[1]
        p = logits.softmax(dim=1)
        g = one_hot(labels, classes)[:, 1:].to(p.dtype)
        hard = one_hot(logits.argmax(dim=1), classes)[:, 1:].to(p.dtype)
        # half of p - (1 - p) = p - const: what p receives, the background receives with the other sign
        background = p[:, :1]
        signed = p[:, 1:] - (background - background.detach())
        return _HardForward.apply(signed, g, hard)
