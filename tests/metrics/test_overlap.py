"""Counts and ratios of two masks, by hand."""

import math

import numpy as np
import pytest

from tests.metrics.masks import box
from volforge.metrics.overlap import Overlap, count

SHAPE = (6, 6, 6)


def test_two_boxes_by_hand():
    p, r = box(SHAPE, (0, 0, 0), (4, 4, 4)), box(SHAPE, (2, 0, 0), (4, 4, 2))
    found = count(p, r)
    assert found == Overlap(both=16, prediction=64, reference=32)
    assert found.dice == pytest.approx(32 / 96)
    assert found.iou == pytest.approx(16 / 80)
    assert found.sensitivity == pytest.approx(16 / 32)
    assert found.precision == pytest.approx(16 / 64)
    assert found.volume_error_percent == pytest.approx(100)
    assert count(r, p).volume_error_percent == pytest.approx(-50)


@pytest.mark.parametrize(
    ("prediction", "reference", "undefined"),
    [
        (0, 0, {"dice", "iou", "sensitivity", "precision", "volume_error_percent"}),
        (9, 0, {"sensitivity", "volume_error_percent"}),
        (0, 9, {"precision"}),
        (9, 9, set()),
    ],
)
def test_what_divides_by_nothing_is_nan_and_never_perfect(prediction, reference, undefined):
    found = Overlap(0, prediction, reference)
    for name in ("dice", "iou", "sensitivity", "precision", "volume_error_percent"):
        value = getattr(found, name)
        assert math.isnan(value) == (name in undefined), name
        assert value != 1


def test_counts_are_whole_numbers_of_python_beyond_32_bits():
    found = Overlap(3_000_000_000, 3_000_000_000, 4_000_000_000)
    assert found.dice == pytest.approx(6 / 7)
    assert isinstance(count(np.ones(SHAPE, bool), np.ones(SHAPE, bool)).both, int)
