"""Synthetic images without learning: constant, painted means, identity, histogram matching. All in HU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array
from volforge.volume.intensity import AIR_HU

WINDOW_HU = (-1000.0, 1400.0)
QUANTILES = np.linspace(0, 1, 1001)
OUTSIDE_LABELS = 0


def constant(body: Array, value: float) -> Array:
    """A body of one value in air.

    Args:
        body: Body mask.
        value: HU inside.
    """
    return _in_body(np.full(body.shape, value), body)


def mean_by_label(training: Iterable[tuple[Array, Array, Array]]) -> dict[int, float]:
    """Mean HU of every label inside the body over all training voxels; 0 is the unlabelled body.

    Args:
        training: Image, label map and body mask of every training scan.
    """
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for image, labels, body in training:
        ids, values = labels[body].astype(np.int64), image[body].astype(np.float64)
        total, number = np.bincount(ids, values), np.bincount(ids)
        for i in np.flatnonzero(number):
            sums[int(i)] = sums.get(int(i), 0.0) + float(total[i])
            counts[int(i)] = counts.get(int(i), 0) + int(number[i])
    return {i: sums[i] / counts[i] for i in sorted(sums)}


def paint(labels: Array, body: Array, means: Mapping[int, float]) -> Array:
    """Every structure in its mean; what no training scan labelled, in the mean of the unlabelled body.

    Args:
        labels: Label map.
        body: Body mask; labelled voxels outside of it are painted too.
        means: From `mean_by_label`.
    """
    rest = means.get(OUTSIDE_LABELS, float(np.mean(list(means.values()))) if means else 0.0)
    table = np.full(int(labels.max()) + 1, rest)
    for i, value in means.items():
        if i < len(table):
            table[i] = value
    return _in_body(table[labels], body | (labels > 0))


def identity(image: Array, body: Array) -> Array:
    """The source's values stretched to the CT window by the percentiles 0.5 and 99.5 inside the body.

    Args:
        image: Source values in any unit.
        body: Its body mask.
    """
    if not body.any():
        return _in_body(np.zeros(image.shape), body)
    low, high = np.percentile(image[body], [0.5, 99.5])
    share = np.clip((image - low) / max(float(high - low), 1e-9), 0, 1)
    return _in_body(WINDOW_HU[0] + share * (WINDOW_HU[1] - WINDOW_HU[0]), body)


def quantiles_of(training: Iterable[tuple[Array, Array]]) -> Array:
    """Mean quantiles of the values inside the body, shape (1001,).

    Args:
        training: Image and body mask of every training scan.
    """
    found = [np.quantile(image[body], QUANTILES) for image, body in training if body.any()]
    if not found:
        raise VolforgeError("no training image shows a body", remedy="look at the cohort's body masks")
    return np.asarray(np.mean(found, axis=0))


def match_histogram(image: Array, body: Array, wanted: Array) -> Array:
    """The source's values replaced so that their histogram in the body is the training CTs'.

    Args:
        image: Source values in any unit.
        body: Its body mask.
        wanted: From `quantiles_of` of the training targets.
    """
    if not body.any():
        return _in_body(np.zeros(image.shape), body)
    # a value that many voxels share has many quantiles: the middle one stands for them
    values, place = np.unique(np.quantile(image[body], QUANTILES), return_inverse=True)
    middle = np.bincount(place, QUANTILES) / np.bincount(place)
    shares = np.interp(image, values, middle)
    return _in_body(np.interp(shares, QUANTILES, wanted), body)


def _in_body(values: Array, body: Array) -> Array:
    """Values inside the body, air outside, as whole HU."""
    return np.where(body, np.rint(np.clip(values, -1024, 32767)), AIR_HU).astype(np.int16)
