"""Width, contact and warnings of a joint."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shape.joints import OUTER, RADIUS, Analytic, joint
from volforge.shape.bones import bones_of
from volforge.shape.inflate_mesh import condyle_surface
from volforge.shape.joint import Joint, JointSettings, barrier_surface, measure_joint
from volforge.shape.width import distance_to_mesh, joint_space_width
from volforge.volume.geometry import Array

HALF_SPHERE_MM2 = 2 * np.pi * RADIUS**2


def _measured(one: Analytic, image: Array | None = None, **options: object) -> Joint:
    return measure_joint(one.condyle, one.barrier, None, one.grid, JointSettings(**options), image)  # type: ignore[arg-type]


@pytest.mark.parametrize("spacing", [0.25, 0.4, 0.8])
@pytest.mark.parametrize("gap", [1.87, 4.0])
def test_width_is_right_below_the_voxel(spacing: float, gap: float) -> None:
    """Voxel-centre distance reads 1.9, 2.0 and 2.26 mm where 1.87 mm is true."""
    width = _measured(joint((spacing,) * 3, gap=gap, extent=44)).width
    assert width is not None
    assert width.mean_mm == pytest.approx(gap, abs=0.1)
    assert width.min_mm == pytest.approx(gap, abs=0.35 * max(spacing, 0.5) + 0.1)
    assert width.areas[width.facing].sum() == pytest.approx(HALF_SPHERE_MM2, rel=0.05)
    assert width.hole_share == 0
    assert sum(area for *_, area in width.histogram()) == pytest.approx(width.areas[width.facing].sum())


def test_distance_to_a_mesh_is_exact() -> None:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=4, radius=10.0)
    from volforge.shape.mesh import Mesh

    places = np.random.default_rng(0).normal(size=(200, 3)) * 8
    ours, nearest = distance_to_mesh(places, Mesh(np.asarray(sphere.vertices), np.asarray(sphere.faces)))
    assert ours == pytest.approx(np.abs(np.linalg.norm(places, axis=1) - 10), abs=0.02)
    assert np.linalg.norm(nearest, axis=1) == pytest.approx(np.full(200, 10.0), abs=0.02)


def test_touching_bones_have_width_0_and_an_area_of_contact() -> None:
    one = joint((0.5, 0.5, 0.5), gap=0.0)
    found = _measured(one)
    assert found.width is not None
    assert found.width.min_mm == 0
    assert found.contact.area_mm2 == pytest.approx(HALF_SPHERE_MM2, rel=0.12)
    assert {"contact", "bones_fused"} <= set(found.flags)


def test_the_area_of_contact_is_that_of_the_surface_and_not_of_its_stairs() -> None:
    """A plane at 45 degrees between two blocks: its stairs have 1.41 times its area."""
    n = 60
    index = np.indices((n, n, n))
    one = joint(kind="none")
    inside = (np.abs(index - n // 2) < 14).all(axis=0)
    below = (index[0] + index[2]) < n
    grid = type(one.grid)((n, n, n), np.diag([0.5, 0.5, 0.5, 1.0]))
    bones = bones_of(inside & below, inside & ~below, None, grid)
    from volforge.shape.width import find_contact

    found = find_contact(inside & below, inside & ~below, bones, grid)
    exact = 13.5 * 13.5 * np.sqrt(2)
    assert found.area_mm2 == pytest.approx(exact, rel=0.1)


def test_bones_that_touch_by_an_edge_alone_are_in_contact() -> None:
    n = 40
    condyle, barrier = np.zeros((n, n, n), bool), np.zeros((n, n, n), bool)
    condyle[10:20, 10:30, 10:20] = True
    barrier[20:30, 10:30, 20:30] = True
    grid = type(joint(kind="none").grid)((n, n, n), np.diag([0.5, 0.5, 0.5, 1.0]))
    found = measure_joint(condyle, barrier, None, grid, JointSettings())
    assert found.contact.faces == 0
    assert found.contact.area_mm2 == 0
    assert "contact" in found.flags


def _ct(one: Analytic, valley: float) -> Array:
    """Bone of 1200 HU on soft tissue; between the bones the given value."""
    from scipy.ndimage import gaussian_filter

    image = np.full(one.condyle.shape, valley, np.float32)
    image[one.condyle | one.barrier] = 1200
    return np.asarray(gaussian_filter(image, 0.5))


def test_width_from_the_ct_where_it_shows_a_valley() -> None:
    true = joint((0.4, 0.4, 0.4), gap=2.5)
    image = _ct(true, 40.0)
    thick = joint((0.4, 0.4, 0.4), gap=1.2)  # labels drawn too large by half the gap
    found = measure_joint(thick.condyle, thick.barrier, None, thick.grid, JointSettings(), image)
    assert found.width is not None
    assert found.width.mean_mm == pytest.approx(2.5, abs=0.25)
    assert found.width.unresolved_share < 0.1


def test_a_place_without_a_valley_is_unresolved() -> None:
    one = joint((1.0, 1.0, 1.0), gap=0.0)
    found = _measured(one, _ct(one, 40.0))
    assert found.width is not None
    assert found.width.unresolved_share > 0.7
    assert np.isnan(found.width.min_mm)
    assert {"contact", "unresolved"} <= set(found.flags)


def test_a_wide_gap_of_the_labels_counts_though_the_ct_shows_none() -> None:
    one = joint((0.5, 0.5, 0.5), gap=4.0)
    found = _measured(one, np.full(one.condyle.shape, 300.0, np.float32))
    assert found.width is not None
    assert found.width.unresolved_share == 0
    assert found.width.mean_mm == pytest.approx(4.0, abs=0.1)


def test_a_hole_in_the_fossa_is_told() -> None:
    one = joint((0.4, 0.4, 0.4))
    index = np.indices(one.barrier.shape)
    mm = [index[a] * 0.4 + one.grid.affine[a, 3] for a in range(3)]
    hole = (mm[0] ** 2 + mm[1] ** 2 < 2.0**2) & (mm[2] > 0)
    found = _measured(Analytic(one.condyle, one.barrier & ~hole, one.grid))
    assert found.width is not None
    cone = 0.5 * (2 / OUTER) ** 2  # share of the half sphere whose normals pass through
    assert 0.4 * cone < found.width.hole_share < 1.5 * cone
    assert "barrier_holes" in found.flags
    assert "barrier_holes" not in _measured(one).flags


def test_a_condyle_cut_by_the_scan_and_a_missing_barrier_are_told() -> None:
    one = joint((0.5, 0.5, 0.5))
    half = slice(one.condyle.shape[0] // 2, None)
    matrix = one.grid.affine.copy()
    matrix[:3, 3] += matrix[:3, 0] * half.start
    x, y, z = one.condyle[half].shape
    cut = Analytic(one.condyle[half], one.barrier[half], type(one.grid)((x, y, z), matrix))
    assert {"condyle_cut", "cube_cut"} <= set(_measured(cut).flags)
    without = _measured(joint(kind="none"))
    assert "no_barrier" in without.flags
    assert without.width is None
    assert np.isnan(without.joint_space_mm3)  # unknown, not none


def test_sensitivity_to_the_longest_way_is_in_the_result() -> None:
    found = _measured(joint(), sensitivity_mm=(6.0, 10.0), with_width=False)
    total = [found.sensitivity[r][0] for r in (6.0, 10.0)]
    assert total[0] < total[1] < found.negative_volume_mm3
    assert found.sensitivity[6.0][1] == pytest.approx(found.joint_space_mm3, rel=0.02)


def test_no_width_without_a_barrier_in_sight() -> None:
    one = joint(kind="none")
    bones = bones_of(one.condyle, joint().barrier, None, one.grid)
    surface = barrier_surface(bones)
    assert surface is not None
    width = joint_space_width(bones, condyle_surface(bones).mesh, surface.mesh, 2.0, 0.4)
    assert not width.facing.any()
    assert np.isnan(width.mean_mm)
    assert np.isnan(width.unresolved_share)
    assert width.narrowest is None
    assert width.histogram() == []
