"""Synthetic balls: volume, place, and what they leave alone."""

import numpy as np
import pytest

from volforge.volume.balls import Ball, head_centre, with_balls
from volforge.volume.geometry import Grid


def jaw(spacing=(1.0, 1.0, 1.0), turn=0.0):
    """Two condyles of 8 mm radius about x = -25 and 25 mm, on necks that go down, in 100 x 70 x 70 mm."""
    shape = tuple(round(e / s) for e, s in zip((100, 70, 70), spacing, strict=True))
    affine = np.eye(4)
    c, s = np.cos(turn), np.sin(turn)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine)
    index = np.indices(shape).reshape(3, -1)
    p = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)
    axis = affine[:3, 0] / spacing[0]
    labels = np.zeros(shape, np.uint8)
    for side, i in ((-1, 1), (1, 2)):
        centre = side * 25 * axis
        q = p - centre.reshape(3, 1, 1, 1)
        head = (q**2).sum(axis=0) <= 64
        neck = (q[0] ** 2 + q[1] ** 2 <= 16) & (q[2] < 0)
        labels[head | neck] = i
    return labels, grid


BALLS = [Ball(1, 7), Ball(2, 8)]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_a_ball_is_a_sphere_without_the_bones(spacing, turn):
    labels, grid = jaw(spacing, turn)
    made = with_balls(labels, grid, BALLS, 15)
    assert np.array_equal(made[labels > 0], labels[labels > 0])
    voxel = float(np.prod(spacing))
    for i, bone in ((7, 1), (8, 2)):
        places = np.argwhere((made == i) | (labels == bone)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        centre = head_centre(labels == bone, grid.affine)
        inside = (np.linalg.norm(places - centre, axis=1) <= 15).sum() * voxel
        assert inside == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.02)
        assert (
            np.linalg.norm(np.argwhere(made == i) @ grid.affine[:3, :3].T + grid.affine[:3, 3] - centre, axis=1).max()
            <= 15.001
        )


def test_the_centre_is_that_of_the_head_not_of_the_neck():
    labels, grid = jaw()
    whole = np.argwhere(labels == 1).mean(axis=0) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centre = head_centre(labels == 1, grid.affine)
    assert centre[2] > whole[2] + 3
    assert centre[:2] == pytest.approx([-25, 0], abs=0.3)


def test_balls_that_meet_are_parted_by_the_nearer_centre_and_a_missing_condyle_has_none():
    labels, grid = jaw()
    made = with_balls(labels, grid, BALLS, 40)
    middle = made.shape[0] // 2
    assert not (made[:middle] == 8).any()
    assert not (made[middle:] == 7).any()
    labels[labels == 2] = 0
    made = with_balls(labels, grid, BALLS, 15)
    assert set(np.unique(made)) == {0, 1, 7}


def test_ids_beyond_a_byte_widen_the_map():
    labels, grid = jaw()
    made = with_balls(labels, grid, [Ball(1, 300)], 15)
    assert made.dtype == np.uint16
    assert (made == 300).any()
