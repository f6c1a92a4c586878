"""Parts of a stored region that may reach beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from volforge.volume.geometry import Array


def padded(array: Any, start: Array, size: Sequence[int], row: int | None = None) -> tuple[Array, tuple[slice, ...]]:
    """The part of a stored array that a box covers, and where in the box it lies."""
    here, there = [], []
    shape = array.shape if row is None else array.shape[1:]
    for s, n, m in zip(start.tolist(), size, shape, strict=True):
        low, high = min(max(0, s), m), min(max(0, s + n), m)
        high = max(low, high)
        here.append(slice(low, high))
        there.append(slice(low - s if high > low else 0, high - s if high > low else 0))
    key = tuple(here) if row is None else (row, *here)
    return np.asarray(array[key]), tuple(there)
