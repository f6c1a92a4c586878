"""Calibration where the truth is simulated or counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from volforge.metrics.calibration import calibration_curve, interval_coverage, merged, sparsification_area

LAW = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed, n=200):
    rng = np.random.default_rng(seed)
    return rng.random(n), rng.random(n) < 0.7


def test_a_simulator_that_knows_its_chances_is_calibrated():
    rng = np.random.default_rng(0)
    confidence = rng.random(400_000)
    curve = calibration_curve(confidence, rng.random(confidence.size) < confidence)
    assert curve.expected_error < 0.005
    assert np.allclose(curve.accuracy, (curve.edges[:-1] + curve.edges[1:]) / 2, atol=0.02)
    boastful = calibration_curve(np.sqrt(confidence), rng.random(confidence.size) < confidence)
    assert boastful.expected_error == pytest.approx(2 / 3 - 1 / 2, abs=0.005)  # E[sqrt(u)] - E[u]


def test_one_bin_by_hand():
    """Nine tenths sure, six of ten right."""
    curve = calibration_curve(np.full((2, 5), 0.9), np.arange(10).reshape(2, 5) < 6)
    assert curve.expected_error == pytest.approx(0.3)
    assert curve.count.sum() == curve.count[13] == 10  # 13/15 to 14/15
    assert np.isnan(curve.accuracy[curve.count == 0]).all()
    assert np.isnan(curve.confidence[curve.count == 0]).all()


def test_a_value_on_an_edge_belongs_to_the_lower_bin():
    curve = calibration_curve(np.array([0, 0.25, 0.5, 0.75, 1, 0.26]), np.ones(6, bool), bins=4)
    assert curve.count.tolist() == [2, 2, 1, 1]
    assert curve.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.confidence == pytest.approx([0.125, 0.38, 0.75, 1])


def test_right_where_sure_and_wrong_where_not_is_perfect():
    right = np.array([True, False, True])
    assert calibration_curve(right.astype(np.float32), right).expected_error == 0
    assert calibration_curve(~right, right).expected_error == 1


@LAW
@given(SEEDS, st.integers(0, 200), st.integers(1, 30))
def test_merged_curves_are_the_curve_of_all_voxels(seed, cut, bins):
    confidence, right = drawn(seed)
    parts = [calibration_curve(confidence[s], right[s], bins) for s in (slice(cut), slice(cut, None))]
    whole, joined = calibration_curve(confidence, right, bins), merged(parts)
    for name in ("edges", "count", "confidence", "accuracy"):
        assert np.allclose(getattr(whole, name), getattr(joined, name), equal_nan=True)
    assert joined.expected_error == pytest.approx(whole.expected_error)


@LAW
@given(SEEDS, st.integers(1, 30))
def test_calibration_error_lies_between_the_overall_gap_and_one(seed, bins):
    confidence, right = drawn(seed)
    found = calibration_curve(confidence, right, bins).expected_error
    assert abs(confidence.mean() - right.mean()) - 1e-12 <= found <= 1
    if bins == 1:
        assert found == pytest.approx(abs(confidence.mean() - right.mean()))


def test_no_voxels_have_no_calibration_error():
    assert math.isnan(calibration_curve(np.zeros(0), np.zeros(0, bool)).expected_error)


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan])
def test_confidence_outside_of_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration_curve(np.array([0.5, bad]), np.ones(2, bool))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        calibration_curve(np.zeros(3), np.zeros(4, bool))
    with pytest.raises(ValueError, match="shapes differ"):
        sparsification_area(np.zeros(3), np.zeros(4))


def naive_area(error, doubt, steps):
    """Leave out voxels one fraction after the other and take the mean of the rest."""

    def rest(order):
        gone = [k * len(error) // steps for k in range(steps)]
        return np.array([error[order[g:]].mean() for g in gone])

    gap = rest(np.argsort(-doubt)) - rest(np.argsort(-error))
    return gap.mean() / error.mean()


@LAW
@given(SEEDS, st.integers(1, 150), st.sampled_from([1, 7, 100]))
def test_sparsification_equals_leaving_out_voxel_after_voxel(seed, n, steps):
    rng = np.random.default_rng(seed)
    error, doubt = rng.random(n) + 1e-3, rng.permutation(n).astype(float)
    assert sparsification_area(error, doubt, steps) == pytest.approx(naive_area(error, doubt, steps), abs=1e-9)


@LAW
@given(SEEDS)
def test_sparsification_depends_on_the_order_of_doubt_only(seed):
    rng = np.random.default_rng(seed)
    error, doubt = rng.random(90), rng.integers(0, 12, 90).astype(float)
    found = sparsification_area(error, doubt)
    assert found >= -1e-12
    assert sparsification_area(3 * error, np.exp(doubt) - 5) == pytest.approx(found)
    order = rng.permutation(90)  # ties are not broken by the array's order
    assert sparsification_area(error[order].reshape(9, 10), doubt[order].reshape(9, 10)) == pytest.approx(found)
    assert sparsification_area(error, error**3) == pytest.approx(0, abs=1e-12)
    assert sparsification_area(error, -error) >= found - 1e-12


def test_a_doubt_that_says_nothing_scores_the_area_under_the_best_order():
    """Four voxels, one wrong, four steps: 1/4 stays, the best order has no error from the first step on."""
    error = np.array([0, 0, 1, 0])
    assert sparsification_area(error, np.ones(4), steps=4) == pytest.approx(3 / 4)
    assert sparsification_area(error, error, steps=4) == 0
    # the wrong one kept to the last: 0, 1/3, 1/2, 1 above the best
    assert sparsification_area(error, -error, steps=4) > 3 / 4


@pytest.mark.parametrize("n", [0, 5])
def test_without_an_error_there_is_nothing_to_sort(n):
    assert math.isnan(sparsification_area(np.zeros(n), np.arange(n)))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_a_normal_is_covered_as_often_as_it_says(level):
    rng = np.random.default_rng(4)
    deviation = rng.uniform(0.5, 30, 200_000).reshape(2, -1)
    error = rng.standard_normal(deviation.shape) * deviation
    assert interval_coverage(error, deviation, level) == pytest.approx(level, abs=0.004)
    half = 2 * norm.cdf(norm.ppf(0.5 + level / 2) / 2) - 1
    assert interval_coverage(error, deviation / 2, level) == pytest.approx(half, abs=0.004)


def test_coverage_counts_either_side_of_the_interval():
    error = np.array([1.95, -1.95, 1.97, -1.97, 0.0])
    assert interval_coverage(error, np.ones(5)) == pytest.approx(3 / 5)
    assert interval_coverage(error, np.zeros(5)) == pytest.approx(1 / 5)
    assert interval_coverage(error, np.full(5, np.nan)) == 0
    assert math.isnan(interval_coverage(np.zeros(0), np.zeros(0)))


@LAW
@given(SEEDS, st.floats(0.01, 0.98), st.floats(1.001, 10))
def test_coverage_grows_with_level_and_deviation_and_has_no_unit(seed, level, factor):
    rng = np.random.default_rng(seed)
    error, deviation = rng.standard_normal(60), rng.random(60)
    found = interval_coverage(error, deviation, level)
    assert 0 <= found <= interval_coverage(error, deviation, level + 0.01)
    assert found <= interval_coverage(error, factor * deviation, level)
    assert interval_coverage(8 * error, 8 * deviation, level) == found
