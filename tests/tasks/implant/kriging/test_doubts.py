"""Doubts: limits with at most a tenth of false alarms, and the sentences of a case."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.tasks.implant.kriging.case import Kriged
from volforge.tasks.implant.kriging.complete import CompletedMaps
from volforge.tasks.implant.kriging.doubts import SIGNS, doubts_of, limits_of, row_of, signs_of, table_of
from volforge.tasks.implant.kriging.holes import Hole
from volforge.tasks.implant.kriging.pose import Pose, Registered


def fired(case, limits):
    return any(math.isfinite(case[s]) and case[s] > limits[s] for s in limits)


@settings(deadline=None)  # scipy is imported in the first call
@given(st.integers(3, 40), st.integers(0, 10_000))
def test_at_most_a_tenth_of_the_fitted_cases_is_doubted(count, seed):
    rng = np.random.default_rng(seed)
    cases = [dict(zip(SIGNS, rng.lognormal(0, rng.uniform(0.1, 2), 4), strict=True)) for _ in range(count)]
    limits = limits_of(cases)
    assert set(limits) == set(SIGNS)
    assert sum(fired(c, limits) for c in cases) <= 0.1 * count


def test_new_cases_of_the_same_kind_are_doubted_about_as_rarely():
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(60):
        draw = rng.lognormal(0, 0.3, (116, 4))
        cases = [dict(zip(SIGNS, row, strict=True)) for row in draw]
        limits = limits_of(cases[:16])
        rates.append(np.mean([fired(c, limits) for c in cases[16:]]))
    assert 0.02 < np.mean(rates) < 0.13


def test_an_outlier_is_allowed_for_and_what_is_missing_is_not_judged():
    calm = [
        {"cost": 0.3 + 0.01 * n, "residual_mm": 1.0 + 0.01 * n, "rim_mm": math.nan, "deviation_mm": 0.5}
        for n in range(19)
    ]
    wild = {"cost": 50.0, "residual_mm": 60.0, "rim_mm": math.nan, "deviation_mm": 0.5}
    limits = limits_of([*calm, wild])
    assert "rim_mm" not in limits
    assert limits["cost"] < 50
    assert not any(fired(c, limits) for c in calm)
    assert limits_of(calm[:2]) == {}


def case(**changes):
    pixels = np.zeros((9, 9), bool)
    pixels[3:6, 3:6] = True
    spread = np.zeros((2, 9, 9))
    spread[:, pixels] = 0.8
    distance = np.where(pixels, 0.0, 3.0)
    maps = CompletedMaps(np.ones((2, 9, 9)), spread, distance, pixels, 10, 0.2)
    pose = Registered(Pose(np.eye(3), np.zeros(3)), 0.4, 1.1)
    return replace(Kriged((4, 4, 4), None, pose, (Hole(pixels, 200.0, False, False),), maps), **changes)


def test_signs_of_a_case():
    assert signs_of(case()) == pytest.approx({"cost": 0.4, "residual_mm": 1.1, "rim_mm": 0.2, "deviation_mm": 0.8})
    assert math.isnan(signs_of(case(maps=None))["rim_mm"])


def test_sentences_name_value_and_limit():
    assert doubts_of(case(), {}) == []
    assert doubts_of(case(), dict.fromkeys(SIGNS, 9.0)) == []
    found = doubts_of(case(), dict.fromkeys(SIGNS, 0.1))
    assert [d.code for d in found] == [code for code, _ in SIGNS.values()]
    assert "0.400" in found[0].text
    assert "0.100" in found[0].text


def test_holes_speak_for_themselves():
    pixels = case().holes[0].pixels
    holes = (
        Hole(pixels, 1.0, True, False),
        Hole(pixels, 1.0, False, True, 0.1),
        Hole(pixels, 1.0, False, True, 0.9, True),
    )
    assert [d.code for d in doubts_of(case(holes=holes), {})] == ["hole_at_edge", "hole_out_of_view", "end_of_scan"]
    unseen = replace(case().maps, rim_mm=math.nan)
    assert [d.code for d in doubts_of(case(maps=unseen), {"rim_mm": 0.0})] == ["no_rim"]


def test_the_table_has_a_row_for_every_case():
    rows = {"a": row_of(case(), {"cost": 0.1}), "b": row_of(case(maps=None, holes=()), {})}
    head, first, second = (line.split("\t") for line in table_of(rows).splitlines())
    assert head == ["scan", "holes", *SIGNS, "doubts"]
    assert first == ["a", "1", "0.4000", "1.1000", "0.2000", "0.8000", "misfit"]
    assert second == ["b", "0", "0.4000", "1.1000", "", "", ""]
