"""Half widths of intervals: from holes, and back to scores that are normal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from volforge.tasks.implant.kriging.intervals import LEAST, LEVELS, NORMAL, Intervals, half_widths, intervals_of

WIDTHS = np.array([[0.5, 1.1, 1.8], [0.7, 1.5, 2.6]])


def sizes(count, factor=1.0, seed=0):
    return np.abs(np.random.default_rng(seed).normal(size=count)) * factor


def test_normal_errors_have_the_half_widths_of_the_normal_distribution():
    assert np.allclose(NORMAL, ndtri((1 + np.array(LEVELS)) / 2), rtol=0, atol=1e-15)
    assert np.allclose(half_widths([sizes(200_000)]), NORMAL, atol=0.02)


@given(st.lists(st.integers(2, 300), min_size=1, max_size=6), st.floats(0.2, 5))
@settings(max_examples=50, deadline=None)
def test_half_widths_cover_the_holes_that_they_come_from(counts, factor):
    holes = [sizes(n, factor * (1 + i), i) for i, n in enumerate(counts)]
    found = np.mean([(h[:, None] <= half_widths(holes)).mean(axis=0) for h in holes], axis=0)
    assert np.abs(found - LEVELS).max() <= 1 / min(counts)


def test_a_large_hole_weighs_no_more_than_a_small_one():
    wide, narrow = sizes(100_000, 3.0), sizes(5_000, 1.0, 1)
    widths = half_widths([wide, narrow])
    inside = np.mean([(h[:, None] <= widths).mean(axis=0) for h in (wide, narrow)], axis=0)
    assert np.allclose(inside, LEVELS, atol=0.01)


def test_few_holes_say_nothing_and_half_widths_rise():
    hole = np.stack([sizes(500), sizes(500, 2, 1)])
    empty = np.zeros((2, 0))
    assert intervals_of([hole] * (LEAST - 1) + [empty] * 9) is None
    found = intervals_of([hole] * LEAST)
    assert np.allclose(found.half_widths[1], half_widths([hole[1]]))
    same = intervals_of([np.ones((2, 50))] * LEAST)
    assert (np.diff(same.half_widths, axis=1) > 0).all(), "a level without a width of its own would be no function"


@pytest.mark.parametrize("surface", [0, 1])
def test_scores_at_the_half_widths_become_those_of_the_normal_distribution(surface):
    own = Intervals(WIDTHS)
    assert np.allclose(own.normal(WIDTHS[surface], surface), NORMAL)
    assert np.allclose(own.normal(-WIDTHS[surface], surface), -NORMAL)
    assert own.normal(np.float64(0), surface) == 0
    beyond = 3 * WIDTHS[surface, -1]
    assert np.isclose(own.normal(np.array([beyond]), surface)[0], 3 * NORMAL[-1])
    some = np.linspace(-6, 6, 401)
    assert (np.diff(own.normal(some, surface)) > 0).all()
    central = 2 * ndtr(own.normal(np.array([own.factor(surface)]), surface)) - 1
    assert central == pytest.approx(0.6827, abs=1e-3)


def test_half_widths_of_the_normal_distribution_change_nothing():
    own = Intervals(np.stack([NORMAL, NORMAL]))
    some = np.linspace(-9, 9, 181)
    assert np.allclose(own.normal(some, 0), some)
    assert own.factor(1) == pytest.approx(1)
