"""What networks of implants give, as probabilities; and the score that training and prediction share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from volforge.volume.geometry import Array


def probability(found: Tensor, threshold: float = 0.5) -> Tensor:
    """Probability of the target from what a network gives, so that 0.5 is the boundary.

    Args:
        found: (N, 1, X, Y, Z) values, or (N, 2, X, Y, Z) logits.
        threshold: Of values: bone lies above it; they are stretched linearly about it, from -1 where it is 0, else from
            0, to 1. Logits need none.

    Returns:
        (N, 1, X, Y, Z), 32 bit, 0 to 1.
    """
    if found.shape[1] > 1:
        return found.float().softmax(dim=1)[:, 1:]
    values, low = found.float(), -1.0 if threshold <= 0 else 0.0
    below, above = (values - low) / (threshold - low), 1 + (values - threshold) / (1 - threshold)
    return torch.where(values <= threshold, below.clamp(0, 1), above.clamp(1, 2)) / 2


def implant_dice(answer: Array, target: Array) -> float:
    """Dice of two boolean volumes; 1 where both are empty."""
    total = int(answer.sum()) + int(target.sum())
    return 2 * int((answer & target).sum()) / total if total else 1.0


def implant_of(p: Array, defective: Array) -> Array:
    """The implant that a probability means: where it lies above 0.5 and no bone stands.

    Args:
        p: Probability of the target, an implant or a skull: the implant is what it has and the defective skull has not.
        defective: Bone, boolean or shares of voxels.
    """
    return (p > 0.5) & (np.asarray(defective) < 0.5)
