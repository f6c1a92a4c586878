"""Which gaps of a skull are holes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.implant.kriging.test_solve import small_field
from volforge.tasks.implant.kriging.holes import EDGE_MM, LEAST_MM2, SHALLOW_MM, SHALLOW_MM2, holes_of


@pytest.fixture(scope="module")
def field():
    return replace(small_field(), region=small_field().disc.colatitudes < 80)


def square(field, middle, half):
    found = np.zeros(field.region.shape, bool)
    (i, j), n = middle, half
    found[i - n : i + n + 1, j - n : j + n + 1] = True
    return found


def holes(field, gaps, unseen=None, **rules):
    observed = field.mean.copy()
    observed[:, gaps] = np.nan
    left = np.full(field.region.shape, np.inf)
    if unseen is not None:
        left[unseen] = 10.0
    return holes_of(field, observed, left, **rules)


def middle_of(field):
    return tuple(int(v) for v in np.rint(np.argwhere(field.region).mean(axis=0)))


def test_small_gaps_are_none_unless_asked_for(field):
    i, j = middle_of(field)
    large, small = square(field, (i, j), 4), square(field, (i + 10, j), 1)
    area = field.disc.pixel_mm**2
    assert small.sum() * area < LEAST_MM2
    (found,) = holes(field, large | small)
    assert found.area_mm2 == large.sum() * area
    assert len(holes(field, large | small, least_mm2=50.0, least_share=0.0)) == 2


def test_a_vault_that_is_cut_off_hides_no_hole_below(field):
    i, j = middle_of(field)
    cut, hole = square(field, (i, j), 7), square(field, (i + 13, j), 1)
    hole |= square(field, (i + 13, j + 2), 1)
    rules = {"least_mm2": 100.0}
    assert hole.sum() < 0.15 * cut.sum()
    assert len(holes(field, cut | hole, **rules)) == 1  # beside a true hole it is noise
    first, second = holes(field, cut | hole, unseen=cut, **rules)
    assert first.unseen == 1
    assert first.out_of_view
    assert second.unseen == 0
    assert not second.out_of_view


def test_the_end_of_the_region_is_no_hole_and_a_hole_that_reaches_it_is_flagged(field):
    from scipy.ndimage import distance_transform_edt

    inside = distance_transform_edt(np.pad(field.region, 1))[1:-1, 1:-1] * field.disc.pixel_mm
    i, _ = middle_of(field)
    along = np.abs(np.arange(field.region.shape[0]) - i) <= 3
    front = np.arange(field.region.shape[1])[None, :] > middle_of(field)[1]
    shallow = field.region & (inside < SHALLOW_MM) & along[:, None] & front
    assert LEAST_MM2 < shallow.sum() * field.disc.pixel_mm**2 < SHALLOW_MM2
    assert (inside[shallow] <= EDGE_MM).any()
    assert holes(field, shallow) == []
    wide = field.region & (inside < SHALLOW_MM) & front
    (found,) = holes(field, wide)
    assert found.at_edge
    deep = field.region & (inside < 2 * SHALLOW_MM) & along[:, None] & front
    (found,) = holes(field, deep)
    assert found.at_edge
