"""How bright and how rough each structure of a painted slice is, and how much of that is chance.

A segmenter that reads an image back is content with any values that tell the structures apart; a short training ends
there. Mean and spread of a structure say what it should look like and leave where its texture lies to the generator, so
samples of one map can differ, which a distance of pixels would forbid. That they do differ is the second loss: a
generator is free to paint the same texture into every sample of a map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEWEST = 8  # pixels of a structure in a slice below which its spread means little


def moments_loss(fake: Tensor, real: Tensor, labels: Tensor) -> Tensor:
    """Distance of means plus distance of standard deviations, mean over the structures of all slices.

    Args:
        fake, real: (N, 1, H, W) in one unit.
        labels: (N, C, H, W) one-hot, of both images; the background counts like the others.

    Returns:
        A number >= 0; 0 where no structure has 8 pixels.
    """
    members = labels.float().flatten(2)
    (mean, spread), (wanted_mean, wanted_spread) = _moments(fake, members), _moments(real, members)
    return _over_structures((mean - wanted_mean).abs() + (spread - wanted_spread).abs(), members)


def variety_loss(fake: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """How much of the spread inside structures two samples of one map share, mean over the structures of all slices.

    Of two independent samples the difference spreads root 2 times as far as each of them: 0. Of two equal ones it does
    not spread at all: the spread of a sample.

    Args:
        fake, other: (N, 1, H, W) in one unit: samples of the same maps with different noise.
        labels: (N, C, H, W) one-hot.

    Returns:
        A number >= 0. The spread that the difference is held against gives no gradient: it is not to shrink.
    """
    members = labels.float().flatten(2)
    spread = _moments(fake, members)[1].detach()
    apart = _moments(fake.float() - other.float(), members)[1] / math.sqrt(2)
    return _over_structures((spread - apart).relu(), members)


def _over_structures(values: Tensor, members: Tensor) -> Tensor:
    """Mean of values (N, C) over structures of enough pixels."""
    known = members.sum(dim=2) >= FEWEST
    return (values * known).sum() / known.sum().clamp(min=1)


def _moments(image: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (N, C) of an image's structures."""
    values, counts = image.float().flatten(1), members.sum(dim=2).clamp(min=1)
    mean = torch.einsum("np,ncp->nc", values, members) / counts
    residual = values - torch.einsum("nc,ncp->np", mean, members)  # not E[x2] - E[x]2: that loses small spreads
    variance = torch.einsum("np,ncp->nc", residual.square(), members) / counts
    return mean, (variance + 1e-8).sqrt()  # a root of 0 has no gradient
