"""Rays through shells whose surfaces are known."""

import numpy as np
import pytest

from tests.tasks.implant.kriging.shells import cap, centres, radii, voxels
from volforge.tasks.implant.kriging.casting import Casting, cast
from volforge.tasks.implant.kriging.pose import Pose, even_directions, rotation_of

SEMI, EXPONENT, THICK = (72.0, 92.0, 80.0), 2.2, 6.5


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.2, -0.1, 0.3)])
def test_surfaces_lie_where_the_formula_says(turn):
    rotation = rotation_of(np.array(turn, float))
    skull, affine = voxels(SEMI, EXPONENT, THICK, 1.0, rotation, (5.0, -3.0, 8.0))
    pose = Pose(rotation, np.array([5.0, -3.0, 8.0]))
    directions = even_directions(800, 100)
    found = cast(skull, affine, pose, directions)
    off = found.radii - radii(SEMI, EXPONENT, THICK, directions)
    assert np.isfinite(found.radii).all()
    assert np.abs(off).mean() < 0.2
    assert abs(off.mean()) < 0.05
    assert np.isinf(found.left).all()


def test_the_scale_of_a_pose_divides_radii():
    skull, affine = voxels(SEMI, EXPONENT, THICK, 2.0)
    directions = even_directions(200, 90)
    one, two = (cast(skull, affine, Pose(np.eye(3), np.zeros(3), s), directions).radii for s in (1.0, 2.0))
    assert np.allclose(one, 2 * two)


def test_oblique_and_mirrored_grids_give_the_same_surfaces():
    skull, affine = voxels(SEMI, EXPONENT, THICK, 1.5)
    directions = even_directions(400, 95)
    pose = Pose(np.eye(3), np.zeros(3))
    flipped = affine @ np.array([[-1, 0, 0, skull.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    turned = affine[:, [1, 2, 0, 3]]
    plain = cast(skull, affine, pose, directions).radii
    assert np.allclose(cast(np.ascontiguousarray(skull[::-1]), flipped, pose, directions).radii, plain)
    assert np.allclose(cast(np.ascontiguousarray(skull.transpose(1, 2, 0)), turned, pose, directions).radii, plain)


def test_a_hole_has_no_radius_and_a_short_field_of_view_is_no_hole():
    skull, affine = voxels(SEMI, EXPONENT, THICK, 1.5)
    directions = even_directions(600, 95)
    pose = Pose(np.eye(3), np.zeros(3))
    holed = skull * ~cap(centres(skull.shape, affine), (1, 0, 1), 18)
    found = cast(holed.astype(np.uint8), affine, pose, directions)
    inside = cap(directions, (1, 0, 1), 17)
    assert np.isnan(found.radii[:, inside]).all()
    assert np.isfinite(found.radii[:, ~cap(directions, (1, 0, 1), 19)]).all()
    assert (found.left[inside] > 100).all()
    top = int((65 + 110) / 1.5)  # the volume ends at z = 65 mm, inside of the vault
    short = cast(np.ascontiguousarray(skull[..., :top]), affine, pose, directions)
    up = cap(directions, (0, 0, 1), 25)
    assert np.isnan(short.radii[:, up]).all()
    assert (short.left[up] < 80).all()


def test_thin_noise_is_no_bone_and_what_lies_behind_a_gap_is_no_vault():
    skull, affine = voxels(SEMI, EXPONENT, THICK, 1.0)
    directions = even_directions(300, 80)
    pose = Pose(np.eye(3), np.zeros(3))
    plain = cast(skull, affine, pose, directions).radii
    holder, _ = voxels(tuple(s + 14 for s in SEMI), EXPONENT, 2.0, 1.0)  # a head rest 12 mm outside
    assert np.allclose(cast(skull | holder, affine, pose, directions).radii, plain)
    with_more = cast(skull | holder, affine, pose, directions, Casting(most_gap_mm=20)).radii
    assert (with_more[1] > plain[1] + 10).mean() > 0.9
