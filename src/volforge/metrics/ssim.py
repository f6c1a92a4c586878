"""Structural similarity inside a mask, in slabs so that whole bodies fit in memory.

Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", IEEE TIP 13(4), 2004 (SSIM); Wang, Simoncelli,
Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003 (MS-SSIM); the reports of
SynthRAD2023 (arXiv 2403.08447) and SynthRAD2025 (arXiv 2605.13555) for what these challenges compute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Array

K1, K2 = 0.01, 0.03
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SYNTHRAD_LEAST = 97  # voxels: a window of 7 at the coarsest scale
SLAB_VALUES = 4_000_000


@dataclass(frozen=True)
class Window:
    """How local means are taken.

    Attributes:
        weights: Weights along one axis, summing to 1, an odd number of them.
        axes: Axes that the window spans.
        sample_covariance: Divide by N - 1 (scikit-image's default) instead of N.
    """

    weights: tuple[float, ...]
    axes: tuple[int, ...]
    sample_covariance: bool

    @property
    def radius(self) -> int:
        """Values on each side of the centre."""
        return len(self.weights) // 2

    def mean(self, values: Array) -> Array:
        """Local means; only those whose window lies inside the array are meant to be read."""
        from scipy import ndimage

        uniform = len(set(self.weights)) == 1
        found = np.empty_like(values)
        for axis in self.axes:
            if uniform:
                ndimage.uniform_filter1d(values, len(self.weights), axis=axis, output=found)
            else:
                ndimage.correlate1d(values, self.weights, axis=axis, output=found)
            values = found  # from the second axis on in place: each line is copied before it is written
        return values


def uniform_window(size: int = 7, axes: Sequence[int] = (0, 1, 2), *, sample_covariance: bool = True) -> Window:
    """Equal weights: SynthRAD, and scikit-image's default with 7."""
    return Window((1 / size,) * size, tuple(axes), sample_covariance)


def gaussian_window(size: int = 11, sigma: float = 1.5, axes: Sequence[int] = (0, 1)) -> Window:
    """Gaussian weights in the plane of the slice: 11x11 with sigma 1.5, as in Wang 2004."""
    offsets = np.arange(size) - size // 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return Window(tuple(weights / weights.sum()), tuple(axes), False)


def ssim(prediction: Array, reference: Array, mask: Array, data_range: float, window: Window) -> tuple[float, int]:
    """Mean SSIM over the masked voxels whose whole window lies inside the array.

    Args:
        prediction: Values, shape (X, Y, Z).
        reference: Values of the same shape.
        mask: Boolean, the same shape.
        data_range: Greatest possible difference of values.
        window: How local means are taken.

    Returns:
        The mean, and the number of voxels it is over; (NaN, 0) where there is none.
    """
    total, n = 0.0, 0
    for luminance, structure in _maps(prediction, reference, mask, data_range, window):
        total += float((luminance * structure).sum())
        n += luminance.size
    return (total / n if n else math.nan), n


def ms_ssim(prediction: Array, reference: Array, mask: Array, data_range: float, window: Window) -> float:
    """Multi-scale SSIM inside a mask, five scales (Wang 2003).

    Contrast-structure is averaged over the mask at every scale, luminance at the coarsest only; the means are
    multiplied with the scales' weights as powers, a negative mean as 0. Between scales blocks of two values along
    the window's axes are averaged; a block belongs to the mask where one of its values does.

    Args:
        prediction: Values, shape (X, Y, Z). Short axes are lengthened on both sides by their edge values (the mask
            too), so that the coarsest scale holds a whole window.
        reference: Values of the same shape.
        mask: Boolean, the same shape.
        data_range: Greatest possible difference of values.
        window: How local means are taken.

    Returns:
        0 to 1; NaN where a scale has no masked voxel.
    """
    x, y, inside = _long_enough(prediction, reference, mask, window, len(window.weights) * 2 ** (len(SCALES) - 1))
    product = 1.0
    for level, weight in enumerate(SCALES):
        last = level == len(SCALES) - 1
        total, n = 0.0, 0
        for luminance, structure in _maps(x, y, inside, data_range, window):
            total += float((luminance * structure if last else structure).sum())
            n += structure.size
        if not n:
            return math.nan
        product *= max(total / n, 0.0) ** weight
        if not last:
            x, y = _halved(x, window.axes), _halved(y, window.axes)
            inside = _halved(inside.astype(np.float32), window.axes) > 0
    return product


def ms_ssim_synthrad2025(prediction: Array, reference: Array, mask: Array, data_range: float) -> float:
    """Multi-scale SSIM as the evaluation of SynthRAD2025 computes it (its published scores), values from 0.

    It differs from Wang 2003: the map luminance x contrast x structure, negatives as 0, is taken to the power of
    the scale's weight voxel by voxel before the mean, and luminance counts at every scale. Axes shorter than 97
    are lengthened on both sides by edge values, image and mask alike; three voxels at every face are left out at
    every scale; a coarse voxel j is the mean of the fine voxels 2j - 1 and 2j, with 0 before the first.

    Args:
        prediction: Values from 0 to `data_range`, shape (X, Y, Z).
        reference: Values of the same shape.
        mask: Boolean, the same shape.
        data_range: 4095 in that challenge.

    Returns:
        0 to 1; NaN where a scale has no masked voxel.
    """
    window = uniform_window()
    x, y, inside = _long_enough(prediction, reference, mask, window, SYNTHRAD_LEAST)
    product = 1.0
    for level, weight in enumerate(SCALES):
        total, n = 0.0, 0
        for luminance, structure in _maps(x, y, inside, data_range, window):
            total += float(((np.clip(luminance, 0, None) * np.clip(structure, 0, None)) ** weight).sum())
            n += structure.size
        if not n:
            return math.nan
        product *= min(max(total / n, 0.0), 1.0)
        if level < len(SCALES) - 1:
            x, y = _halved_from_before(x), _halved_from_before(y)
            inside = inside[::2, ::2, ::2]
    return product


def _long_enough(
    prediction: Array, reference: Array, mask: Array, window: Window, least: int
) -> tuple[Array, Array, Array]:
    """Images and mask with axes of at least so many voxels, lengthened on both sides by their edge values."""
    missing = [max(0, least - n) if a in window.axes else 0 for a, n in enumerate(reference.shape)]
    pad = [(m // 2, m - m // 2) for m in missing]
    x, y = (np.pad(np.asarray(v, np.float64), pad, mode="edge") for v in (prediction, reference))
    return x, y, np.pad(mask, pad, mode="edge")


def _halved(values: Array, axes: Sequence[int]) -> Array:
    """Means of blocks of two along some axes; a last odd value is dropped."""
    for axis in axes:
        along = np.moveaxis(values, axis, 0)
        even = along.shape[0] // 2 * 2
        values = np.moveaxis((along[0:even:2] + along[1:even:2]) / 2, 0, axis)
    return values


def _halved_from_before(values: Array) -> Array:
    """Every second value's mean with the one before it (0 before the first), along each axis."""
    for axis in range(values.ndim):
        along = np.moveaxis(values, axis, 0)
        mean = along[::2] / 2
        mean[1:] += along[1 : 2 * len(mean) - 1 : 2] / 2
        values = np.moveaxis(mean, 0, axis)
    return values


def _maps(
    prediction: Array, reference: Array, mask: Array, data_range: float, window: Window
) -> Iterator[tuple[Array, Array]]:
    """Luminance and contrast-structure at masked voxels, slab by slab along the last axis."""
    r = window.radius
    margins = [r if axis in window.axes else 0 for axis in range(mask.ndim)]
    # windows that reach beyond the array are left out
    inner = tuple(slice(m, max(m, n - m)) for m, n in zip(margins, mask.shape, strict=True))
    valid = np.zeros_like(mask, bool)
    valid[inner] = mask[inner]
    box = foreground_box(valid)
    if box is None:
        return
    order: Literal["C", "F"] = "F" if reference.flags.f_contiguous else "C"  # of both: else products are slow
    per_plane = int(np.prod([s.stop - s.start + 2 * m for s, m in zip(box[:-1], margins[:-1], strict=True)]))
    step = max(1, SLAB_VALUES // per_plane)
    for start in range(box[-1].start, box[-1].stop, step):
        slab = (*box[:-1], slice(start, min(start + step, box[-1].stop)))
        chosen = valid[slab]
        if not chosen.any():
            continue
        wide = grown(slab, margins, mask.shape)
        core = tuple(slice(m, m + s.stop - s.start) for s, m in zip(slab, margins, strict=True))
        x, y = (np.asarray(v[wide], np.float64, order=order) for v in (prediction, reference))
        luminance, structure = _of_windows(x, y, data_range, window)
        yield luminance[core][chosen], structure[core][chosen]


def _of_windows(x: Array, y: Array, data_range: float, window: Window) -> tuple[Array, Array]:
    """Luminance and contrast-structure terms of every window (Wang 2004, equations 6, 9 and 13)."""
    values = len(window.weights) ** len(window.axes)
    scale = values / (values - 1) if window.sample_covariance else 1.0
    mean_x, mean_y = window.mean(x), window.mean(y)
    squares_x, squares_y, products = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    # in place: the arrays are larger than the cache, and each pass over one costs as much as its arithmetic
    structure = window.mean(x * y)
    structure -= products
    structure *= 2 * scale
    structure += c2
    variances = window.mean(x * x)
    variances -= squares_x
    variances += window.mean(y * y)
    variances -= squares_y
    variances *= scale
    variances += c2
    structure /= variances
    luminance = products
    luminance *= 2
    luminance += c1
    squares_x += squares_y
    squares_x += c1
    luminance /= squares_x
    return luminance, structure
