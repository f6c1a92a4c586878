"""Repeatability: intraclass correlation and the smallest change that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def icc_1_1(groups: Sequence[Sequence[float]]) -> float:
    """Intraclass correlation of single measurements, one-way random effects, ICC(1,1).

    Source: Shrout and Fleiss, Psychological Bulletin 86, 420 (1979).

    Args:
        groups: The repeated values of each object, as many for each.

    Returns:
        1 where repeats agree perfectly; NaN for fewer than two objects or repeats, or where nothing varies.
    """
    values = np.array([g for g in groups if all(math.isfinite(v) for v in g)], float)
    if values.ndim != 2 or min(values.shape) < 2:
        return math.nan
    n, k = values.shape
    between = k * float(((values.mean(axis=1) - values.mean()) ** 2).sum()) / (n - 1)
    within = float(((values - values.mean(axis=1, keepdims=True)) ** 2).sum()) / (n * (k - 1))
    total = between + (k - 1) * within
    return (between - within) / total if total > 0 else math.nan


def smallest_detectable_change(groups: Sequence[Sequence[float]]) -> float:
    """Change between two measurements of one object that noise exceeds in 5 % of cases: 1.96 sqrt(2) times their SD.

    Args:
        groups: The repeated values of each object.

    Returns:
        In the unit of the values; NaN without a repeat.
    """
    squares, degrees = 0.0, 0
    for group in groups:
        known = [v for v in group if math.isfinite(v)]
        if len(known) > 1:
            squares += float(((np.array(known) - np.mean(known)) ** 2).sum())
            degrees += len(known) - 1
    return 1.96 * math.sqrt(2 * squares / degrees) if degrees else math.nan
