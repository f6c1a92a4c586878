"""The hole in the vault by geometry alone, and the plane of symmetry of a skull with a hole."""

import numpy as np
import pytest

from tests.tasks.implant.skulls import shell
from volforge.baselines.hole import disc, hole_in_vault, middle_of_cavity
from volforge.baselines.symmetry import mirror_image, reflection

TILT = (10.0, -8.0, 5.0)


def cut(bone, affine, colatitude, azimuth, radius_mm):
    """Bone that a ball about a place of the shell takes out."""
    a, b = np.radians(colatitude), np.radians(azimuth)
    middle = 74 * np.array([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])
    places = np.indices(bone.shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return bone & (np.linalg.norm(places - middle, axis=1) < radius_mm).reshape(bone.shape)


def places_of(mask, affine):
    return np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("tilt", [(0.0, 0.0, 0.0), TILT])
@pytest.mark.parametrize("where", [(5, 0), (50, 60), (80, 190), (75, -90)])
def test_the_hole_is_found_wherever_it_lies(tilt, where):
    bone, affine = shell(tilt=tilt, floor_mm=-30.0)
    taken = cut(bone, affine, *where, 24)
    found = hole_in_vault(bone & ~taken, affine)
    assert found is not None
    points = places_of(taken, affine)
    assert found.covers(points, 12.0).mean() > 0.98
    rest = places_of(bone & ~taken, affine)
    away = np.linalg.norm(rest - points.mean(axis=0), axis=1)
    assert not found.covers(rest[away > 24 + 12 + 14], 12.0).any()


def test_the_larger_of_two_holes_is_taken():
    bone, affine = shell(floor_mm=-30.0)
    large, small = cut(bone, affine, 40, 0, 26), cut(bone, affine, 60, 150, 14)
    found = hole_in_vault(bone & ~large & ~small, affine)
    assert found is not None
    assert found.covers(places_of(large, affine), 10.0).mean() > 0.98
    assert not found.covers(places_of(small, affine), 10.0).any()


def test_closed_vaults_have_none_whatever_is_open_below_or_cut_off_by_the_scan():
    bone, affine = shell(floor_mm=-30.0)
    below = cut(bone, affine, 170, 0, 45)
    assert hole_in_vault(bone & ~below, affine) is None
    top = int(np.flatnonzero(bone.any(axis=(0, 1))).max())
    assert hole_in_vault(bone[:, :, : top - 6], affine) is None  # the scan ends below the vertex
    assert hole_in_vault(np.zeros((5, 5, 5), bool), np.eye(4)) is None


def test_the_middle_of_a_ball_is_about_its_middle():
    bone, affine = shell(tilt=TILT)
    middle, half = middle_of_cavity(bone, affine)
    assert half == pytest.approx(78, abs=2)
    assert np.allclose(middle, 0, atol=5)


def test_pixels_of_the_disc_have_equal_areas():
    rng = np.random.default_rng(0)
    rays = rng.normal(size=(200_000, 3))
    pixels = disc(rays, np.linalg.norm(rays, axis=1), 0.2, 41)
    counts = np.zeros((41, 41))
    np.add.at(counts, tuple(pixels.T), 1)
    x, y = (np.indices((41, 41)) - 20) * 0.2
    whole = counts[np.hypot(x, y) < 1.8]  # the rim of the disc has parts of pixels
    assert whole.std() / whole.mean() < 0.12


def lopsided(affine, shape, yaw, roll, offset):
    """An egg-shaped shell that is symmetric about a known plane and no other, and the reflection."""
    image = reflection(yaw, roll, offset, np.zeros(3))
    normal = (np.eye(3) - image[:3, :3])[:, 0]
    normal /= np.linalg.norm(normal)
    front = np.cross([0.0, 0.0, 1.0], normal)
    front /= np.linalg.norm(front)
    up = np.cross(normal, front)
    p = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    a, b, c = p @ normal - offset, p @ front, p @ up
    width = 60 - 8 * b / 85 - 6 * c / 75  # narrow in front and above
    r = np.sqrt((a / width) ** 2 + (b / 84) ** 2 + (c / 72) ** 2)
    return ((r < 1) & (r > 0.9)).reshape(shape), image


@pytest.mark.parametrize(("yaw", "roll", "offset"), [(0.0, 0.0, 0.0), (0.1, -0.06, 4.0), (-0.15, 0.1, -6.0)])
def test_the_plane_of_symmetry_is_found_beside_a_hole(yaw, roll, offset):
    shape, spacing = (76, 96, 84), 2.0
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    bone, image = lopsided(affine, shape, yaw, roll, offset)
    places = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    taken = (np.linalg.norm(places - [50, 20, 30], axis=1) < 32).reshape(shape) & bone
    found = mirror_image(bone & ~taken, affine)
    assert np.linalg.det(found[:3, :3]) == pytest.approx(-1)
    points = places_of(bone, affine)[::50]
    error = np.linalg.norm(
        (points @ found[:3, :3].T + found[:3, 3]) - (points @ image[:3, :3].T + image[:3, 3]), axis=1
    )
    assert error.mean() < 1.0
    assert (mirror_image(bone & ~taken, affine) == found).all()


def test_a_reflection_is_its_own_inverse():
    found = reflection(0.1, -0.2, 3.0, np.array([1.0, 2.0, 3.0]))
    assert np.allclose(found @ found, np.eye(4))
    assert np.linalg.det(found) == pytest.approx(-1)
