"""Which share of errors lies within how many predicted standard deviations, learnt from holes that were closed.

Kriging's variances presume normal errors and a covariance that is right; both surfaces miss that in their own way.
Half widths of intervals at a few levels, per surface, say what was seen; between levels they are straight lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array

LEVELS = (0.5, 0.8, 0.95)
SURFACES = ("inner", "outer")
NORMAL = np.array([0.6744897501960817, 1.2815515655446004, 1.959963984540054])
"""(3,) half widths at `LEVELS` in standard deviations, if errors are normal."""
LEAST = 6


@dataclass(frozen=True)
class Intervals:
    """Half widths of central intervals of errors.

    Attributes:
        half_widths: (2, 3) of the inner and the outer surface at `LEVELS`, in predicted standard deviations, rising.
    """

    half_widths: Array

    def normal(self, scores: Array, surface: int) -> Array:
        """Errors in predicted standard deviations, as scores that are normal if the half widths are right.

        Args:
            scores: Any shape, with sign.
            surface: 0 inner, 1 outer.

        Returns:
            float64 of the same shape; odd and rising. Beyond the last level its ratio holds.
        """
        own = self.half_widths[surface]
        size = np.abs(scores)
        found = np.interp(size, [0, *own], [0, *NORMAL])
        return np.asarray(np.copysign(np.where(size > own[-1], size * (NORMAL[-1] / own[-1]), found), scores))

    def factor(self, surface: int) -> float:
        """What turns a predicted standard deviation into the half width of the interval of 68.3 %."""
        own = self.half_widths[surface]
        return float(np.interp(1.0, [0, *NORMAL], [0, *own]))


def half_widths(scores: Sequence[Array], levels: Sequence[float] = LEVELS) -> Array:
    """Half widths of intervals that hold these shares of errors; every hole weighs the same.

    Args:
        scores: Of each hole, (n,) errors of one surface in predicted standard deviations, without sign; not empty.
        levels: Shares, 0 to 1.

    Returns:
        (L,) in standard deviations.
    """
    joined = np.concatenate(scores)
    weights = np.concatenate([np.full(len(s), 1 / len(s)) for s in scores])
    order = np.argsort(joined, kind="stable")
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return np.interp(levels, share, joined[order])


def intervals_of(scores: Sequence[Array]) -> Intervals | None:
    """Intervals of closed holes.

    Args:
        scores: Of each hole, (2, n) errors of both surfaces in predicted standard deviations, without sign.

    Returns:
        None for fewer than six holes: so few say less than the normal distribution.
    """
    held = [s for s in scores if s.shape[1]]
    if len(held) < LEAST:
        return None
    found = np.stack([half_widths([s[surface] for s in held]) for surface in (0, 1)])
    steps = np.maximum(np.diff(found, axis=1, prepend=0), 1e-3)  # rising, whatever was seen
    return Intervals(np.cumsum(steps, axis=1))
