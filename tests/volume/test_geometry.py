import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volforge.errors import ScanError
from volforge.volume.geometry import (
    Grid,
    axis_codes,
    check_affine,
    corner_displacement_mm,
    reorientation_of,
    same_place,
)

ORDERS = list(itertools.permutations(range(3)))


@st.composite
def grids(draw):
    """Any axis order, any flips, any spacing, oblique by up to 20 degrees."""
    from volforge.cohort.phantoms.fields import rotation

    order = draw(st.sampled_from(ORDERS))
    signs = draw(st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3))
    spacing = draw(st.lists(st.floats(0.2, 6), min_size=3, max_size=3))
    angles = draw(st.tuples(*[st.floats(-20, 20)] * 3))
    shift = draw(st.lists(st.floats(-300, 300), min_size=3, max_size=3))
    matrix = np.zeros((3, 3))
    for column, row in enumerate(order):
        matrix[row, column] = signs[column] * spacing[column]
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles) @ matrix
    affine[:3, 3] = shift
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    return Grid(shape, affine)


@given(grids())
def test_reorientation_is_undone_exactly_and_agrees_with_nibabel(grid):
    turn = reorientation_of(grid.affine)
    array = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    canonical = turn.apply(array)
    assert np.array_equal(turn.invert(canonical), array)
    ours = turn.canonical(grid)
    assert canonical.shape == ours.shape
    theirs = nib.as_closest_canonical(nib.Nifti1Image(array.astype(np.int32), grid.affine))
    assert np.allclose(theirs.affine, ours.affine, atol=1e-3)
    assert np.array_equal(np.asanyarray(theirs.dataobj), canonical)


@given(grids())
def test_every_voxel_keeps_its_place_in_space(grid):
    turn = reorientation_of(grid.affine)
    ours = turn.canonical(grid)
    index = np.indices(grid.shape)
    places = np.stack([grid.affine[r, :3] @ index.reshape(3, -1) + grid.affine[r, 3] for r in range(3)]).reshape(
        3, *grid.shape
    )
    for r in range(3):
        moved = turn.apply(places[r])
        index2 = np.indices(ours.shape).reshape(3, -1)
        assert np.allclose(moved.ravel(), ours.affine[r, :3] @ index2 + ours.affine[r, 3], atol=1e-9)


@given(grids())
def test_codes_agree_with_nibabel(grid):
    assert axis_codes(grid.affine) == "".join(nib.aff2axcodes(grid.affine))


def test_not_invertible_sheared_and_nan_affines_are_refused():
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(ScanError, match="not invertible"):
        check_affine(flat)
    twin = np.eye(4)
    twin[:3, 1] = twin[:3, 0]
    with pytest.raises(ScanError, match="not invertible"):
        check_affine(twin)
    tilted = np.eye(4)
    tilted[1, 2] = 0.2
    with pytest.raises(ScanError, match=r"sheared by 11\.31 degrees"):
        check_affine(tilted)
    broken = np.eye(4)
    broken[0, 0] = np.nan
    with pytest.raises(ScanError, match="not finite"):
        check_affine(broken)


def test_same_place_forgives_header_rounding_only():
    grid = Grid((100, 100, 50), np.diag([0.5, 0.5, 2.0, 1.0]))
    rounded = grid.affine.copy()
    rounded[0, 3] += 0.01
    moved = grid.affine.copy()
    moved[0, 3] += 0.5
    assert same_place(grid, Grid(grid.shape, rounded))
    assert not same_place(grid, Grid(grid.shape, moved))
    assert not same_place(grid, Grid((100, 100, 51), grid.affine))
    assert corner_displacement_mm(grid, Grid(grid.shape, moved)) == pytest.approx(0.5)


def test_volume_and_extent_of_a_grid():
    grid = Grid((10, 20, 30), np.diag([0.5, 1.0, 2.0, 1.0]))
    assert grid.voxel_mm3 == pytest.approx(1.0)
    assert grid.extent_mm == pytest.approx((5, 20, 60))
