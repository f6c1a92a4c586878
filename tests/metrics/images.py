"""Small images that the tests of image measures share."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from volforge.volume.geometry import Array


def image_pair(seed: int, shape: tuple[int, int, int], noise: float = 0.05) -> tuple[Array, Array]:
    """A smooth image from 0 to 1, and the same blurred with noise on it: (prediction, reference)."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 2, mode="wrap")
    reference = (smooth - smooth.min()) / np.ptp(smooth)
    prediction = ndimage.gaussian_filter(reference, 0.7) + noise * rng.standard_normal(shape)
    return prediction, reference


def ct_pair(seed: int, shape: tuple[int, int, int] = (24, 22, 20)) -> tuple[Array, Array]:
    """The same in HU, from -2000 to 4000: a part lies beyond the range of the measures."""
    p, r = image_pair(seed, shape)
    return 6000 * p - 2000, 6000 * r - 2000


def blob(seed: int, shape: tuple[int, int, int]) -> Array:
    """A mask of half of the voxels that holds the middle, whatever the scale, and touches the faces."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1000 + seed).standard_normal(shape), 3, mode="wrap")
    radius = [np.abs(np.linspace(-1, 1, n)) if n > 1 else np.zeros(1) for n in shape]
    middle = np.maximum.reduce(np.meshgrid(*radius, indexing="ij")) < 0.3
    return (noise > np.median(noise)) | middle
