"""Where tissue begins on an arbitrary scale (MR, uncalibrated CBCT)."""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array

TISSUE_SHARE = 0.14  # of the bright level of MR: below skin and fat of all heads looked at, above their air


def signal_threshold(image: Array, fraction: float | None = None) -> float | None:
    """The value that parts air from tissue where the scale is arbitrary (MR, uncalibrated CBCT).

    The bright level is the median of what lies above Otsu's threshold of the square roots (which gives dark
    tissue its weight); tissue lies above `TISSUE_SHARE` of it, or above the noise of the air where that is
    higher.

    Returns:
        None where the histogram has no air mode: the field of view lies inside the body.
    """
    values = image[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)].ravel(order="K")
    values = _without_padding(values)
    shift = min(0.0, float(np.percentile(values, 0.1)))
    values = values.astype(np.float64) - shift
    top = float(np.percentile(values, 99.5))
    if top <= 0 or top <= values.min():
        return None
    cut = otsu(np.sqrt(np.clip(values, 0, top))) ** 2
    bright = float(np.median(values[values > cut]))
    air = values[values < 0.5 * cut]
    if fraction is not None:
        return fraction * bright + shift
    if len(air) < 0.02 * len(values):
        return None
    noise = float(np.percentile(air[air < TISSUE_SHARE * bright * 1.5], 98)) if len(air) else 0.0
    return max(TISSUE_SHARE * bright, min(1.3 * noise, 0.5 * bright)) + shift


def _without_padding(values: Array) -> Array:
    """Values without a constant far below all others, with which some scanners fill the corners."""
    lowest = values.min()
    rest = values[values > lowest]
    if rest.size == 0 or rest.size > 0.99 * values.size:
        return values
    low, high = np.percentile(rest, [1, 99.5])
    return rest if float(low) - float(lowest) > 0.3 * float(high - low) > 0 else values


def otsu(values: Array, bins: int = 256) -> float:
    """The threshold of the largest variance between two classes (Otsu 1979); the middle of several that are as good.

    (An empty gap between the classes gives the same variance all along it, and its lower end lies at their foot.)
    """
    counts, edges = np.histogram(values, bins=bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(float)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    first = int(np.nanargmax(between[:-1]))
    empty = np.flatnonzero(counts[first + 1 :])  # the gap ends where values begin again
    return float((centres[first] + centres[first + (int(empty[0]) if len(empty) else 0)]) / 2)
