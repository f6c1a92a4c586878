"""Limits of agreement against a worked example."""

import math

import numpy as np
import pytest

from volforge.metrics.agreement import agreement

# Bland and Altman 1986, table 1: peak expiratory flow by the large and the mini meter, first measurements, l/min
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_the_worked_example_of_bland_and_altman():
    found = agreement(LARGE, MINI)
    assert found.n == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    assert (found.low, found.high) == pytest.approx((-78.1, 73.9), abs=0.2)
    assert found.p is not None
    assert found.p > 0.5


def test_a_bias_that_all_pairs_show_has_the_smallest_p():
    first = np.arange(8.0)
    assert agreement(first + 1 + 0.1 * first, first).p == pytest.approx(2 / 2**8)


def test_too_few_and_unknown():
    assert agreement([], []).n == 0
    assert math.isnan(agreement([math.nan], [1.0]).bias)
    one = agreement([2.0, math.nan], [1.0, 5.0])
    assert (one.n, one.bias, one.p) == (1, 1.0, None)
    assert math.isnan(one.low)
