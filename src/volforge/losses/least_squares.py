"""Least-squares adversarial losses.

Source: Mao et al., ICCV 2017, with targets 0 and 1; halved for the discriminator as in CycleGAN (Zhu et al., ICCV 2017,
section 4).
"""

from __future__ import annotations

from torch import Tensor


def generator_loss(fake: Tensor) -> Tensor:
    """(score - 1)^2, mean over all scores.

    Args:
        fake: Scores of made images, of any shape.
    """
    return (fake.float() - 1).square().mean()


def discriminator_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Half of score^2 of made images plus (score - 1)^2 of real ones, means over all scores.

    Args:
        fake, real: Scores, of any shapes.
    """
    return 0.5 * ((real.float() - 1).square().mean() + fake.float().square().mean())
