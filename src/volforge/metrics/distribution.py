"""Distances between two sets of feature vectors: Fréchet distance, kernel distance (KID), Gaussian MMD.

"FID" and "KID" are names for the features of one network with known weights (see `volforge.networks.inception`);
with any other features the numbers carry the network's name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from volforge.volume.geometry import Array

FEW_IMAGES = 2048
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and covariance of features.

    Attributes:
        mean: Shape (D,).
        covariance: Shape (D, D), divided by n - 1.
        n: Number of feature vectors.
    """

    mean: Array
    covariance: Array
    n: int


def statistics_of(features: Array) -> FeatureStatistics:
    """Mean and covariance of features of shape (n, D).

    Raises:
        ValueError: Fewer than two vectors have no covariance.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must have the shape (n, D) with n of at least 2, not {features.shape}")
    values = np.asarray(features, np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    return FeatureStatistics(mean, centred.T @ centred / (len(values) - 1), len(values))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson and Landau 1982; Heusel et al. 2017).

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)). The last trace is the sum of the roots of the
    eigenvalues of L' C2 L with C1 = L L': symmetric, never complex, and several times quicker than a matrix root.

    Returns:
        0 for equal statistics, else above; in squared units of the features.
    """
    factor = _factor(a.covariance)
    inner = factor.T @ b.covariance @ factor
    eigenvalues = np.linalg.eigvalsh((inner + inner.T) / 2)
    root_trace = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    difference = a.mean - b.mean
    value = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root_trace
    return max(float(value), 0.0)


def _factor(covariance: Array) -> Array:
    """L with L L' = covariance: Cholesky's, or from the eigenvectors where it is singular."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.clip(values, 0, None))


def kernel_distance(a: Array, b: Array, seed: int = 0) -> tuple[float, float]:
    """Kernel distance (KID; Binkowski et al. 2018): unbiased squared MMD with the kernel (x'y / D + 1)^3.

    Args:
        a: Features, shape (n, D).
        b: Features, shape (m, D).
        seed: Of the subsets, where the sets are larger than 1000.

    Returns:
        Mean and standard deviation over 100 subsets of 1000 of each; over all at once (SD NaN) for smaller sets.

    Raises:
        ValueError: A set has fewer than two vectors.
    """
    size = min(len(a), len(b), KID_SUBSET_SIZE)
    if size < 2:
        raise ValueError("an unbiased kernel distance needs two vectors of each set")
    if max(len(a), len(b)) <= KID_SUBSET_SIZE:
        return _mmd2(_cubic(a, a), _cubic(b, b), _cubic(a, b)), math.nan
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(KID_SUBSETS):
        x = a[generator.choice(len(a), size, replace=False)]
        y = b[generator.choice(len(b), size, replace=False)]
        values.append(_mmd2(_cubic(x, x), _cubic(y, y), _cubic(x, y)))
    return float(np.mean(values)), float(np.std(values, ddof=1))


def gaussian_mmd(reference: Array, other: Array, most: int = 5000, seed: int = 0) -> float:
    """Unbiased squared MMD with a Gaussian kernel (Gretton et al. 2012), width by the median heuristic.

    The width is the median distance within the reference, so that a set does not choose its own yardstick.

    Args:
        reference: Real features, shape (n, D).
        other: Features to judge, shape (m, D).
        most: Larger sets are drawn down to this many.
        seed: Of that draw.
    """
    generator = np.random.default_rng(seed)

    def drawn(values: Array) -> Array:
        if len(values) <= most:
            return np.asarray(values, np.float64)
        return np.asarray(values[generator.choice(len(values), most, replace=False)], np.float64)

    x, y = drawn(reference), drawn(other)
    if min(len(x), len(y)) < 2:
        raise ValueError("an unbiased MMD needs two vectors of each set")
    within = _squared_distances(x, x)
    width = float(np.median(within[np.triu_indices(len(x), 1)]))
    if width <= 0:
        width = 1.0
    kernels = (np.exp(-d / width) for d in (within, _squared_distances(y, y), _squared_distances(x, y)))
    return _mmd2(*kernels)


def real_floor(features: Array, groups: Array, seed: int = 0, repeats: int = 5) -> tuple[float, int]:
    """Fréchet distance of real images to real images: what a perfect generator would score at this size.

    The images are parted by subject (slices of one head are alike) into halves, several times.

    Args:
        features: Real features, shape (n, D).
        groups: Subject of each, shape (n,).
        seed: Of the halves.
        repeats: Number of partitions.

    Returns:
        Mean distance, and the number of images in the smaller half; (NaN, 0) with fewer than two subjects.
    """
    names = np.unique(groups)
    generator = np.random.default_rng(seed)
    values, sizes = [], []
    for _ in range(repeats):
        first = generator.permutation(names)[: len(names) // 2]
        chosen = np.isin(groups, first)
        if chosen.sum() < 2 or (~chosen).sum() < 2:
            continue
        a, b = statistics_of(features[chosen]), statistics_of(features[~chosen])
        values.append(frechet_distance(a, b))
        sizes.append(min(a.n, b.n))
    return (float(np.mean(values)), min(sizes)) if values else (math.nan, 0)


def _cubic(x: Array, y: Array) -> Array:
    return (np.asarray(x, np.float64) @ np.asarray(y, np.float64).T / x.shape[1] + 1) ** 3


def _mmd2(xx: Array, yy: Array, xy: Array) -> float:
    n, m = len(xx), len(yy)
    of_x = (xx.sum() - np.trace(xx)) / (n * (n - 1))
    of_y = (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(of_x + of_y - 2 * xy.mean())


def _squared_distances(x: Array, y: Array) -> Array:
    return np.clip((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T, 0, None)
