"""What shapes take out of a spherical shell, whose volumes are known."""

import numpy as np
import pytest

from tests.tasks.implant.skulls import INNER_MM, OUTER_MM, lens_mm3, prism_mm3, shell
from volforge.tasks.implant.defects.cut import contact_mm2, cut_out, frame_about
from volforge.tasks.implant.defects.shapes import KINDS, BurrBox, Cuboid, Sphere, draw_shape
from volforge.tasks.implant.defects.vault import vault_of

TILT = (11.0, -7.0, 5.0)


@pytest.fixture(scope="module", params=[((1.5, 1.5, 1.5), TILT), ((1.0, 1.4, 2.5), TILT)], ids=["cubes", "bricks"])
def vault(request):
    spacing, tilt = request.param
    return vault_of(*shell(spacing, tilt))


def taken(vault, shape, direction):
    found = vault.surface(np.array(direction) / np.linalg.norm(direction))
    assert found is not None
    place, normal = found
    return cut_out(vault, shape, place, frame_about(normal, 0.7)), place, normal


def test_the_surface_and_its_normal_are_those_of_the_shell(vault):
    for direction in ((0.0, 0.0, 1.0), (0.6, 0.2, 0.5), (-0.5, -0.7, 0.3)):
        place, normal = vault.surface(np.array(direction) / np.linalg.norm(direction))
        assert np.linalg.norm(place) == pytest.approx(OUTER_MM, abs=1.0)
        assert normal @ place / np.linalg.norm(place) > np.cos(np.radians(2.0))


@pytest.mark.parametrize("direction", [(0.0, 0.3, 1.0), (0.8, 0.3, 0.4)])
def test_a_ball_takes_out_what_two_balls_share(vault, direction):
    shape = Sphere(30.0, 4.0)
    cut, place, normal = taken(vault, shape, direction)
    apart = float(np.linalg.norm(place + 4.0 * normal))
    truth = lens_mm3(30.0, OUTER_MM, apart) - lens_mm3(30.0, INNER_MM, apart)
    assert len(cut.index) * vault.voxel_mm3 == pytest.approx(truth, rel=0.015)


def test_a_flap_goes_through_the_full_thickness_and_no_farther(vault):
    cut, place, normal = taken(vault, BurrBox(50.0, 5.0), (0.3, 0.5, 0.9))

    def flap(u, v):
        u, v = np.abs(u), np.abs(v)
        return (np.maximum(u, v) <= 25) | ((u - 25) ** 2 + (v - 25) ** 2 <= 25)

    assert len(cut.index) * vault.voxel_mm3 == pytest.approx(prism_mm3(flap), rel=0.015)
    points = cut.index @ vault.affine[:3, :3].T + vault.affine[:3, 3]
    assert ((points - place) @ normal).min() > -25  # sagitta and thickness; the far side lies at -140


def test_a_leaning_cuboid_is_as_large_as_its_section(vault):
    """At the middle a lean changes the section of a plate by the cosine of nothing: a shear keeps volumes."""
    straight, *_ = taken(vault, Cuboid((40.0, 30.0)), (0.2, -0.5, 0.9))
    leaning, *_ = taken(vault, Cuboid((40.0, 30.0), (8.0, -6.0)), (0.2, -0.5, 0.9))
    truth = prism_mm3(lambda u, v: (np.abs(u) <= 20) & (np.abs(v) <= 15))
    assert len(straight.index) * vault.voxel_mm3 == pytest.approx(truth, rel=0.015)
    assert len(leaning.index) * vault.voxel_mm3 == pytest.approx(truth, rel=0.03)


def test_the_border_of_a_cut_is_measured_in_faces_of_voxels(vault):
    """Faces of a smooth wall are its area times the sum of the normal's components, 1 to 1.74."""
    cut, *_ = taken(vault, Cuboid((40.0, 40.0)), (0.0, 0.2, 1.0))
    wall = 4 * 40.0 * (OUTER_MM - INNER_MM)
    assert wall < contact_mm2(cut, vault.spacing_mm) < 1.74 * 1.1 * wall


def test_a_cut_keeps_the_floor_and_the_other_side():
    bone, affine = shell(floor_mm=-10.0)
    vault = vault_of(bone, affine)
    cut, *_ = taken(vault, Sphere(45.0), (1.0, 0.0, 0.1))
    points = cut.index @ vault.affine[:3, :3].T + vault.affine[:3, 3]
    radius = np.linalg.norm(points, axis=1)
    assert radius.min() > OUTER_MM - 22  # of the floor, which the ball meets for 45 mm, the depth of the shell
    assert points[:, 0].min() > 0


def test_what_a_cut_leaves_hanging_on_nothing_goes_with_it():
    """A ring about a knob: the knob is no part of the ring, and cannot stay in the air."""
    vault = vault_of(*shell())

    class Ring:
        reach_mm = 50.0

        def contains(self, local):
            across = np.hypot(local[:, 0], local[:, 1])
            return (across < 40) & (across > 8)

    place, normal = vault.surface(np.array([0.0, 0.0, 1.0]))
    cut = cut_out(vault, Ring(), place, frame_about(normal, 0.0))
    truth = prism_mm3(lambda u, v: u**2 + v**2 < 1600)
    assert len(cut.index) * 8.0 == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_shapes_hold_the_surface_and_end_within_their_reach(kind):
    rng = np.random.default_rng(5)
    points = np.random.default_rng(6).uniform(-120, 120, (40_000, 3)).astype(np.float32)
    for _ in range(20):
        shape = draw_shape(kind, rng)
        inside = shape.contains(points)
        assert inside.any()
        assert np.linalg.norm(points[inside], axis=1).max() <= shape.reach_mm
        larger = shape.scaled(1.5).contains(points)
        assert larger.sum() > 1.3 * inside.sum()


def test_burr_holes_and_sides_lie_in_their_ranges():
    rng = np.random.default_rng(1)
    drawn = [draw_shape("burr_box", rng) for _ in range(200)]
    sides, burrs = [s.side_mm for s in drawn], [s.burr_mm for s in drawn]
    assert 40 <= min(sides) < 42
    assert 58 < max(sides) <= 60
    assert min(burrs) >= 3
    assert max(burrs) <= 6


def test_an_irregular_shape_without_warp_would_be_its_balls():
    """The warp moves the surface by 2 mm RMS: the shape differs from its balls near their surface alone."""
    points = np.random.default_rng(2).uniform(-60, 60, (60_000, 3)).astype(np.float32)
    points[:, 2] = np.clip(points[:, 2], -40, 25)
    rng = np.random.default_rng(3)
    for _ in range(5):
        shape = draw_shape("irregular", rng)
        balls = np.array(shape.record()["balls_mm"])
        away = (np.linalg.norm(points[:, None] - balls[None, :, :3], axis=2) - balls[:, 3]).min(axis=1)
        inside = shape.contains(points)
        assert inside[away < -7].mean() > 0.995
        assert not inside[away > 7].any()
        differs = inside != (away < 0)
        assert 0.5 < np.sqrt((away[differs] ** 2).mean()) < 3.0
