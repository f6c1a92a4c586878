"""Measures of images: SSIM against scikit-image and MONAI, the Fréchet distance against scipy's `sqrtm`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.rows import Peer, Row, Scale, close
from benchmarks.volumes import trunk
from volforge.metrics.distribution import FeatureStatistics, frechet_distance, statistics_of
from volforge.metrics.ssim import gaussian_window, ssim, uniform_window

RANGE = 4024.0


def by_skimage(prediction: np.ndarray, reference: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(reference, prediction, data_range=RANGE))


def by_monai(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The slices as a batch: a Gaussian of 11x11, sigma 1.5."""
    import torch
    from monai.metrics import SSIMMetric

    metric = SSIMMetric(spatial_dims=2, data_range=RANGE, kernel_type="gaussian", win_size=11, kernel_sigma=1.5)
    slices = (np.ascontiguousarray(v.transpose(2, 0, 1), np.float32) for v in (prediction, reference))
    p, r = (torch.from_numpy(v)[:, None] for v in slices)
    return float(metric(p, r).mean())


def by_sqrtm(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """The usual form of the distance."""
    from scipy import linalg

    root = linalg.sqrtm(a.covariance @ b.covariance)
    d = a.mean - b.mean
    return float(d @ d + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.trace(root.real))


def rows(scale: Scale) -> Iterator[Row]:
    shape = scale.of((256, 256, 64), (48, 48, 20))
    reference = trunk(shape)
    prediction = (reference + np.random.default_rng(0).normal(0, 60, shape)).astype(np.int16)
    everywhere = np.ones(shape, bool)
    size = "x".join(map(str, shape))
    why = "the same filters; ours keeps luminance and structure apart, for MS-SSIM, and takes a mask"
    yield Row(
        f"SSIM of a whole volume, windows of 7x7x7, int16, {size}",
        lambda: ssim(prediction, reference, everywhere, RANGE, uniform_window())[0],
        (Peer("scikit-image", lambda: by_skimage(prediction, reference), close(1e-4), why=why),),
        turns=7,
    )
    yield Row(
        f"SSIM of its slices, Gaussian windows of 11x11, {size}",
        lambda: ssim(prediction, reference, everywhere, RANGE, gaussian_window())[0],
        (Peer("MONAI", lambda: by_monai(prediction, reference), close(1e-4), ("monai",)),),
        turns=7,
    )
    features = scale.of(2048, 128)
    generator = np.random.default_rng(0)
    spread = np.linspace(0.2, 2, features)
    a = statistics_of(generator.normal(size=(3 * features, features)) * spread)
    b = statistics_of(generator.normal(size=(5 * features // 2, features)) * spread[::-1] + 0.1)
    yield Row(
        f"Fréchet distance of {features} features",
        lambda: frechet_distance(a, b),
        (Peer("scipy's sqrtm", lambda: by_sqrtm(a, b), close(1e-6), least=3.0),),
        turns=2,
    )
