"""What a review of the negative volumes found, one test each."""

import numpy as np
import pytest

from tests.shape.joints import Analytic, joint, turned
from volforge.shape.bones import bones_of
from volforge.shape.derive import solid, split_sides
from volforge.shape.frame import back_on_scan
from volforge.shape.inflate import inflate
from volforge.shape.joint import JointSettings, measure_joint
from volforge.volume.geometry import Grid

QUICK = JointSettings(with_width=False, with_surfaces=False)


def measured(one, settings=QUICK, others=None):
    return measure_joint(one.condyle, one.barrier, others, one.grid, settings)


@pytest.mark.parametrize("method", ["ray", "mesh", "geodesic", "euclid", "ball"])
def test_nothing_beyond_the_scan_is_counted(method):
    one = joint((0.8, 0.8, 0.8), extent=24)
    found = measured(one, JointSettings(method=method, with_width=False))
    assert "cube_cut" in found.flags
    shown = back_on_scan(found.inflated.space.astype(np.uint8), found.bones.frame, one.grid)
    assert found.negative_volume_mm3 == pytest.approx(shown.sum() * one.grid.voxel_mm3, rel=0.06)
    assert found.inflated.stops["view"] > 0.1
    assert found.negative_volume_mm3 < 24**3


@pytest.mark.parametrize("size", [1, 3])
def test_a_stray_piece_of_condyle_does_not_move_the_cube(size):
    one = joint((0.8, 0.8, 0.8), extent=52)
    stray = one.condyle.copy()
    middle = one.condyle.shape[0] // 2
    stray[middle : middle + size, middle : middle + size, -8 : -8 + size] = True
    clean, found = measured(one), measured(Analytic(stray, one.barrier, one.grid))
    assert "condyle_in_pieces" in found.flags
    assert "condyle_in_pieces" not in clean.flags
    assert np.allclose(found.bones.frame.centre, clean.bones.frame.centre)
    assert found.joint_space_mm3 == pytest.approx(clean.joint_space_mm3, rel=0.01)


def test_bone_is_looked_for_as_far_as_the_longest_way():
    """A plate 17 mm from the condyle, 8 mm and more beyond the clip cube."""
    one = joint((0.8, 0.8, 0.8), kind="none", extent=70)
    z = np.indices(one.condyle.shape)[2] * 0.8 + one.grid.affine[2, 3]
    plate = Analytic(one.condyle, (z > 23.4) & (z < 26), one.grid)
    assert measured(plate, JointSettings(r_max_mm=14, with_width=False)).joint_space_mm3 == 0
    assert measured(plate, JointSettings(r_max_mm=20, with_width=False)).joint_space_mm3 > 100


def test_the_clip_cube_does_not_decide_whether_there_is_a_barrier():
    one = joint((0.8, 0.8, 0.8), kind="none", extent=70)
    z = np.indices(one.condyle.shape)[2] * 0.8 + one.grid.affine[2, 3]
    plate = Analytic(one.condyle, (z > 18.5) & (z < 21), one.grid)
    for cube in (20.0, 30.0):
        found = measured(plate, JointSettings(cube_mm=cube, with_width=False))
        assert found.joint_space_mm3 > 0
        assert "no_barrier" not in found.flags


def test_clip_bound_is_told_of_every_method():
    one = joint((0.8, 0.8, 0.8), kind="none", extent=60)
    for method in ("ray", "mesh", "euclid"):
        found = measured(one, JointSettings(method=method, r_max_mm=40, with_width=False))
        assert "clip_bound" in found.flags, method
        assert sum(found.inflated.stops.values()) == pytest.approx(1)


def test_closing_adds_nothing_to_a_solid_ball():
    one = joint((0.5, 0.5, 0.5), kind="none", extent=60)
    index = np.indices(one.condyle.shape)
    ball = ((index - np.array([60, 60, 92]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 12**2
    bones = bones_of(one.condyle, ball, None, one.grid)
    grown = (bones.shut_barrier < 0) & ~(bones.barrier < 0)
    assert np.count_nonzero(grown) <= 0.01 * np.count_nonzero(bones.barrier < 0)


def test_thick_slices_are_told():
    assert "thick_slices" in measured(joint((0.5, 0.5, 1.5))).flags
    assert "thick_slices" not in measured(joint((0.5, 0.5, 1.0))).flags


@pytest.mark.parametrize("roll", [0, 20, -12])
def test_a_mandible_is_parted_at_its_middle_on_tilted_grids(roll):
    matrix = np.eye(4)
    matrix[:3, :3] = turned((0, roll, 0))
    shape = (140, 40, 160)
    matrix[:3, 3] = -matrix[:3, :3] @ np.array([70, 20, 130])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    mm = index @ matrix[:3, :3].T + matrix[:3, 3]
    mandible = (np.abs(mm[..., 0]) < 45) & (np.abs(mm[..., 2] + 60) < 8)
    sides = split_sides(mandible, Grid(shape, matrix))
    assert mm[sides["left"]][:, 0].max() < 1.5
    assert mm[sides["right"]][:, 0].min() > -1.5
    assert (sides["left"] | sides["right"]).sum() == mandible.sum()


def test_marrow_that_opens_downwards_is_filled():
    index = np.indices((40, 40, 40)) - 20
    r = np.hypot(index[0], index[1])
    tube = (r < 10) & (index[2] < 15)
    hollow = tube & ~((r < 7) & (index[2] < 11))  # open at its lower end, where the scan ends
    assert (solid(hollow, (1.0, 1.0, 1.0)) & tube).sum() > 0.99 * tube.sum()


def test_a_part_of_a_scan_gives_what_the_whole_scan_does():
    one = joint((0.8, 0.8, 0.8), extent=100)
    found = measured(one)
    bones = bones_of(one.condyle, one.barrier, None, one.grid, margin_mm=14.0)
    whole = inflate(bones, "ray", 14.0)
    assert np.array_equal(found.inflated.space, whole.space)
    assert np.array_equal(found.inflated.joint_space, whole.joint_space)
