"""Left against right: indices, and shapes that are mirrored and laid onto each other."""

import math

import numpy as np
import pytest

from tests.shape.joints import joint, turned
from volforge.shape.asymmetry import align_mirrored, asymmetry_index, compare_shapes
from volforge.shape.bones import bones_of
from volforge.shape.inflate import inflate
from volforge.shape.joint import barrier_surface
from volforge.volume.geometry import Grid


def test_the_index_is_the_difference_over_the_mean():
    assert asymmetry_index(110, 90) == pytest.approx((20, 20))
    assert asymmetry_index(90, 110) == pytest.approx((-20, 20))
    assert asymmetry_index(5, 5) == (0, 0)
    assert asymmetry_index(1, 0) == pytest.approx((200, 200))


@pytest.mark.parametrize("pair", [(0.0, 0.0), (math.nan, 3.0), (3.0, math.nan)])
def test_what_is_unknown_has_no_index(pair):
    assert all(math.isnan(v) for v in asymmetry_index(*pair))


def lopsided(scale=1.0):
    """A joint that is not its own mirror image: a ridge on the fossa's lateral side, another in front."""
    one = joint((0.5, 0.5, 0.5), extent=56, gap=4.0 * scale)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in one.grid.shape], indexing="ij"), axis=-1)
    mm = index @ one.grid.affine[:3, :3].T + one.grid.affine[:3, 3]
    ridge = (np.abs(mm[..., 1]) < 2) & (mm[..., 0] > 8) & (mm[..., 2] > -4) & (np.linalg.norm(mm, axis=-1) > 10)
    front = (mm[..., 1] > 10.5) & (np.abs(mm[..., 0] + 3) < 3) & (mm[..., 2] > -3)
    return one.condyle, one.barrier | ridge | front, one.grid


def moved(grid, matrix):
    return Grid(grid.shape, matrix @ grid.affine)


def both(scale=1.0):
    """Left and right joint of a head that is not straight: the right one mirrored, then turned and shifted."""
    condyle, barrier, grid = lopsided()
    other_condyle, other_barrier, other_grid = lopsided(scale)
    to_left = np.eye(4)
    to_left[0, 3] = -50
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[:3, 3] = (50, 0, 0)
    pose = np.eye(4)
    pose[:3, :3] = turned((4, -6, 5))
    pose[:3, 3] = (1.5, 2.0, -1.0)
    left = bones_of(condyle, barrier, None, moved(grid, to_left), step_mm=0.5)
    right = bones_of(other_condyle, other_barrier, None, moved(other_grid, pose @ mirror), step_mm=0.5)
    return left, right


def test_a_mirrored_joint_lies_on_its_other_side():
    left, right = both()
    alignment = align_mirrored(left, right, barrier_surface(left).mesh, barrier_surface(right).mesh)
    assert np.linalg.det(alignment.matrix[:3, :3]) == pytest.approx(-1)
    assert alignment.residual_mm < 0.5  # of vertices against vertices, half a voxel apart
    spaces = [inflate(b, "ray", 14.0).joint_space for b in (left, right)]
    frames = (left.frame, right.frame)
    found = {m.measure: m.value for m in compare_shapes(*spaces, frames, alignment.matrix, "joint_space")}
    assert found["mirrored_dice"] > 0.9  # the clip cube does not turn with the head
    assert found["mirrored_assd_mm"] < 0.3
    condyles = {
        m.measure: m.value
        for m in compare_shapes(left.condyle_mask, right.condyle_mask, frames, alignment.matrix, "condyle")
    }
    assert condyles["mirrored_dice"] > 0.95


def test_a_wider_gap_on_one_side_shows_in_index_and_shape():
    left, right = both(1.3)
    spaces = [inflate(b, "ray", 14.0).joint_space for b in (left, right)]
    signed, absolute = asymmetry_index(*(float(s.sum()) for s in spaces))
    assert signed < -25
    assert absolute == -signed
    alignment = align_mirrored(left, right, barrier_surface(left).mesh, barrier_surface(right).mesh)
    found = compare_shapes(*spaces, (left.frame, right.frame), alignment.matrix, "joint_space")
    assert next(m.value for m in found if m.measure == "mirrored_dice") < 0.9


def test_an_empty_shape_is_not_compared():
    left, right = both()
    nothing = np.zeros_like(left.in_cube)
    assert compare_shapes(nothing, nothing, (left.frame, right.frame), np.eye(4), "joint_space") == []
