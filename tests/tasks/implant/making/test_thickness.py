"""Local thickness of shells, slabs and wedges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.implant.making.phantoms import INNER_MM, ORIGIN, OUTER_MM, rotated, shell_masks, shell_scene
from volforge.tasks.implant.making.scene import Scene
from volforge.tasks.implant.making.thickness import local_thickness, thickness, thickness_map


@pytest.mark.parametrize("grid", [{}, {"spacing": (0.45, 0.45, 0.63)}, {"turn": rotated(25)}])
@pytest.mark.parametrize("outer", [0.0, -2.0])
def test_a_shell_has_its_thickness(grid, outer):
    found = thickness(shell_scene(gap_degrees=0.7, outer=outer, **grid))
    h = OUTER_MM - INNER_MM + outer
    assert found.median_mm == pytest.approx(h, abs=0.25)
    assert found.p5_mm == pytest.approx(h, abs=0.25)
    assert found.smallest_mm == pytest.approx(h, abs=0.35)
    assert 0.2 < found.counts.mean() < 0.7


def test_a_dent_is_the_smallest_thickness_and_not_the_median():
    implant, bone, affine = shell_masks(gap_degrees=0.7)
    axis = np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
    places = np.argwhere(implant) @ affine[:3, :3].T + affine[:3, 3]
    from_axis = np.linalg.norm(places - (places @ axis)[:, None] * axis, axis=1)
    dent = (np.linalg.norm(places, axis=1) > INNER_MM + 2) & (from_axis < 3)
    implant[tuple(np.argwhere(implant)[dent].T)] = False
    found = thickness(Scene.of(implant, bone, affine, ORIGIN))
    assert found.median_mm == pytest.approx(6, abs=0.25)
    assert found.smallest_mm == pytest.approx(2, abs=0.4)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 12), st.sampled_from([0.3, 1.0]), st.integers(0, 2))
def test_a_slab_has_its_thickness_to_a_voxel(layers, voxel, axis):
    mask = np.zeros((40, 40, 40), bool)
    key = [slice(2, 38)] * 3
    key[axis] = slice(10, 10 + layers)
    mask[tuple(key)] = True
    found = local_thickness(mask, voxel)
    middle = [slice(14, 26)] * 3
    middle[axis] = slice(10, 10 + layers)
    assert np.abs(found[tuple(middle)] - layers * voxel).max() <= 1.01 * voxel
    assert (found[~mask] == 0).all()
    assert (found[mask] > 0).all()


def test_a_ball_is_as_thick_as_itself_everywhere():
    x = np.indices((31, 31, 31)) - 15.0
    ball = (x**2).sum(axis=0) < 10**2
    found = local_thickness(ball, 0.5)
    assert np.median(found[ball]) == pytest.approx(10, abs=0.6)
    assert np.percentile(found[ball], 2) == pytest.approx(10, abs=1.0)  # corners of voxels at the surface
    assert found.max() == pytest.approx(10, abs=0.6)


def test_an_empty_mask_has_none():
    assert not local_thickness(np.zeros((4, 4, 4), bool), 1.0).any()


def test_the_map_of_voxels_is_that_of_the_surface():
    scene = shell_scene(gap_degrees=0.7)
    found = thickness_map(scene)
    assert (found[~scene.implant] == 0).all()
    assert np.median(found[scene.implant]) == pytest.approx(6, abs=0.25)
