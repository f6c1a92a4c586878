"""Whether a model knows where it is wrong: calibration, error against uncertainty, coverage of intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array

BINS = 15


@dataclass(frozen=True)
class CalibrationCurve:
    """Voxels by confidence.

    Attributes:
        edges: Edges of the bins, shape (B + 1,), 0 to 1.
        count: Voxels per bin (B,).
        confidence: Mean confidence per bin (B,), NaN where empty.
        accuracy: Share of right voxels per bin (B,), NaN where empty.
    """

    edges: Array
    count: Array
    confidence: Array
    accuracy: Array

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017): mean of |accuracy - confidence|."""
        whole = self.count.sum()
        if not whole:
            return math.nan
        filled = self.count > 0
        gap = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((gap * self.count[filled]).sum() / whole)


def calibration_curve(confidence: Array, right: Array, bins: int = BINS) -> CalibrationCurve:
    """Accuracy by confidence in bins of equal width.

    Args:
        confidence: Probability that the model gives its own answer, any shape, 0 to 1.
        right: Boolean of the same shape: is the answer the reference's.
        bins: Number of bins; a value on an edge belongs to the lower bin, 0 to the first.

    Raises:
        ValueError: Confidence outside of 0 to 1, or shapes that differ.
    """
    values, hits = np.ravel(np.asarray(confidence, np.float64)), np.ravel(np.asarray(right, bool))
    if values.shape != hits.shape:
        raise ValueError(f"shapes differ: {np.shape(confidence)} and {np.shape(right)}")
    if values.size and (values.min() < 0 or values.max() > 1 or np.isnan(values).any()):
        raise ValueError("confidence must lie between 0 and 1")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, values, bins) / count
        accuracy = np.bincount(place, hits, bins) / count
    return CalibrationCurve(edges, count, mean, accuracy)


def merged(curves: list[CalibrationCurve]) -> CalibrationCurve:
    """The curve of all voxels of several curves with the same bins."""
    count = np.sum([c.count for c in curves], axis=0)
    with np.errstate(invalid="ignore"):
        confidence = np.sum([np.nan_to_num(c.confidence) * c.count for c in curves], axis=0) / count
        accuracy = np.sum([np.nan_to_num(c.accuracy) * c.count for c in curves], axis=0) / count
    return CalibrationCurve(curves[0].edges, count, confidence, accuracy)


def sparsification_area(error: Array, uncertainty: Array, steps: int = 100) -> float:
    """Area under the sparsification error (AUSE; Ilg et al. 2018), divided by the mean error.

    Voxels are left out, the most uncertain first, and the mean error of the rest is compared with leaving out
    those of the greatest error first. 0: the uncertainty orders the errors perfectly. A random order scores about
    the area of the best order under its start.

    Args:
        error: Errors of any shape, 0 and above (0 and 1 for wrong and right labels).
        uncertainty: The same shape, greater is less sure.
        steps: Number of fractions at which the rest is looked at.

    Returns:
        0 and above; NaN where there is no error at all.
    """
    errors, doubts = np.ravel(np.asarray(error, np.float64)), np.ravel(np.asarray(uncertainty, np.float64))
    if errors.shape != doubts.shape:
        raise ValueError(f"shapes differ: {np.shape(error)} and {np.shape(uncertainty)}")
    if not errors.size or errors.mean() == 0:
        return math.nan
    kept = errors.size - (np.arange(steps) * errors.size) // steps
    # ties in doubt would be broken by the array's order: their errors are spread evenly instead
    by_doubt = np.cumsum(_tied_means(errors, doubts))
    by_error = np.cumsum(np.sort(errors))
    gap = (by_doubt[kept - 1] - by_error[kept - 1]) / kept
    return float(gap.mean() / errors.mean())


def _tied_means(errors: Array, doubts: Array) -> Array:
    """Errors in ascending order of doubt, those of equal doubt replaced by their mean."""
    _, place, count = np.unique(doubts, return_inverse=True, return_counts=True)
    means = np.bincount(place, errors) / count
    return np.repeat(means, count)


def interval_coverage(error: Array, deviation: Array, level: float = 0.95) -> float:
    """Share of voxels whose error lies within the central interval of a normal distribution, 0 to 1.

    Args:
        error: Prediction minus reference, any shape.
        deviation: Standard deviation that the model states, the same shape and unit.
        level: Nominal coverage; a well calibrated model returns it.
    """
    from scipy.stats import norm

    if not np.size(error):
        return math.nan
    width = norm.ppf(0.5 + level / 2)
    return float((np.abs(error) <= width * np.asarray(deviation)).mean())
