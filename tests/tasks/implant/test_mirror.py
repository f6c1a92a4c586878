"""The plane of symmetry of a skull that is turned, shifted and has a hole."""

import numpy as np
import pytest

from volforge.tasks.implant.mirror import mirrored, reflection
from volforge.volume.geometry import Grid


def turned_skull(yaw, roll, shift, spacing=2.0):
    """An egg-shaped shell, longer to the front and wider behind, turned about its middle; its implant and true plane."""
    shape = (84, 104, 60)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * np.array(shape) / 2
    world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    cy, sy, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]]) @ np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    p = (world - np.array([shift, 0, -40])) @ turn
    r = np.sqrt((p[..., 0] / (66 - 0.12 * p[..., 1])) ** 2 + (p[..., 1] / 88) ** 2 + (p[..., 2] / 85) ** 2)
    shell = (r < 1) & (r > 0.9) & (p[..., 2] > -5)
    hole = np.linalg.norm(p - np.array([45, 25, 55]), axis=-1) < 32
    return shell, shell & hole, Grid(shape, affine), turn[:, 0], np.array([shift, 0.0, -40])


@pytest.mark.parametrize(("yaw", "roll", "shift"), [(0, 0, 0), (0.08, -0.05, 5), (-0.1, 0.07, -6)])
def test_the_plane_is_found_beside_a_hole(yaw, roll, shift):
    skull, hole, grid, normal, middle = turned_skull(yaw, roll, shift)
    matrix = reflection(skull & ~hole, grid)
    np.testing.assert_allclose(matrix @ matrix, np.eye(4), atol=1e-6)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(-1)
    world = grid.affine @ matrix @ np.linalg.inv(grid.affine)
    wanted = np.eye(3) - 2 * np.outer(normal, normal)
    angle = np.degrees(np.arccos(np.clip(np.trace(world[:3, :3].T @ wanted) / 2 - 0.5, -1, 1)))
    assert angle < 3
    there = world[:3, :3] @ middle + world[:3, 3]
    assert np.linalg.norm(there - middle) < 3


def test_the_mirrored_skull_fills_most_of_the_hole():
    skull, hole, grid, *_ = turned_skull(0.08, -0.05, 5)
    defective = skull & ~hole
    filled = mirrored(defective, reflection(defective, grid), np.zeros(3, int), grid.shape)
    assert (filled[hole] > 0.5).mean() > 0.75
    part = mirrored(defective, reflection(defective, grid), np.array([10, 12, 8]), (20, 24, 16))
    np.testing.assert_allclose(part, filled[10:30, 12:36, 8:24], atol=1e-4)
