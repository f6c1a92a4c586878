"""The way out of a hole: walls along radii, and the frustum that must lose what its mouth does not let through."""

import numpy as np
import pytest

from tests.tasks.implant.making.phantoms import HALF_DEGREES, plate_masks, rotated, shell_scene
from volforge.tasks.implant.making.insertion import around, blocked_voxels, insertion
from volforge.tasks.implant.making.scene import Scene

BELOW = np.array([0.0, 0.0, -80.0])
THICK = 6.0


def lost_mm3(mouth, bottom, step, ring):
    """What a frustum that is narrower by a ring has outside of a cylinder through its mouth, layer by layer, mm3.

    For thin layers and no ring: pi h / 3 (r_i^2 + r_i r_o + r_o^2) - pi h r_o^2.
    """
    depth = np.arange(step / 2, THICK, step)
    radius = mouth + (bottom - mouth) * depth / THICK
    return float(np.pi * np.clip((radius - ring) ** 2 - radius[0] ** 2, 0, None).sum() * step)


def test_layers_of_a_frustum_have_its_closed_form():
    expected = np.pi * THICK / 3 * (24**2 + 24 * 14 + 14**2) - np.pi * THICK * 14**2
    assert lost_mm3(14.0, 24.0, 0.001, 0.0) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("turn", [None, rotated(40)])
def test_walls_along_radii_are_free_along_the_axis(turn):
    scene = shell_scene(gap_degrees=0.0, turn=turn)
    found = insertion(scene)
    assert found.trim_mm3 == 0
    assert found.angle_deg == 0
    assert found.direction @ scene.mean_outwards == pytest.approx(1)
    assert found.direction @ (np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])) > np.cos(np.radians(2))


def test_walls_along_radii_are_free_exactly_within_their_half_angle():
    scene = shell_scene(gap_degrees=0.0)
    wide = insertion(scene)
    implant = scene.places(scene.implant & (_away(scene) > wide.clearance_mm))
    bone = scene.places(scene.defective)
    axis = np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
    across = np.cross(axis, [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    blocked = {}
    for degrees in (0, 8, HALF_DEGREES - 3, HALF_DEGREES + 8, HALF_DEGREES + 25):
        u = np.cos(np.radians(degrees)) * axis + np.sin(np.radians(degrees)) * across
        blocked[degrees] = int(blocked_voxels(implant, bone, u, 0.5).sum())
    assert [n > 0 for n in blocked.values()] == [False, False, False, True, True]
    assert blocked[HALF_DEGREES + 25] > blocked[HALF_DEGREES + 8]


def _away(scene):
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~scene.defective, sampling=scene.grid.spacing_mm)


@pytest.mark.parametrize("step", [0.5, 0.375])  # even numbers of layers
def test_an_inverted_frustum_loses_what_lies_beside_its_mouth(step):
    """Wider inside than outside: the closed form, less the ring that the clearance takes first."""
    mouth, bottom = 14.0, 24.0

    def hole(r, z):
        return r < bottom + (mouth - bottom) * (z + THICK / 2) / THICK

    found = insertion(Scene.of(*plate_masks(step, hole, hole, half=33.0), centre=BELOW))
    # a voxel under bone goes too, which along the radius is as much as the wall leans
    expected = lost_mm3(mouth, bottom, step, step * (bottom - mouth) / THICK)
    assert found.along_normal_mm3 == pytest.approx(expected, rel=0.08)
    assert found.trim_mm3 == pytest.approx(expected, rel=0.08)
    assert found.angle_deg <= 10  # so near to the axis all ways are about equal
    assert found.trim_mm3 == pytest.approx(found.blocked.sum() * step**3)
    assert found.trim_mm3 <= found.along_normal_mm3


def test_a_slanted_hole_is_left_along_its_slant():
    """Parallel walls at 25 degrees: along the normal bone is in the way, along the walls nothing."""
    step, lean = 0.5, np.tan(np.radians(25))
    implant, bone, affine = plate_masks(step, lambda r, z: r < 0, lambda r, z: r < 1e9)
    x, y, z = (np.indices(implant.shape)[a] * step + affine[a, 3] for a in range(3))
    hole = np.hypot(x - lean * z, y) < 13
    found = insertion(Scene.of(implant & hole, bone & ~hole, affine, BELOW))
    assert found.trim_mm3 == 0
    assert found.along_normal_mm3 > 50
    wall = np.array([lean, 0, 1]) / np.hypot(lean, 1)
    # clearance leaves some room: any direction between is free, and the nearest to the normal is taken
    assert 10 < found.angle_deg <= 27
    assert found.direction @ wall > np.cos(np.radians(15))


def test_directions_cover_a_cone():
    axis = np.array([1.0, -2.0, 0.5])
    found = around(axis, 60, 10)
    unit = axis / np.linalg.norm(axis)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert (found @ unit >= np.cos(np.radians(60)) - 1e-9).all()
    rng = np.random.default_rng(0)
    some = rng.normal(size=(2000, 3))
    some /= np.linalg.norm(some, axis=1)[:, None]
    some = some[some @ unit > np.cos(np.radians(60))]
    assert np.degrees(np.arccos((some @ found.T).max(axis=1))).max() < 8


def test_nothing_blocks_nothing():
    point, bone = np.zeros((1, 3)), np.array([[0.0, 0.0, 5.0]])
    up = np.array([0.0, 0.0, 1.0])
    assert blocked_voxels(point, bone, up, 1.0).tolist() == [True]
    assert blocked_voxels(point, bone, -up, 1.0).tolist() == [False]
    assert blocked_voxels(point, np.zeros((0, 3)), up, 1.0).tolist() == [False]
    assert blocked_voxels(np.zeros((0, 3)), bone, up, 1.0).tolist() == []
    assert insertion(shell_scene(gap_degrees=0.0, spacing=(2, 2, 2)), clearance_mm=100.0).trim_mm3 == 0
