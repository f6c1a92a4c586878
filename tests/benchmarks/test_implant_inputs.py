"""Thick slices made and brought back, pieces about one hole, and the table of paired differences."""

import numpy as np
import pytest
from benchmarks.implant_inputs import (
    THICKNESSES_MM,
    by_subject,
    lines_of,
    measured,
    pieces_of,
    shares,
    thickened,
    thinned,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.volume.blocks import block_means
from volforge.volume.geometry import Grid

AFFINE = np.array([[0.0, -0.4, 0, 3], [0.4, 0, 0, -2], [0, 0, 0.5, 7], [0, 0, 0, 1]])


def grid_of(shape, affine=AFFINE):
    return Grid(shape, affine)


def ball(shape, spacing, radius):
    """A ball in the middle of a grid."""
    at = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij"))
    middle = np.array(shape) * spacing / 2
    return ((at - middle[:, None, None, None]) ** 2).sum(axis=0) <= radius**2


@given(
    count=st.integers(1, 40),
    spacing=st.floats(0.3, 1.2),
    thick=st.floats(0.3, 5.0),
)
@settings(max_examples=100, deadline=None)
def test_every_native_slice_is_shared_out_whole_and_no_slice_holds_more_than_itself(count, spacing, thick):
    found = shares(count, spacing, thick)
    assert (found >= 0).all()
    assert np.allclose(found.sum(axis=0) * thick, spacing)
    assert np.allclose(found[:-1].sum(axis=1), 1)
    assert found[-1].sum() <= 1 + 1e-9


def test_whole_multiples_are_means_of_blocks():
    rng = np.random.default_rng(0)
    mask = rng.random((5, 4, 12)) < 0.5
    grid = grid_of((5, 4, 12))
    found, own = thickened(mask, grid, 1.5)
    means, expected = block_means(mask, grid, (1, 1, 3))
    assert np.array_equal(found, means >= 0.5)
    assert own.shape == expected.shape
    assert np.allclose(own.affine, expected.affine)


def test_native_thickness_changes_nothing_there_and_back():
    mask = np.random.default_rng(1).random((4, 5, 9)) < 0.4
    found, own = thickened(mask, grid_of((4, 5, 9)), 0.5)
    assert np.array_equal(found, mask)
    assert np.allclose(own.affine, AFFINE)
    assert np.array_equal(thinned(found, grid_of((4, 5, 9)), 0.5), mask)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_along_the_axis_that_is_asked_for(axis):
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    mask = np.zeros((8, 8, 8), bool)
    mask[2:6, 2:6, 2:6] = True
    found, own = thickened(mask, Grid(mask.shape, affine), 1.0, axis)
    assert found.shape[axis] == 4
    assert found.sum() * own.voxel_mm3 == pytest.approx(mask.sum() * 0.125)
    assert own.affine[axis, 3] == pytest.approx(0.25)
    assert np.array_equal(thinned(found, Grid(mask.shape, affine), 1.0, axis), mask)


@pytest.mark.parametrize("thick", THICKNESSES_MM)
def test_a_ball_stays_where_it_is_and_loses_no_more_than_its_slices(thick):
    shape, spacing = (60, 60, 47), (0.5, 0.5, 0.63)
    grid = Grid(shape, np.diag([*spacing, 1.0]))
    mask = ball(shape, spacing, 11.0)
    made, own = thickened(mask, grid, thick)
    back = thinned(made, grid, thick)
    assert own.spacing_mm == pytest.approx((0.5, 0.5, thick))
    places = np.argwhere(made) @ own.affine[:3, :3].T + own.affine[:3, 3]
    before = np.argwhere(mask) @ grid.affine[:3, :3].T
    assert places.mean(axis=0) == pytest.approx(before.mean(axis=0), abs=0.05 * thick)
    assert made.sum() * own.voxel_mm3 == pytest.approx(mask.sum() * grid.voxel_mm3, rel=0.02)
    assert (back ^ mask).sum() < mask.sum() * (0.03 + 0.05 * thick)


def test_pieces_of_other_holes_are_left_out():
    prediction, hole = np.zeros((20, 10, 10), bool), np.zeros((20, 10, 10), bool)
    prediction[2:6, 2:6, 2:6] = prediction[12:16, 2:6, 2:6] = True
    hole[1:5, 2:6, 2:6] = True
    found = pieces_of(prediction, hole)
    assert found[:10].sum() == 64
    assert not found[10:].any()
    assert not pieces_of(prediction, np.zeros_like(hole)).any()


def test_nothing_predicted_has_no_overlap_and_no_distance():
    reference = np.zeros((12, 12, 12), bool)
    reference[3:8, 3:8, 3:8] = True
    found = measured(np.zeros_like(reference), reference, ~reference, (1, 1, 1))
    assert found["dice"] == found["boundary_dice_10mm"] == 0
    assert np.isnan(found["hd95_pooled_mm"])
    same = measured(reference, reference, ~reference, (1, 1, 1))
    assert (same["dice"], same["hd95_pooled_mm"], same["volume_error_percent"]) == (1, 0, 0)


def rows(by_input):
    return [
        (subject, "implant", shown, "true implant", measure, value)
        for shown, values in by_input.items()
        for subject, value in values
        for measure in ("dice", "boundary_dice_10mm", "hd95_pooled_mm", "volume_error_percent")
    ]


def test_cases_of_one_subject_count_once():
    found = by_subject(rows({"native": [("a", 1.0), ("a", 2.0), ("b", 5.0), ("c", np.nan)]}))
    own = found["true implant", "native", "dice"]
    assert (own["a"], own["b"]) == (1.5, 5.0)
    assert np.isnan(own["c"])


def test_differences_are_paired_and_what_is_missing_is_said():
    native = [("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6)]
    lower = [(s, v - 0.1) for s, v in native[:3]] + [("d", np.nan)]
    listed = lines_of(rows({"native": native, "2 mm": lower}), "native")
    assert listed[2].startswith("| true implant | native | 4 | 0.750 |")
    assert "| true implant | 2 mm | 4 | 0.700 (n 3), -0.100 (-0.100 to -0.100) |" in listed[3]
