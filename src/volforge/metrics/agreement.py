"""Agreement of two paired measurements: bias, limits of agreement, and whether the bias is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volforge.metrics.statistics import wilcoxon


@dataclass(frozen=True)
class Agreement:
    """Limits of agreement of two paired measurements.

    Source: Bland and Altman, Lancet 327, 307 (1986).

    Attributes:
        n: Pairs with both values.
        bias: Mean difference, first less second; NaN without a pair.
        sd: Of the differences, with n - 1; NaN below two pairs.
        low, high: bias - 1.96 sd and bias + 1.96 sd.
        p: Two-sided p of Wilcoxon's signed-rank test; None below six pairs, or where all pairs are equal.
    """

    n: int
    bias: float
    sd: float
    low: float
    high: float
    p: float | None


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Agreement of two measurements of the same things.

    Args:
        first, second: Values in one unit, in the same order; pairs with a NaN are left out.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return Agreement(0, math.nan, math.nan, math.nan, math.nan, None)
    bias = float(difference.mean())
    sd = float(difference.std(ddof=1)) if len(difference) > 1 else math.nan
    return Agreement(len(difference), bias, sd, bias - 1.96 * sd, bias + 1.96 * sd, wilcoxon(difference))
