"""Overlap of two masks: counts of voxels and the ratios made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels of a prediction and a reference.

    Attributes:
        both: Voxels in both.
        prediction: Voxels in the prediction.
        reference: Voxels in the reference.
    """

    both: int
    prediction: int
    reference: int

    @property
    def dice(self) -> float:
        """2 |P and R| / (|P| + |R|), 0 to 1 (Dice 1945); NaN where both are empty."""
        return _ratio(2 * self.both, self.prediction + self.reference)

    @property
    def iou(self) -> float:
        """|P and R| / |P or R|, 0 to 1 (Jaccard 1901); NaN where both are empty."""
        return _ratio(self.both, self.prediction + self.reference - self.both)

    @property
    def sensitivity(self) -> float:
        """Share of the reference that was found; NaN where it is empty."""
        return _ratio(self.both, self.reference)

    @property
    def precision(self) -> float:
        """Share of the prediction that is right; NaN where it is empty."""
        return _ratio(self.both, self.prediction)

    @property
    def volume_error_percent(self) -> float:
        """100 (|P| - |R|) / |R|, signed; NaN where the reference is empty."""
        return _ratio(100 * (self.prediction - self.reference), self.reference)


def count(prediction: Array, reference: Array) -> Overlap:
    """Count the voxels of two boolean masks of one shape."""
    return Overlap(
        int(np.count_nonzero(prediction & reference)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(reference)),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
