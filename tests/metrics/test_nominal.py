"""How far values are from a nominal level: ratios by their logarithm."""

import math

from volforge.metrics.measure import from_nominal
from volforge.report.table import _score


def test_half_and_twice_a_ratio_are_alike_and_nothing_at_all_is_the_worst():
    assert math.isclose(from_nominal("texture_sd_ratio", 0.5), from_nominal("texture_sd_ratio", 2.0))
    assert from_nominal("texture_sd_ratio", 0.0) == math.inf
    assert from_nominal("slice_change_ratio", 1.0) == 0
    assert math.isnan(from_nominal("texture_sd_ratio", math.nan))


def test_levels_that_are_no_ratios_are_judged_by_their_difference():
    assert from_nominal("bias_hu", -30.0) == 30
    assert math.isclose(from_nominal("coverage_95", 0.9), 0.05)


def test_an_image_without_texture_scores_worse_than_one_with_twelve_times_too_much():
    scores = [_score("texture_sd_ratio", v) for v in (1.0, 5.6, 12.6, 0.0)]
    assert scores == sorted(scores, reverse=True)
