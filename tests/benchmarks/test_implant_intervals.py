"""Coverage of intervals, half widths from learnt holes, and the table of both."""

import numpy as np
from benchmarks.implant_intervals import Closed, closed_hole, coverage, held_out, rules_of, table_of

from tests.tasks.implant.kriging.test_case import holed, shell
from volforge.tasks.implant.kriging.fit import fit
from volforge.tasks.implant.kriging.intervals import LEVELS, NORMAL
from volforge.tasks.implant.kriging.settings import KrigingSettings


def normal(count, factor=1.0, seed=0):
    return Closed("own", np.abs(np.random.default_rng(seed).normal(size=(2, count))) * factor)


def test_folds_test_every_skull_that_is_learnt_from_once_and_none_beyond():
    assert sorted(n for fold in range(4) for n in held_out(fold)) == list(range(32))


def test_normal_errors_are_covered_as_the_levels_say():
    for surface in (0, 1):
        assert np.allclose(coverage([normal(200_000)], surface, NORMAL), LEVELS, atol=0.005)


def test_rules_are_right_where_they_say():
    scores = np.abs(np.random.default_rng(3).standard_t(3, (2, 100_000)))
    rules = rules_of([scores], 1)
    found = {name: coverage([Closed("own", scores)], 1, widths) for name, widths in rules.items()}
    assert found["one factor"][1] == np.float64(found["by level"][1])
    assert np.allclose(found["by level"], LEVELS, atol=1e-3)
    assert np.abs(found["one factor"] - LEVELS).max() > 0.01  # heavy tails
    assert np.allclose(rules["normal"], NORMAL)


def test_the_table_uses_the_rules_of_each_fold_for_its_own_holes():
    folds = [[normal(20_000, factor, n)] for n, factor in enumerate((0.5, 2.0))]
    lines = table_of([[hole.scores for hole in holes] for holes in folds], folds)
    assert len(lines) == 2 + 2 * 3
    assert all("0.50 0.80 0.95" in line for line in lines if "| by level |" in line)
    assert all("own (2)" in line for line in lines[2:])


def test_the_errors_of_a_hole_are_in_the_order_of_their_deviations():
    quick = KrigingSettings.of({"disc": {"pixel_mm": 4.0}, "calibrated": False, "lengths_mm": [12, 24]})
    model = fit(4, lambda n: shell(n, 3.0), quick).model
    whole, _ = shell(20, 3.0)
    skull, _, affine = holed(spacing=3.0)
    found = closed_hole(model, whole, skull, affine, "own")
    assert found is not None
    assert found.scores.shape[1] > 50
    assert 0.05 < np.median(found.scores) < 20
    assert closed_hole(model, whole, whole, affine, "own") is None
