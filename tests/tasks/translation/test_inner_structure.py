"""Structure terms and histogram distance: closed forms, other packages, and what a copy and a constant score."""

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.metrics import normalized_mutual_information

from volforge.tasks.translation.histogram import HIGH_HU, LOW_HU, histogram_distance, hu_histogram, mean_histogram
from volforge.tasks.translation.inner_structure import (
    TERMS,
    gradient_correlation,
    gradient_size,
    mind,
    mind_distance,
    mutual_information,
    structure_measures,
    well_inside,
)

SPACING = (1.0, 1.5, 2.0)


def images(seed=0, shape=(24, 22, 20)):
    generator = np.random.default_rng(seed)
    return tuple(ndimage.gaussian_filter(generator.standard_normal(shape), 1.5) for _ in range(2))


def test_gradient_of_a_ramp():
    x, y, z = np.meshgrid(np.arange(9.0), np.arange(8) * 1.5, np.arange(7) * 2.0, indexing="ij")
    np.testing.assert_allclose(gradient_size(3 * x - 4 * y + 12 * z, SPACING), 13, rtol=1e-5)
    np.testing.assert_allclose(gradient_size((3 * x - 4 * y)[:, :, :1], SPACING), 5, rtol=1e-5)


def test_terms_know_a_copy_a_constant_and_another_contrast():
    a, b = images()
    whole = np.ones(a.shape, bool)
    assert gradient_correlation(a, 5 - 3 * a, whole, SPACING) == pytest.approx(1)
    assert mind_distance(a, 5 - 3 * a, whole) == pytest.approx(0, abs=1e-5)
    assert mutual_information(a, 5 - 3 * a, whole) == pytest.approx(2, abs=0.05)  # ends of bins fall elsewhere
    flat = np.full(a.shape, 40.0)
    assert gradient_correlation(a, flat, whole, SPACING) == 0
    assert mutual_information(a, flat, whole) == 1
    assert (mind(flat, whole) == 1).all()
    assert mind_distance(a, flat, whole) > mind_distance(a, a + 0.02 * b, whole) > 0


def test_mutual_information_is_that_of_scikit_image():
    a, b = images(1)
    whole = np.ones(a.shape, bool)
    x, y = (np.clip(v, *np.percentile(v, [0.5, 99.5])) for v in (a + b, a - 0.3 * b))
    assert mutual_information(a + b, a - 0.3 * b, whole) == pytest.approx(
        normalized_mutual_information(x, y, bins=32), abs=1e-3
    )


def test_a_pattern_has_the_descriptor_of_the_definition():
    """Stripes along x: a step along y or z changes nothing, so only the neighbours along x score below 1."""
    stripes = np.broadcast_to(np.sin(np.arange(24) / 2)[:, None, None], (24, 8, 8)).copy()
    where = np.zeros(stripes.shape, bool)
    where[4:-4] = True
    found = mind(stripes, where)
    assert found.shape == (6, 16 * 64)
    np.testing.assert_allclose(found[2:], 1, rtol=1e-5)
    assert found[:2].max() < 0.6
    assert mind(stripes[:, :, :1], where[:, :, :1]).shape == (4, 16 * 8)


def test_measures_are_taken_inside_and_the_gap_of_the_truth_is_zero():
    a, b = images(2, (40, 36, 30))
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in a.shape), indexing="ij")
    body = x**2 + y**2 + z**2 < 0.9
    inside = well_inside(body, SPACING)
    assert 0 < inside.sum() < body.sum()
    made, real = a + 0.5 * b, a + 0.2 * b
    found = {m.measure: m for m in structure_measures(a, made, real, body, SPACING)}
    assert set(found) == {f"{k}_{t}" for t in TERMS for k in ("inner", "gap")}
    assert {m.n for m in found.values()} == {int(inside.sum())}
    perfect = {m.measure: m.value for m in structure_measures(a, real, real, body, SPACING)}
    assert [perfect[f"gap_{t}"] for t in TERMS] == [0, 0, 0]
    gap = abs(found["inner_gradient_correlation"].value - perfect["inner_gradient_correlation"])
    assert found["gap_gradient_correlation"].value == pytest.approx(gap)
    beyond = np.where(ndimage.binary_dilation(inside, iterations=5), made, 1e4)
    after = {m.measure: m.value for m in structure_measures(a, beyond, real, body, SPACING)}
    assert after["inner_mutual_information"] == found["inner_mutual_information"].value
    assert after["inner_gradient_correlation"] == pytest.approx(found["inner_gradient_correlation"].value)
    assert {m.status for m in structure_measures(a, made, real, x > 2, SPACING)} == {"absent"}


@pytest.mark.parametrize("seed", range(3))
def test_histogram_distance_is_scipys_wasserstein_distance(seed):
    generator = np.random.default_rng(seed)
    shape = (9, 8, 7)
    image = np.rint(generator.normal(30, 200, shape))
    others = [np.rint(generator.normal(60 * k, 150, shape)) for k in range(2)]
    body = generator.random(shape) > 0.3
    wanted = mean_histogram((v, body) for v in others)
    both = np.concatenate([v[body] for v in others])
    found = histogram_distance(image, body, wanted)
    assert found.value == pytest.approx(stats.wasserstein_distance(image[body], both))
    assert found.unit == "HU"


def test_histogram_distance_by_hand():
    body = np.ones((2, 2, 2), bool)
    one = mean_histogram([(np.zeros((2, 2, 2)), body)])
    assert histogram_distance(np.full((2, 2, 2), 37.0), body, one).value == pytest.approx(37)
    assert hu_histogram(np.full((2, 2, 2), 9000.0), body)[HIGH_HU - LOW_HU] == 1
    assert mean_histogram([]) is None
    assert histogram_distance(np.zeros((2, 2, 2)), body, None).status == "absent"
