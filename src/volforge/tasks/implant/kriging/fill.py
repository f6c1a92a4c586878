"""Maps without gaps, for interpolation: what is unknown takes the mean of what is known about it."""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array


def filled(values: Array) -> Array:
    """Fill what is not finite by normalised blurs of growing width.

    Args:
        values: (N, M); some of it finite.
    """
    from scipy.ndimage import gaussian_filter

    out = np.array(values, dtype=np.float64)
    for width in (1, 2, 4, 8, 16, 32):
        bad = ~np.isfinite(out)
        if not bad.any():
            return out
        weight = gaussian_filter(np.where(bad, 0.0, 1.0), width)
        blurred = gaussian_filter(np.where(bad, 0.0, out), width)
        near = bad & (weight > 0.05)
        out[near] = blurred[near] / weight[near]
    out[~np.isfinite(out)] = float(np.nanmean(values))
    return out
