"""The rate over the steps, as published numbers and as closed forms."""

import math
from itertools import pairwise

import pytest

from volforge.training.schedule import factor


def test_epochs_of_the_published_cyclegan():
    """Factor 1 in epochs 1 to 99, .9901 in the 100th, 0 in the 200th; an epoch is a 200th of the steps."""
    steps = 200 * 7
    of_epoch = [{factor("late_epochs", 7 * e + k, steps) for k in range(7)} for e in range(200)]
    assert all(len(values) == 1 for values in of_epoch)
    rates = [values.pop() for values in of_epoch]
    assert rates[:99] == [1.0] * 99
    assert rates[99] == pytest.approx(100 / 101)
    assert [a - b for a, b in pairwise(rates[98:])] == pytest.approx([1 / 101] * 101)
    assert rates[199] == 0


def test_fewer_steps_than_epochs_still_end_at_the_last_ones():
    rates = [factor("late_epochs", k, 50) for k in range(50)]
    assert rates[:24] == [1.0] * 24
    assert rates == sorted(rates, reverse=True)
    assert 0 <= rates[-1] < 0.05


def test_late_linear_is_one_to_the_half_and_then_falls_in_a_line():
    rates = [factor("late_linear", k, 400) for k in range(400)]
    assert rates[:201] == [1.0] * 201
    assert rates[300] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(2 / 400)


def test_others():
    assert factor("cosine", 50, 100) == pytest.approx(0.5)
    assert factor("poly", 75, 100) == pytest.approx(0.25**0.9)
    assert [factor("step", k, 9, step_every=3) for k in (0, 2, 3, 8)] == pytest.approx([1, 1, 0.1, 0.01])
    assert factor("constant", 99, 100) == 1
    assert [factor("constant", k, 10, warmup=3) for k in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert factor("cosine", 3, 103, warmup=3) == 1
    assert math.isclose(factor("cosine", 53, 103, warmup=3), 0.5)
