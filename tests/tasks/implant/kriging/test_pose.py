"""Poses come back, whatever hole a skull has; what leaves the template pays."""

import numpy as np
import pytest

from tests.tasks.implant.kriging.shells import cap, centres, radii, voxels
from volforge.tasks.implant.kriging.disc import Disc
from volforge.tasks.implant.kriging.pose import (
    OUTSIDE_MM,
    Pose,
    Template,
    _distances,
    even_directions,
    first_guess,
    rotation_of,
)
from volforge.tasks.implant.kriging.template import pose_of

DISC = Disc(pixel_mm=3.0)
SEMI, EXPONENT, THICK = (70.0, 95.0, 78.0), 2.3, 7.0
TEMPLATE = Template(DISC, radii(SEMI, EXPONENT, THICK, DISC.directions), DISC.inside & (DISC.colatitudes < 108))


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.3, 0.0, 0.05), (-0.2, 0.15, -0.1)])
def test_the_pose_of_a_shell_is_found_with_a_hole_and_without(turn):
    rotation = rotation_of(np.array(turn))
    whole, affine = voxels(SEMI, EXPONENT, THICK, 2.0, rotation, (4.0, 9.0, -6.0))
    away = rotation @ np.array([0.4, -0.7, 0.6])
    holed = (whole * ~cap(centres(whole.shape, affine) - [4.0, 9.0, -6.0], away, 22)).astype(np.uint8)
    for skull in (whole, holed):
        found = pose_of(skull, affine, TEMPLATE)
        assert found.pose.angle_to(Pose(rotation, np.zeros(3))) < 1.0
        assert np.linalg.norm(found.pose.centre - [4.0, 9.0, -6.0]) < 1.0
        assert abs(found.pose.scale - 1) < 0.01
        assert found.residual_mm < 0.5


def test_into_and_out_of_the_frame_are_inverse():
    pose = Pose(rotation_of(np.array([0.3, -0.4, 0.2])), np.array([3.0, -2.0, 8.0]), 1.07)
    points = np.random.default_rng(1).normal(0, 50, (20, 3))
    assert np.allclose(pose.out_of(pose.into(points)), points)
    same = pose.moved(np.zeros(7))
    assert same.angle_to(pose) < 1e-5
    assert np.allclose(same.centre, pose.centre)


@pytest.mark.parametrize("degrees", [0.5, 10, 90])
def test_the_angle_between_poses(degrees):
    turned = Pose(rotation_of(np.deg2rad(degrees) * np.array([0.6, 0.0, 0.8])), np.zeros(3))
    assert turned.angle_to(Pose(np.eye(3), np.zeros(3))) == pytest.approx(degrees, rel=1e-4)


def test_leaving_the_template_costs():
    below = np.array([[0.0, 0.0, -90.0], [5.0, 0.0, -80.0]])
    scale = 2 * DISC.radius_mm / DISC.pixel_mm
    assert (_distances(below, TEMPLATE.maps[1], TEMPLATE.trusted, scale, float(DISC.half)) == OUTSIDE_MM).all()


def test_even_directions_come_in_mirrored_pairs():
    directions = even_directions(500)
    half = len(directions) // 2
    assert np.allclose(directions[:half] * [-1, 1, 1], directions[half:])


def test_the_first_guess_sees_no_voxel_order():
    skull, affine = voxels(SEMI, EXPONENT, THICK, 2.0)
    flip = affine @ np.array([[-1, 0, 0, skull.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    a, b = first_guess(skull, affine), first_guess(np.ascontiguousarray(skull[::-1]), flip)
    assert np.allclose(a.centre, b.centre, atol=2.0)
