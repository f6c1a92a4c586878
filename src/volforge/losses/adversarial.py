"""Logistic adversarial losses and the gradient penalty on real images.

Source: Goodfellow et al. 2014, the non-saturating form; R1 of Mescheder et al., ICML 2018, equation 9.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def generator_loss(fake: Tensor) -> Tensor:
    """softplus(-score), mean over the images."""
    return functional.softplus(-fake.float()).mean()


def discriminator_loss(fake: Tensor, real: Tensor) -> Tensor:
    """softplus(score of fakes) + softplus(-score of real images), means over the images."""
    return functional.softplus(fake.float()).mean() + functional.softplus(-real.float()).mean()


def gradient_penalty(score: Tensor, image: Tensor) -> Tensor:
    """Squared length of the score's gradient by the image, mean over the images; no factor.

    Args:
        score: (N, 1) of `image`, 32 bit.
        image: (N, C, H, W) that requires a gradient.
    """
    (gradient,) = torch.autograd.grad(score.sum(), image, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()
