"""Repeatability against a worked example, simulations and its limits."""

import math

import numpy as np
import pytest

from volforge.metrics.repeatability import icc_1_1, smallest_detectable_change

# Shrout and Fleiss 1979, table 2: four judges, six targets; ICC(1,1) = 0.17 (table 4)
TARGETS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_the_worked_example_of_shrout_and_fleiss():
    assert icc_1_1(TARGETS) == pytest.approx(0.17, abs=0.005)


def test_perfect_repeats():
    groups = [[v] * 3 for v in (1.0, 2.0, 5.0)]
    assert icc_1_1(groups) == 1
    assert smallest_detectable_change(groups) == 0


def test_a_simulation_gives_back_its_noise():
    generator = np.random.default_rng(0)
    groups = [(v + generator.normal(0, 2, 4)).tolist() for v in generator.normal(100, 6, 400)]
    assert icc_1_1(groups) == pytest.approx(36 / 40, abs=0.02)
    assert smallest_detectable_change(groups) == pytest.approx(1.96 * math.sqrt(2) * 2, rel=0.05)


def test_unknown_values_and_too_few():
    assert math.isnan(icc_1_1([[1.0, 2.0]]))
    assert math.isnan(icc_1_1([[1.0], [2.0]]))
    assert math.isnan(icc_1_1([]))
    assert math.isnan(smallest_detectable_change([[1.0], [2.0]]))
    assert icc_1_1([[1.0, 1.1], [3.0, 2.9], [math.nan, 2.0]]) == icc_1_1([[1.0, 1.1], [3.0, 2.9]])
    assert smallest_detectable_change([[1.0, math.nan, 2.0]]) == pytest.approx(1.96 * math.sqrt(2 * 0.5))
