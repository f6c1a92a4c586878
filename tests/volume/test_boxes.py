"""Boxes of structures: the smallest that hold them, in one pass, whatever the map's type and order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from volforge.volume.boxes import foreground_box, grown, holding, structure_boxes, union


@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.integers(-2, 2)))
def test_box_of_the_foreground_is_the_smallest_that_holds_it(volume):
    places = np.argwhere(volume)
    if not len(places):
        assert foreground_box(volume) is None
        return
    expected = tuple(slice(int(a), int(b) + 1) for a, b in zip(places.min(axis=0), places.max(axis=0), strict=True))
    assert foreground_box(volume) == expected


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 4)),
    st.sampled_from([np.uint8, np.uint16, np.int32, np.int64, ">i2"]),
    st.sampled_from(["C", "F"]),
)
def test_boxes_of_all_structures_equal_those_of_each_alone(labels, kind, order):
    ids = [7, 3, 1, 4]
    found = structure_boxes(np.asarray(labels, dtype=kind, order=order), ids)
    assert found == {i: foreground_box(labels == i) for i in ids if (labels == i).any()}


@given(
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5), elements=st.integers(0, 9)),
    st.lists(st.integers(-1, 70000), max_size=6),
    st.sampled_from("CF"),
)
def test_where_ids_are_held_is_what_isin_says(labels, ids, order):
    found = holding(np.asarray(labels, order=order), ids)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.isin(labels, ids))


def test_ids_far_beyond_those_of_the_map_and_no_ids_at_all():
    labels = np.zeros((3, 3, 3), np.uint16)
    labels[1, 2, 0] = 40_000
    assert structure_boxes(labels, [40_000, 60_000]) == {40_000: (slice(1, 2), slice(2, 3), slice(0, 1))}
    assert structure_boxes(labels, []) == {}
    assert structure_boxes(np.zeros((3, 3, 3), np.uint8), [1]) == {}


def test_box_around_two_boxes():
    a, b = (slice(1, 4), slice(5, 6)), (slice(3, 9), slice(0, 2))
    assert union(a, b) == union(b, a) == (slice(1, 9), slice(0, 6))
    assert union(a, None) == union(None, a) == a
    assert union(None, None) is None


@pytest.mark.parametrize(("margin", "expected"), [(0, (slice(1, 4), slice(5, 6))), (2, (slice(0, 6), slice(3, 7)))])
def test_margin_is_cut_to_the_volume(margin, expected):
    assert grown((slice(1, 4), slice(5, 6)), (margin, margin), (9, 7)) == expected
