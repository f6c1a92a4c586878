"""What a scanner and the pipeline do to a clean picture: bias, blur, noise, an outline, a window."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from volforge.tasks.translation.painting.fields import Frame, smooth_field
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.shapes import highest, lowest
from volforge.volume.geometry import Array

LEAST_SIGMA = 0.25  # a Gaussian narrower than this, in pixels, changes nothing


def scanned(picture: Array, options: Painting, frame: Frame, rng: np.random.Generator) -> Array:
    """A picture with a bias field, blurred, and with Rician noise (Gudbjartsson and Patz 1995).

    Args:
        picture: (K, H, W), about 0 to 1.
        options: How much of it.
        frame: The grid.
        rng: Draws.
    """
    fields, grain = (np.random.default_rng(s) for s in rng.integers(2**63, size=2))
    bias = np.float32(fields.uniform(0, options.bias)) * smooth_field(frame, fields.uniform(45, 110), fields)
    picture = picture * np.exp(bias)
    for axis in (1, 2):
        picture = _blurred(picture, fields.uniform(*options.blur_mm), axis, frame)
    place = int(0.995 * picture.size)
    top = float(np.partition(picture.ravel(), place)[place])
    sigma = np.float32(fields.uniform(*options.noise) * top)
    width = fields.uniform(0.2, 0.7)
    real, imaginary = (_grain(width, frame, grain) * sigma for _ in range(2))
    return np.hypot(np.maximum(picture, 0) + real, imaginary)


def _blurred(values: Array, sigma_mm: float, axis: int, frame: Frame) -> Array:
    sigma = sigma_mm / frame.steps_mm[axis]
    if sigma < LEAST_SIGMA:
        return values
    return ndimage.gaussian_filter1d(values, sigma, axis=axis, mode="nearest", truncate=3.0)


def _grain(width_mm: float, frame: Frame, rng: np.random.Generator) -> Array:
    """Noise of variance 1, of the grain that a scan of coarser voxels has."""
    noise = rng.standard_normal(frame.shape, dtype=np.float32)
    if width_mm / frame.pixel_mm < LEAST_SIGMA:
        return noise
    for axis in (1, 2):
        noise = _blurred(noise, width_mm, axis, frame)
    return noise / max(float(noise.std()), 1e-6)


def outline_of(body: Array, options: Painting, frame: Frame, rng: np.random.Generator) -> Array:
    """The outline as it is found in an MR: half of the time too wide or too narrow."""
    chance, is_wide = rng.random(), rng.random() < 0.5
    if not options.outline_mm or chance < 0.5:
        return body
    change = highest if is_wide else lowest
    return change(body.astype(np.uint8), frame.pixels(options.outline_mm)) > 0


def windowed(picture: Array, outline: Array, options: Painting, rng: np.random.Generator) -> Array:
    """The picture in the networks' world: the window's percentiles become -1 and 1, and air surrounds the outline.

    Args:
        picture: (K, H, W), not negative.
        outline: (K, H, W) bool; values in it decide the window.
        options: Window, slack and exponent.
        rng: Draws slack and exponent.

    Returns:
        (K, H, W) float32 from -1 to 1.
    """
    gamma = np.float32(rng.uniform(*options.gamma))
    slack = max(0.0, rng.uniform(-1, 1)) * options.slack
    inside = picture[outline]
    if not inside.size:
        return np.full(picture.shape, -1, np.float32)
    low, high = np.percentile(inside, options.window)
    high += slack * (high - low)
    share = np.clip((picture - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1) ** gamma
    return np.where(outline, share * 2 - 1, np.float32(-1)).astype(np.float32)
