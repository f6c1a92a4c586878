"""Whether a channel keeps the shape that is there or fills the hole: correlations, classes, and how stable they are.

Source: the repository of Li et al. (2021) parts the encoder's channels by eye into shape-preserving ones, bright on the
bone that stands, and hole-filling ones, bright inside the void, and calls features stable. Here that is a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from volforge.volume.geometry import Array

SCORES = ("shape", "hole")
TOGETHER = 8  # channels that are brought to the grid at once: memory


def scores(maps: Tensor, defective: Tensor, implant: Tensor) -> Tensor:
    """Pearson correlation of |activation|, trilinear on the grid of the input, with defective skull and implant.

    Args:
        maps: (channels, x, y, z), of any size.
        defective, implant: (X, Y, Z), 0 to 1, on the device of the maps.

    Returns:
        (channels, 2) float64, `shape` and `hole`, -1 to 1; NaN where a channel, or what it is compared with, is
        constant.
    """
    wanted = torch.stack([_centred(v.double().flatten()) for v in (defective, implant)])
    found = []
    for part in maps.abs().split(TOGETHER):
        on_grid = functional.interpolate(part[None], size=defective.shape, mode="trilinear", align_corners=False)[0]
        found.append(torch.stack([wanted @ _centred(channel.double().flatten()) for channel in on_grid]))
    return torch.cat(found)


def _centred(values: Tensor) -> Tensor:
    """Without its mean, of length 1; NaN where it is constant but for rounding."""
    centred = values - values.mean()
    length, size = centred.norm(), values.norm()
    return torch.where(length > 1e-7 * size, centred / length, torch.full_like(centred, math.nan))


def kinds(found: Tensor) -> list[str]:
    """`shape` or `hole` by the larger score of each channel; empty where one of the two has no value."""
    return ["" if bool(s.isnan().any()) else SCORES[int(s[1] > s[0])] for s in found]


def spearman(a: Array, b: Array) -> float:
    """Rank correlation of the channels that have a value in both; NaN for fewer than three, or constant ones."""
    from scipy.stats import rankdata

    a, b = (np.asarray(v, float) for v in (a, b))
    known = np.isfinite(a) & np.isfinite(b)
    if int(known.sum()) < 3:
        return math.nan
    x, y = (rankdata(v[known]) for v in (a, b))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def mean_of_pairs(every: Sequence[Tensor]) -> tuple[float, float]:
    """Mean rank correlation over all pairs of score tables whose channels belong together, of `shape` and of `hole`.

    Args:
        every: (channels, 2) each: of several cases and one model, say.

    Returns:
        NaN where no pair has a value.
    """
    both = []
    for k in range(len(SCORES)):
        found = [spearman(a[:, k].numpy(), b[:, k].numpy()) for a, b in combinations(every, 2)]
        known = [v for v in found if math.isfinite(v)]
        both.append(float(np.mean(known)) if known else math.nan)
    return both[0], both[1]


def partners(one: Tensor, other: Tensor) -> Array:
    """Which channel of another network stands for each channel: the assignment of largest summed correlation.

    Channels of networks of different seeds have no common order: number 5 of one is not number 5 of the other.

    Args:
        one, other: (channels, x, y, z) maps of the same stage and case.

    Returns:
        (channels,) numbers of channels of `other`.
    """
    from scipy.optimize import linear_sum_assignment

    a, b = (torch.stack([_centred(c.double().flatten()) for c in m.abs()]).nan_to_num() for m in (one, other))
    return np.asarray(linear_sum_assignment((a @ b.T).cpu().numpy(), maximize=True)[1])
