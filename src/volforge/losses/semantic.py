"""Class-balanced segmentation losses with a class for fakes, and LabelMix.

Source: Schoenfeld et al., ICLR 2021 (OASIS), equations 1 to 4. Channel 0 of all logits is `fake`, channel k + 1 is
class k.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FAKE = 0


def class_weights(labels: Tensor, classes: int, ignore_background: bool = False) -> Tensor:
    """Weights that give every class of a batch the same say: pixels / (classes present * pixels of the class).

    Args:
        labels: (N, H, W) ids.
        classes: Number of classes, background (0) included.
        ignore_background: Class 0 counts for nothing, as published; else it is a class like the others.

    Returns:
        (classes,); 0 for absent classes. The mean over all pixels is 1.
    """
    counts = torch.bincount(labels.flatten(), minlength=classes).to(torch.float32)
    if ignore_background:
        counts[0] = 0
    present = (counts > 0).sum().clamp(min=1)
    return torch.where(counts > 0, labels.numel() / (present * counts.clamp(min=1)), 0.0)


def balanced_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy against the classes of a label map, mean over all pixels.

    Args:
        logits: (N, C + 1, H, W), channel 0 `fake`.
        labels: (N, H, W) ids from 0 to C - 1.
        weights: (C,) from `class_weights`.
    """
    loss = functional.cross_entropy(logits.float(), labels + 1, reduction="none")
    return (loss * weights[labels]).mean()


def fake_cross_entropy(logits: Tensor) -> Tensor:
    """Cross-entropy against `fake` everywhere, unweighted.

    Args:
        logits: (N, C + 1, H, W).
    """
    return -functional.log_softmax(logits.float(), dim=1)[:, FAKE].mean()


def label_mask(labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """The mask of LabelMix: for each class 0 or 1, drawn once for the batch.

    Args:
        labels: (N, H, W) ids.
        classes: Number of classes.
        generator: On the CPU, so that every device draws alike.

    Returns:
        (N, 1, H, W) of 0 and 1.
    """
    drawn = torch.randint(0, 2, (classes,), generator=generator).to(labels.device)
    return drawn[labels][:, None].to(torch.float32)


def label_mix_loss(mixed: Tensor, of_real: Tensor, of_fake: Tensor, mask: Tensor) -> Tensor:
    """How far logits of a mixed image are from the mixture of the logits.

    Args:
        mixed: Logits of mask * real + (1 - mask) * fake.
        of_real, of_fake: Logits of the two images.
        mask: From `label_mask`.
    """
    return functional.mse_loss(mixed.float(), mask * of_real.float() + (1 - mask) * of_fake.float())
