"""Strata of the size of implants, cm3."""

from __future__ import annotations

import numpy as np

SIZES = {"small": (0.0, 20.0), "medium": (20.0, 45.0), "large": (45.0, 70.0)}
"""From, to; a large one is drawn to 70, and one that is found may be larger."""
INSET_CM3 = 0.03  # share of a stratum's ends that is not drawn: voxels would carry it over


def size_of(cm3: float) -> str:
    """The stratum of a volume: `small` below 20 cm3, `large` from 45."""
    return "small" if cm3 < 20 else "medium" if cm3 < 45 else "large"


def draw_size(rng: np.random.Generator, size: str, min_cm3: float) -> float | None:
    """A volume in cm3, evenly over a stratum; None for `any`, where the shape decides (as much is drawn)."""
    share = rng.uniform()
    if size not in SIZES:
        return None
    low, high = SIZES[size]
    low, high = max(low, min_cm3) * (1 + INSET_CM3), high * (1 - INSET_CM3)
    return float(low + share * max(high - low, 0.0))
