"""Statistics over subjects by hand, by enumeration, and by the laws that any interval and correction keeps."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from volforge.metrics.statistics import bootstrap_interval, compare_arms, holm, summarise, wilcoxon

LAW = settings(max_examples=40, deadline=None)
VALUES = st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=25)
P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_summary_of_four_values():
    found = summarise([4.0, 1.0, 3.0, 2.0])
    assert (found.n, found.mean, found.median) == (4, 2.5, 2.5)
    assert found.sd == pytest.approx(math.sqrt(5 / 3))
    assert (found.q25, found.q75) == (1.75, 3.25)
    assert 1 <= found.ci_low < 2.5 < found.ci_high <= 4


def test_missing_values_are_left_out():
    assert summarise([1.0, math.nan, 2.0, 3.0]) == summarise([1.0, 2.0, 3.0])


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_nothing_to_summarise_gives_no_number(values):
    found = summarise(values)
    assert found.n == 0
    numbers = (found.mean, found.sd, found.median, found.q25, found.q75, found.ci_low, found.ci_high)
    assert all(map(math.isnan, numbers))


def test_one_subject_has_no_spread_and_no_interval():
    found = summarise([7.0])
    assert (found.n, found.mean, found.median, found.q25, found.q75) == (1, 7, 7, 7, 7)
    assert all(map(math.isnan, (found.sd, found.ci_low, found.ci_high)))


def test_an_infinite_value_makes_the_mean_infinite_and_the_rest_unknown():
    found = summarise([1.0, 2.0, math.inf])
    assert (found.n, found.mean) == (3, math.inf)
    assert math.isnan(found.median)
    assert math.isnan(found.ci_low)


@LAW
@given(VALUES, st.integers(0, 5))
def test_bootstrap_is_the_same_again_and_brackets_the_mean(values, seed):
    x = np.array(values, float)
    low, high = bootstrap_interval(x, seed)
    assert (low, high) == bootstrap_interval(x, seed)
    assert low - 1e-9 <= x.mean() <= high + 1e-9
    assert x.min() - 1e-9 <= low <= high <= x.max() + 1e-9


@LAW
@given(VALUES, st.sampled_from([0.5, 2.0, 7.0]), st.floats(-50, 50))
def test_bootstrap_follows_the_unit_of_the_values(values, factor, shift):
    x = np.array(values, float)
    moved = factor * np.array(bootstrap_interval(x)) + shift
    assert bootstrap_interval(factor * x + shift) == pytest.approx(moved, abs=1e-6)


def test_bootstrap_of_two_values_is_from_one_to_the_other():
    """A quarter of all resamples hold the lower value only."""
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0, 1)
    assert bootstrap_interval(np.array([0.0, 1.0]), level=0.4) == (0.5, 0.5)


@pytest.mark.parametrize("n", [30, 1000])  # 1000: drawn in several parts
def test_bootstrap_of_a_normal_has_the_width_of_the_standard_error(n):
    x = np.random.default_rng(1).standard_normal(n)
    low, high = bootstrap_interval(x)
    expected = 2 * 1.96 * x.std() / math.sqrt(n)
    assert high - low == pytest.approx(expected, rel=0.05)
    wide = bootstrap_interval(x, level=0.99)
    assert wide[0] < low < high < wide[1]


def test_bootstrap_leans_to_where_the_values_are_skewed():
    """The plain percentiles miss a mean that few large values make more often than the corrected interval does."""
    draws = [np.random.default_rng(k).lognormal(size=12) for k in range(150)]
    true = math.exp(0.5)
    inside = np.mean([low <= true <= high for low, high in map(bootstrap_interval, draws)])
    plain = []
    for k, x in enumerate(draws):
        means = np.random.default_rng(k).choice(x, (2000, 12)).mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        plain.append(low <= true <= high)
    assert np.mean(plain) <= inside


def test_bootstrap_of_equal_values_is_their_value():
    assert bootstrap_interval(np.full(5, 0.1)) == (0.1, 0.1)


def test_bootstrap_covers_the_true_mean_nearly_as_often_as_it_says():
    draws = np.random.default_rng(2).standard_normal((200, 30))
    inside = [low <= 0 <= high for low, high in map(bootstrap_interval, draws)]
    assert 0.88 <= np.mean(inside) <= 0.99


def enumerated(differences):
    """Two-sided p over all signs of the ranks."""
    ranks = stats.rankdata(np.abs(differences))
    sums = np.array([ranks[list(s)].sum() for s in itertools.product((False, True), repeat=len(ranks))])
    seen = ranks[differences > 0].sum()
    return min(1.0, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))


@pytest.mark.parametrize("n", [6, 7, 9])
@pytest.mark.parametrize("seed", range(4))
def test_few_pairs_without_ties_are_tested_exactly(n, seed):
    x = np.random.default_rng(seed).standard_normal(n) + 0.4
    assert wilcoxon(x) == pytest.approx(enumerated(x), abs=1e-12)
    assert wilcoxon(x) == pytest.approx(stats.wilcoxon(x).pvalue, abs=1e-12)


def pratt(x):
    """Normal approximation by hand: zeros are ranked and left out of the sum, ties lessen the variance."""
    ranks = stats.rankdata(np.abs(x))
    n, z = len(x), int((x == 0).sum())
    counts = np.unique(ranks[x != 0], return_counts=True)[1]
    mean = (n * (n + 1) - z * (z + 1)) / 4
    variance = (n * (n + 1) * (2 * n + 1) - z * (z + 1) * (2 * z + 1) - (counts**3 - counts).sum() / 2) / 24
    return 2 * stats.norm.sf(abs(ranks[x > 0].sum() - mean) / math.sqrt(variance))


@pytest.mark.parametrize(
    "x",
    [
        [1, 1, 2, 3, 4, 5],
        [0, 0, 1, 2, 3, 4, -5],
        [0, 2, 2, 2, -2, 3, 7, 7],
        list(np.random.default_rng(0).standard_normal(51) + 0.2),
    ],
)
def test_ties_are_tested_exactly_and_zeros_left_out(x):
    """By enumeration of all signs; p is never below what so many pairs can reach. Above 50 pairs normal."""
    x = np.array(x, float)
    own = x[x != 0]
    if len(own) > 50:
        assert wilcoxon(x) == pytest.approx(pratt(own), abs=1e-12)
        return
    ranks = stats.rankdata(np.abs(own))
    observed = abs(ranks @ np.sign(own))
    every = [abs(ranks @ np.array(signs)) for signs in itertools.product((-1, 1), repeat=len(own))]
    assert wilcoxon(x) == pytest.approx(np.mean(np.array(every) >= observed - 1e-9), abs=1e-12)
    assert wilcoxon(x) >= 2.0 ** (1 - len(own)) - 1e-15


def test_equal_differences_reach_the_smallest_p_and_summation_noise_is_no_difference():
    assert wilcoxon(np.full(6, 0.1)) == pytest.approx(2 / 2**6)
    assert wilcoxon(np.array([0.1, 0.2, 0.3]).sum() - np.full(8, 0.6)) is None
    assert wilcoxon(np.array([np.inf, np.inf, 1, 2, 3, 4.0])) == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("x", [[], [1, 2, 3, 4, 5], [0] * 8])
def test_too_few_pairs_or_no_difference_is_not_tested(x):
    assert wilcoxon(np.array(x, float)) is None


@LAW
@given(st.lists(st.integers(-20, 20), min_size=6, max_size=30).filter(any))
def test_the_test_knows_neither_side_nor_order_nor_unit(values):
    x = np.array(values, float)
    p = wilcoxon(x)
    assert 0 <= p <= 1
    for other in (-x, x[::-1], 4 * x):
        assert wilcoxon(other) == pytest.approx(p, abs=1e-12)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@LAW
@given(P_VALUES)
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p):
    found = holm(p)
    assert all(a <= b <= min(1, len(p) * a) + 1e-12 for a, b in zip(p, found, strict=True))
    in_order = [found[i] for i in np.argsort(p, kind="stable")]
    assert in_order == sorted(in_order)


@LAW
@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_tests(p, random):
    order = random.sample(range(len(p)), len(p))
    assert holm([p[i] for i in order]) == pytest.approx([holm(p)[i] for i in order])


@LAW
@given(P_VALUES, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, alpha):
    order = np.argsort(p, kind="stable")
    rejected = set()
    for rank, i in enumerate(order):
        if p[i] * (len(p) - rank) > alpha:
            break
        rejected.add(int(i))
    assert {i for i, q in enumerate(holm(p)) if q <= alpha} == rejected


def arm(values, start=0):
    return {f"s{i + start}": float(v) for i, v in enumerate(values)}


def test_arms_are_paired_by_subject_and_not_by_place():
    a = arm(range(10))
    b = {s: v - 1 - 0.01 * v for s, v in reversed(a.items())}
    [test] = compare_arms({"a": a, "b": b})
    assert (test.a, test.b, test.pairs) == ("a", "b", 10)
    assert test.p == test.p_holm == test.smallest_p == 2 / 2**10


def test_only_pairs_with_both_values_count():
    a, b = arm(range(12)), arm(range(1, 20), start=3)
    a["s5"], b["s6"] = math.nan, math.nan
    assert compare_arms({"a": a, "b": b})[0].pairs == 12 - 3 - 2


def test_the_family_counts_only_tests_that_were_made():
    """Three pairs of arms; the third arm has too few subjects, so one p stands and is not multiplied."""
    a, b = arm(np.arange(8)), arm(1.01 * np.arange(8) + 1)
    tests = compare_arms({"a": a, "b": b, "few": arm([1, 2, 3])})
    assert [(t.a, t.b) for t in tests] == [("a", "b"), ("a", "few"), ("b", "few")]
    assert tests[0].p_holm == tests[0].p == 2 / 2**8
    assert [t.p_holm for t in tests[1:]] == [None, None]
    assert [t.smallest_p for t in tests[1:]] == [0.25, 0.25]


def test_three_arms_are_corrected_together():
    rng = np.random.default_rng(3)
    arms = {name: arm(rng.standard_normal(12) + k) for k, name in enumerate("abc")}
    tests = compare_arms(arms)
    assert [t.p_holm for t in tests] == holm([t.p for t in tests])
    assert any(t.p_holm > t.p for t in tests)


def test_one_arm_is_compared_with_nothing():
    assert compare_arms({"a": arm(range(9))}) == []
