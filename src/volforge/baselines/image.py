"""Synthetic images without learning: constant, painted means, noise, another subject, identity, histogram matching.

In HU; those of label maps also in percent of a window, where outside stands 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array
from volforge.volume.intensity import AIR_HU

WINDOW_HU = (-1000.0, 1400.0)
QUANTILES = np.linspace(0, 1, 1001)
OUTSIDE_LABELS = 0


def constant(body: Array, value: float, hounsfield: bool = True) -> Array:
    """A body of one value in air.

    Args:
        body: Body mask.
        value: HU inside (or percent).
        hounsfield: Values are HU.
    """
    return _in_body(np.full(body.shape, value), body, hounsfield)


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


def paint(labels: Array, body: Array, means: Mapping[int, float], hounsfield: bool = True) -> Array:
    """Every structure in its mean; what no training scan labelled, in the mean of the unlabelled body.

    Args:
        labels: Label map.
        body: Body mask; labelled voxels outside of it are painted too.
        means: From `mean_by_label`.
        hounsfield: Values are HU.
    """
    rest = means.get(OUTSIDE_LABELS, float(np.mean(list(means.values()))) if means else 0.0)
    table = np.full(int(labels.max()) + 1, rest)
    for i, value in means.items():
        if i < len(table):
            table[i] = value
    return _in_body(table[labels], body | (labels > 0), hounsfield)


def spread_of(training: Iterable[tuple[Array, Array]]) -> tuple[float, float]:
    """Mean and standard deviation of the values inside the body over all training voxels.

    Args:
        training: Image and body mask of every training scan.
    """
    count, total, squares = 0, 0.0, 0.0
    for image, body in training:
        values = image[body].astype(np.float64)
        count, total, squares = count + values.size, total + values.sum(), squares + (values**2).sum()
    if not count:
        raise VolforgeError("no training image shows a body", remedy="look at the cohort's body masks")
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean**2, 0.0)))


def white_noise(body: Array, mean: float, deviation: float, seed: int, hounsfield: bool = True) -> Array:
    """A body of independent Gaussian noise: the right values everywhere, and nothing to be seen.

    Args:
        body: Body mask.
        mean, deviation: From `spread_of`.
        seed: Of the noise.
        hounsfield: Values are HU.
    """
    noise = np.random.default_rng(seed).standard_normal(body.shape, np.float32)
    return _in_body(mean + deviation * noise, body, hounsfield)


def other_subject(image: Array, own: Array, body: Array, hounsfield: bool = True) -> Array:
    """The real image of another subject, stretched so that its body's box is that of the body wanted.

    Args:
        image: (X, Y, Z) image of the other.
        own: Its body mask.
        body: Body mask of the one who is wanted, on another grid.
        hounsfield: Values are HU.

    Returns:
        Values on the grid of `body`, the other's outline kept.
    """
    from scipy.ndimage import affine_transform

    if not own.any() or not body.any():
        return _in_body(np.zeros(body.shape), np.zeros(body.shape, bool), hounsfield)
    boxes = [[np.flatnonzero(m.any(axis=tuple({0, 1, 2} - {a})))[[0, -1]] for a in range(3)] for m in (own, body)]
    (low, high), (to_low, to_high) = (np.asarray(b, np.float64).T for b in boxes)
    scale = (high - low + 1) / (to_high - to_low + 1)
    offset = low - 0.5 - scale * (to_low - 0.5)
    outside = float(AIR_HU) if hounsfield else 0.0
    moved = affine_transform(image.astype(np.float32), scale, offset, body.shape, order=1, cval=outside)
    shown = affine_transform(own.astype(np.float32), scale, offset, body.shape, order=1) > 0.5
    return _in_body(moved, shown, hounsfield)


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


def _in_body(values: Array, body: Array, hounsfield: bool = True) -> Array:
    """Values inside the body: as whole HU in air, or as percent in 0."""
    if not hounsfield:
        return np.where(body, values, 0).astype(np.float32)
    return np.where(body, np.rint(np.clip(values, -1024, 32767)), AIR_HU).astype(np.int16)
