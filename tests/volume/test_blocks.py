"""Means over blocks of voxels, and masks of blocks back on the voxels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.volume.blocks import block_factor, block_means, blown_up
from volforge.volume.geometry import Grid


@settings(deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 99))
def test_means_are_those_of_the_voxels_and_lie_in_their_middle(shape, factor, seed):
    values = np.random.default_rng(seed).integers(-1000, 3000, shape).astype(np.int16)
    affine = np.array([[0.5, 0.1, 0, 3], [-0.1, 0.5, 0, -7], [0, 0, 0.8, 2], [0, 0, 0, 1.0]])
    found, own = block_means(values, Grid(shape, affine), factor)
    first = tuple(slice(0, min(f, n)) for f, n in zip(factor, shape, strict=True))
    if all(n >= f for n, f in zip(shape, factor, strict=True)):
        assert np.isclose(found[0, 0, 0], values[first].mean(), rtol=1e-5)
    middle = affine[:3, :3] @ ((np.array(factor) - 1) / 2) + affine[:3, 3]
    assert np.allclose(own.affine[:3, 3], middle)
    assert np.allclose(own.spacing_mm, np.array(Grid(shape, affine).spacing_mm) * factor)
    assert found.shape == tuple(-(-n // f) for n, f in zip(shape, factor, strict=True))


def test_the_last_voxels_fill_a_block_that_the_volume_ends_in():
    found, _ = block_means(np.array([1.0, 2, 3]).reshape(3, 1, 1), Grid((3, 1, 1), np.eye(4)), (2, 1, 1))
    assert found.ravel().tolist() == [1.5, 3.0]


def test_a_mask_of_blocks_comes_back():
    mask = np.random.default_rng(0).random((4, 5, 3)) > 0.5
    factor = (2, 1, 3)
    whole = blown_up(mask, factor, (7, 5, 9))
    assert whole.shape == (7, 5, 9)
    again, _ = block_means(whole[:6], Grid((6, 5, 9), np.eye(4)), factor)
    assert np.array_equal(again > 0.5, mask[:3])


def test_factors_make_about_a_length():
    grid = Grid((4, 4, 4), np.diag([0.45, 0.45, 3.0, 1.0]))
    assert block_factor(grid, 2.0) == (4, 4, 1)
