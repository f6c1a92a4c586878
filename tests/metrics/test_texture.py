"""Texture and memorisation against images whose spread and origin are known."""

import math

import numpy as np
import pytest

from volforge.metrics.memorisation import memorisation
from volforge.metrics.texture import slice_change, texture

SHAPE = (24, 20, 8)


def noise(sd, seed, smooth=0.0):
    from scipy.ndimage import gaussian_filter

    values = np.random.default_rng(seed).normal(0, 1, SHAPE)
    if smooth:
        values = gaussian_filter(values, smooth)
    return (values / values.std() * sd).astype(np.float32)


@pytest.fixture
def labels():
    values = np.zeros(SHAPE, np.uint8)
    values[2:12], values[12:22] = 1, 2
    values[0, 0, 0] = 3
    return values


def by_name(measures):
    return {(m.measure, m.structure): m for m in measures}


def test_ratios_of_spread_by_structure(labels):
    real = noise(10, 1) + 100 * labels
    made = np.where(labels == 1, noise(20, 2), noise(5, 3)) + 100 * labels
    found = by_name(texture(made, real, labels, {"a": 1, "b": 2, "c": 3, "d": 9}))
    assert found["texture_sd_ratio", "a"].value == pytest.approx(2, rel=0.1)
    assert found["texture_sd_ratio", "b"].value == pytest.approx(0.5, rel=0.1)
    assert found["texture_fine_ratio", "a"].value == pytest.approx(2, rel=0.1)
    assert {found["texture_sd_ratio", s].status for s in "cd"} == {"absent"}


def test_painting_means_has_no_texture_and_smooth_texture_has_no_grain(labels):
    real = noise(10, 1) + 100 * labels
    flat = 100.0 * labels
    assert by_name(texture(flat, real, labels, {"a": 1}))["texture_sd_ratio", "a"].value == 0
    found = by_name(texture(noise(10, 4, smooth=2) + flat, real, labels, {"a": 1}))
    assert found["texture_sd_ratio", "a"].value == pytest.approx(1, rel=0.35)
    assert found["texture_fine_ratio", "a"].value < 0.5
    assert by_name(texture(real, flat, labels, {"a": 1}))["texture_sd_ratio", "a"].status == "undefined"


def test_change_from_slice_to_slice(labels):
    body = labels > 0
    real = noise(10, 1)
    assert slice_change(3 * real, real, body).value == pytest.approx(3)
    still = np.repeat(real[:, :, :1], SHAPE[2], axis=2)
    assert slice_change(still, real, body).value == 0
    assert slice_change(real, still, body).status == "undefined"
    assert slice_change(real, real, np.zeros_like(body)).status == "absent"


def slices(count, seed):
    from scipy.ndimage import gaussian_filter

    values = np.random.default_rng(seed).normal(size=(count, 40, 40))
    return np.stack([gaussian_filter(v, 3) for v in values]).astype(np.float32)


def test_images_learnt_by_heart_are_nearer_to_the_training_set():
    training, held_out = slices(60, 1), slices(40, 2)
    copies = training[:30] + 0.01 * slices(30, 3)
    found = memorisation(copies, training, held_out)
    assert found.share > 0.75  # two thirds of the training slices are compared
    assert found.n == 40
    fresh = memorisation(slices(200, 4), training, held_out)
    assert fresh.share == pytest.approx(0.5, abs=0.12)
    assert fresh.distance_ratio == pytest.approx(1, abs=0.05)
    assert found.distance_ratio < 0.5


def test_copies_name_what_they_are_copies_of():
    training = slices(20, 1)
    found = memorisation(training[[3, 7]], training, slices(20, 2))
    assert found.nearest.tolist() == [3, 7]
    assert found.distance == pytest.approx([0, 0], abs=1e-6)
    assert found.share == 1


def test_equal_sets_are_even_and_empty_ones_undefined():
    training = slices(10, 1)
    assert memorisation(slices(5, 2), training, training).share == 0.5
    assert math.isnan(memorisation(slices(5, 2), training, training[:0]).share)
