"""What lies within a distance: the same voxels as those of a distance map, whatever spacing, radius and memory order."""

import edt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.volume.morphology import dilate, distance_inside, erode
from volforge.volume.reach import within

LENGTHS = st.sampled_from([0.3, 0.5, 0.6, 0.8, 0.9765625, 1.0, 1.2, 1.5, 2.0, 2.4, 3.0])


@st.composite
def cases(draw):
    shape = draw(st.tuples(*[st.integers(1, 20)] * 3))
    share = draw(st.sampled_from([0.02, 0.2, 0.6]))
    mask = np.random.default_rng(draw(st.integers(0, 2**32))).random(shape) < share
    mask = np.asfortranarray(mask) if draw(st.booleans()) else mask
    # radii that are whole numbers of voxels: where rounding decides
    radius = draw(st.sampled_from([0.6, 1.5, 2.4, 3.0, 4.0, 5.0]) | st.floats(0.2, 6))
    return mask, radius, draw(st.tuples(LENGTHS, LENGTHS, LENGTHS))


@settings(deadline=None, max_examples=150)
@given(cases())
def test_the_voxels_are_those_of_a_distance_map(case):
    mask, radius, spacing = case
    found = within(mask, radius, spacing)
    if found is not None and mask.any():
        away = edt.edt(~mask, anisotropy=spacing, black_border=False)
        np.testing.assert_array_equal(found, away <= radius)
        assert found.flags.f_contiguous == mask.flags.f_contiguous or 1 in mask.shape


@settings(deadline=None, max_examples=60)
@given(cases())
def test_erosion_and_dilation_follow_the_distance(case):
    mask, radius, spacing = case
    np.testing.assert_array_equal(erode(mask, radius, spacing), distance_inside(mask, spacing) > radius)
    if mask.any():
        np.testing.assert_array_equal(dilate(mask, radius, spacing), distance_inside(~mask, spacing) <= radius)


def test_nothing_reaches_nothing():
    assert not within(np.zeros((12, 12, 12), bool), 2.0, (1.0, 1.0, 1.0)).any()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_voxel_becomes_a_ball(order):
    mask = np.zeros((15, 17, 19), bool, order=order)
    mask[7, 8, 9] = True
    x, y, z = np.indices(mask.shape)
    ball = (x - 7) ** 2 + (2 * (y - 8)) ** 2 + (1.5 * (z - 9)) ** 2 <= 16
    np.testing.assert_array_equal(within(mask, 4.0, (1.0, 2.0, 1.5)), ball)


def test_a_ball_of_many_rows_is_left_to_a_distance_map():
    assert within(np.ones((80, 80, 80), bool), 20.0, (1.0, 1.0, 1.0)) is None
