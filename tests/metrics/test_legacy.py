"""What published code computed, in closed form, and how each of these numbers misleads."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import structural_similarity

from tests.metrics.images import image_pair
from tests.metrics.masks import blobs, box
from volforge.metrics import legacy
from volforge.metrics.legacy import (
    cross_entropy_nats,
    legacy_cross_entropy_nats,
    legacy_hd_voxels,
    legacy_rmse,
    legacy_ssim,
    reconstruction_error_percent,
)

SHAPE = (20, 18, 16)


@pytest.mark.parametrize("offset", [(1, 0, 0), (3, 4, 0), (2, 3, 6)])
def test_distance_of_two_voxels_is_in_voxels(offset):
    one, other = box(SHAPE, (4, 5, 6), (1, 1, 1)), box(SHAPE, tuple(np.add((4, 5, 6), offset)), (1, 1, 1))
    found = legacy_hd_voxels(one, other, "jaw")
    assert found.value == pytest.approx(np.linalg.norm(offset), rel=1e-6)
    assert (found.structure, found.status, found.n, found.unit) == ("jaw", "ok", 1, "voxel")


@pytest.mark.parametrize("seed", range(4))
def test_distance_is_over_all_voxels_of_both_masks(seed):
    p, r = blobs(seed, SHAPE, 0.1), blobs(seed + 50, SHAPE, 0.05)
    directed = [ndimage.distance_transform_edt(~b)[a].max() for a, b in ((p, r), (r, p))]
    found = legacy_hd_voxels(p, r).value
    assert found == pytest.approx(max(directed), rel=1e-6)
    assert legacy_hd_voxels(r.astype(np.uint8), p).value == pytest.approx(found, rel=1e-6)
    assert legacy_hd_voxels(np.pad(p, 3), np.pad(r, 3)).value == pytest.approx(found, rel=1e-6)


def test_distance_rewards_an_empty_prediction():
    some, none = blobs(1, SHAPE), np.zeros(SHAPE, bool)
    for p, r in ((none, some), (some, none), (none, none), (some, some)):
        assert legacy_hd_voxels(p, r).value == 0
        assert legacy_hd_voxels(p, r).status == "ok"


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_floor_of_the_cross_entropy_of_a_perfect_prediction(classes):
    """Softmax of a one-hot vector: ln(1 + (classes - 1) / e), 0.3133 for two."""
    labels = np.random.default_rng(0).integers(0, classes, SHAPE)
    logits = np.stack([np.where(labels == c, 800.0, -800.0) for c in range(classes)])
    assert cross_entropy_nats(logits, labels) == 0
    floor = math.log(1 + (classes - 1) / math.e)
    assert legacy_cross_entropy_nats(logits, labels) == pytest.approx(floor, rel=1e-12)
    if classes == 2:
        assert round(floor, 4) == 0.3133


def test_cross_entropy_of_ignorance_and_of_certain_error():
    labels = np.zeros((4, 4), np.uint8)
    assert cross_entropy_nats(np.zeros((3, 4, 4)), labels) == pytest.approx(math.log(3))
    assert legacy_cross_entropy_nats(np.zeros((3, 4, 4)), labels) == pytest.approx(math.log(3))
    wrong = np.stack([np.zeros((4, 4)), np.full((4, 4), 50.0)])
    assert cross_entropy_nats(wrong, labels) == pytest.approx(50)
    assert legacy_cross_entropy_nats(wrong, labels) == pytest.approx(math.log(1 + math.e))  # no worse than 1.3133


def test_cross_entropy_equals_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
    rng = np.random.default_rng(2)
    logits, labels = 5 * rng.standard_normal((4, 6, 5, 3)), rng.integers(0, 4, (6, 5, 3))
    a, b = torch.from_numpy(logits)[None], torch.from_numpy(labels)[None]
    assert cross_entropy_nats(logits, labels) == pytest.approx(float(torch.nn.functional.cross_entropy(a, b)))
    twice = torch.nn.functional.cross_entropy(torch.softmax(a, 1), b)
    assert legacy_cross_entropy_nats(logits, labels) == pytest.approx(float(twice))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.floats(-1e4, 1e4))
def test_cross_entropy_does_not_change_with_a_constant_on_all_logits(seed, shift):
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((3, 20)), rng.integers(0, 3, 20)
    for measure in (cross_entropy_nats, legacy_cross_entropy_nats):
        assert measure(logits + shift, labels) == pytest.approx(measure(logits, labels), rel=1e-9)


def test_ssim_at_a_range_of_255_is_nearly_one_for_strangers():
    one, other = (image_pair(s, (64, 48, 1))[1][:, :, 0] for s in (1, 2))
    found = legacy_ssim(one, other)
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert found == pytest.approx(structural_similarity(one, other, data_range=255, **how), abs=1e-9)
    assert found > 0.99
    assert structural_similarity(one, other, data_range=1, **how) < 0.5
    assert legacy_ssim(one, one) == pytest.approx(1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_rmse_of_a_perfect_generator_is_the_distance_of_the_image_from_one(seed):
    """Compared with 2 x - 1 instead of x: |x - (2 x - 1)| = 1 - x."""
    image = np.random.default_rng(seed).random((8, 9))
    assert legacy_rmse(image, image) == pytest.approx(math.sqrt(((1 - image) ** 2).mean()))
    assert legacy_rmse(2 * image - 1, image) == pytest.approx(0, abs=1e-12)


def test_rmse_by_hand():
    assert legacy_rmse(np.zeros((3, 3)), np.zeros((3, 3))) == 1
    assert legacy_rmse(np.ones((3, 3)), np.ones((3, 3))) == 0
    assert legacy_rmse(np.full((3, 3), 0.5), np.full((3, 3), 0.25)) == pytest.approx(1)


def test_reconstruction_error_falls_with_every_slice_of_air():
    p, r = box((10, 10, 10), (2, 2, 2), (5, 5, 4)), box((10, 10, 10), (2, 2, 2), (5, 5, 5))
    found = reconstruction_error_percent(p, r)
    assert found.measure == "legacy_reconstruction_error_percent"
    assert found.value == pytest.approx(2.5)
    assert (found.n, found.unit) == (1000, "percent")
    more = [(0, 0), (0, 0), (0, 10)]
    assert reconstruction_error_percent(np.pad(p, more), np.pad(r, more).astype(np.uint8)).value == pytest.approx(1.25)
    assert reconstruction_error_percent(r, r).value == 0
    assert reconstruction_error_percent(~r, r).value == 100


def test_every_measure_but_the_true_cross_entropy_says_that_it_is_legacy():
    some = blobs(3, SHAPE)
    assert all(
        m.measure.startswith("legacy_")
        for m in (legacy_hd_voxels(some, some), reconstruction_error_percent(some, some))
    )
    functions = {n for n in vars(legacy) if getattr(getattr(legacy, n), "__module__", "") == legacy.__name__}
    assert {n for n in functions if not n.startswith("legacy_")} == {
        "cross_entropy_nats",
        "reconstruction_error_percent",
    }
