"""MR whose background is louder in a part of the field of view (parallel imaging): that air is no body."""

import numpy as np
import pytest
from scipy import ndimage

from volforge.cohort.phantoms import body as phantom
from volforge.volume.body_mask import find_body
from volforge.volume.geometry import reorientation_of
from volforge.volume.local_noise import local_threshold


def rician(louder, deviation, spacing=4.0, bias=0.3):
    """The phantom trunk with arms, a bias field, and noise whose deviation is `deviation * louder(x, y, z)`.

    Coordinates run from 0 to 1, right to left, posterior to anterior, inferior to superior.
    """
    scan = phantom.draw(1, "a", "MR", True, spacing)
    turn = reorientation_of(scan.grid.affine)
    labels = np.asfortranarray(turn.apply(scan.volumes["labels"]))
    mm = turn.canonical(scan.grid).spacing_mm
    rng = np.random.default_rng(0)
    signal = np.array([0.0, *(float(phantom.SIGNAL[i]) for i in range(1, 10))])[labels]
    field = ndimage.gaussian_filter(rng.normal(size=labels.shape), [60 / m for m in mm])
    signal *= 1 + bias * field / np.abs(field).max()
    scale = deviation * louder(*np.meshgrid(*(np.linspace(0, 1, n) for n in labels.shape), indexing="ij"))
    image = np.hypot(signal + scale * rng.normal(size=labels.shape), scale * rng.normal(size=labels.shape))
    return image.astype(np.float32), labels > 0, mm


def step(distance):
    """From 0 to 1 over about a tenth of the field of view."""
    return 1 / (1 + np.exp(-distance / 0.03))


LOUDER = {
    "nowhere": lambda x, y, z: 1 + 0 * x,
    "behind, 3 times": lambda x, y, z: 1 + 2 * step(0.25 - y),
    "behind, 5 times": lambda x, y, z: 1 + 4 * step(0.25 - y),
    "in the middle, 4 times": lambda x, y, z: 1 + 3 * np.exp(-(((x - 0.5) / 0.18) ** 2)),
    "at the left, 5 times": lambda x, y, z: 1 + 4 * step(0.25 - x),
    "above, 4 times": lambda x, y, z: 1 + 3 * step(z - 0.6),
    "in a box behind, 5 times": lambda x, y, z: 1 + 4.0 * ((y < 0.3) & (x > 0.3) & (x < 0.75)),
}


@pytest.mark.parametrize("where", LOUDER)
@pytest.mark.parametrize("deviation", [11, 22])
def test_noise_that_is_louder_in_a_part_adds_no_air(where, deviation):
    """22 is a twelfth of muscle where it is quiet; five times that is half of it."""
    image, body, mm = rician(LOUDER[where], deviation)
    mask = find_body(image, mm, False).mask
    assert (mask & ~body).sum() < 0.015 * body.sum()
    assert (body & ~mask).sum() < 0.005 * body.sum()


def test_noise_of_an_interpolated_image():
    """Zero filling makes noise smooth over two voxels: its specks are larger."""
    image, body, _ = rician(LOUDER["behind, 5 times"], 20)
    half = slice(None, image.shape[2] // 2)
    mask = find_body(ndimage.zoom(image[:, :, half], 2, order=1), (2.0, 2.0, 2.0), False).mask
    truth = ndimage.zoom(body[:, :, half], 2, order=0)
    assert (mask & ~truth).sum() < 0.04 * truth.sum()
    assert (truth & ~mask).sum() < 0.005 * truth.sum()


@pytest.mark.parametrize("bias", [0.0, 0.6])
def test_even_noise_needs_one_threshold(bias):
    image, _, mm = rician(LOUDER["nowhere"], 11, bias=bias)
    assert local_threshold(image, mm, 84.0) is None
