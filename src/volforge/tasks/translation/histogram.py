"""How far the HU of a synthetic CT are from those of training CTs, whoever they belong to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from volforge.metrics.measure import Measure, nothing
from volforge.volume.geometry import Array

LOW_HU, HIGH_HU = -1024, 3071


def hu_histogram(image: Array, body: Array) -> Array:
    """Shares of whole HU from -1024 to 3071 in the body, values beyond counted at the ends; shape (4096,).

    Args:
        image: (X, Y, Z) HU, finite.
        body: Where to count; must hold a voxel.
    """
    values = np.rint(np.clip(image[body], LOW_HU, HIGH_HU)).astype(np.int64) - LOW_HU
    return np.bincount(values, minlength=HIGH_HU - LOW_HU + 1) / values.size


def mean_histogram(training: Iterable[tuple[Array, Array]]) -> Array | None:
    """Mean of the shares of several images, each counted alike; None where there is none.

    Args:
        training: Image and body mask of every training CT.
    """
    found = [hu_histogram(image, body) for image, body in training if body.any()]
    return np.mean(found, axis=0) if found else None


def histogram_distance(prediction: Array, body: Array, wanted: Array | None) -> Measure:
    """`histogram_distance_hu`: Wasserstein-1 distance of the prediction's HU in the body from training CTs'.

    It needs no CT of the subject. It is 0 for no subject: a true CT differs from the mean of others too.

    Args:
        prediction: (X, Y, Z) HU.
        body: Outline of the source.
        wanted: From `mean_histogram`; None: nothing to compare with.
    """
    if wanted is None or not body.any():
        return nothing("histogram_distance_hu", "absent", "body")
    difference = np.cumsum(hu_histogram(prediction, body) - wanted)[:-1]
    return Measure("histogram_distance_hu", float(np.abs(difference).sum()), "body", "ok", int(body.sum()))
