"""Rim gap and contour step against their closed forms, whatever the grid."""

import numpy as np
import pytest

from tests.tasks.implant.making.phantoms import (
    HALF_DEGREES,
    INNER_MM,
    ORIGIN,
    OUTER_MM,
    plate_masks,
    rotated,
    shell_masks,
    shell_scene,
)
from volforge.errors import VolforgeError
from volforge.tasks.implant.making.contour_step import contour_step
from volforge.tasks.implant.making.rim_gap import WALL_MM, rim_gap, weighted_percentile
from volforge.tasks.implant.making.scene import Scene

MIRRORED = np.diag([-1.0, 1.0, 1.0])
GRIDS = {
    "cubic": {},
    "native": {"spacing": (0.45, 0.45, 0.63)},
    "oblique": {"turn": rotated(25)},
    "mirrored": {"turn": rotated(25) @ MIRRORED, "spacing": (0.5, 0.45, 0.6)},
}


def mean_gap(degrees):
    return 2 / 3 * np.sin(np.radians(degrees)) * (OUTER_MM**3 - INNER_MM**3) / (OUTER_MM**2 - INNER_MM**2)


@pytest.mark.parametrize("grid", GRIDS)
def test_gap_of_a_round_hole(grid):
    found = rim_gap(shell_scene(gap_degrees=1.5, **GRIDS[grid]))
    assert found.mean_mm == pytest.approx(mean_gap(1.5), abs=0.05)
    ends = np.sin(np.radians(1.5)) * np.array([INNER_MM, OUTER_MM])
    assert ends[0] - 0.1 < found.median_mm < ends[1] + 0.1
    assert ends[1] - 0.15 < found.p95_mm < ends[1] + 0.3
    assert found.share_over(1.0) > 0.98
    # the area of the wall: a cone's frustum; its edges are rounded by the smoothing
    whole = np.pi * np.sin(np.radians(HALF_DEGREES)) * (OUTER_MM**2 - INNER_MM**2)
    assert 0.85 * whole < found.area_mm2.sum() < whole
    # the points lie on the wall, and what they face on the implant's
    for points, degrees in ((found.points, HALF_DEGREES), (found.facing, HALF_DEGREES - 1.5)):
        axis = np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
        angle = np.degrees(np.arccos(points @ axis / np.linalg.norm(points, axis=1)))
        assert np.median(angle) == pytest.approx(degrees, abs=0.1)


def test_an_implant_that_touches_has_no_gap():
    found = rim_gap(shell_scene(gap_degrees=0.0))
    assert found.median_mm == 0
    assert found.mean_mm < 0.05
    assert found.share_over(1.0) == 0


def test_pores_of_the_bone_are_no_wall():
    """A hollow in the bone, beside the wall, whose walls look at the implant through bone."""
    implant, bone, affine = shell_masks(gap_degrees=0.5)
    axis = np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
    places = np.argwhere(bone) @ affine[:3, :3].T + affine[:3, 3]
    far = np.linalg.norm(places, axis=1)
    angle = np.degrees(np.arccos(places @ axis / far))
    hollow = (np.abs(far - 67) < 1.2) & (angle > HALF_DEGREES + 1.5) & (angle < HALF_DEGREES + 3.5)
    porous = bone.copy()
    porous[tuple(np.argwhere(bone)[hollow].T)] = False
    plain, found = (rim_gap(Scene.of(implant, b, affine, ORIGIN)) for b in (bone, porous))
    assert hollow.sum() > 1000
    assert found.p95_mm == pytest.approx(plain.p95_mm, abs=0.02)
    assert found.mean_mm == pytest.approx(plain.mean_mm, abs=0.02)


def test_no_wall_within_reach_has_no_value():
    implant, bone, affine = plate_masks(1.0, lambda r, z: r < 20, lambda r, z: r < 20 - WALL_MM - 2)
    found = rim_gap(Scene.of(implant, bone, affine, np.array([0.0, 0.0, -80.0])))
    assert not len(found.mm)
    assert np.isnan([found.median_mm, found.p95_mm, found.mean_mm, found.share_over()]).all()
    steps = contour_step(Scene.of(implant, bone, affine, np.array([0.0, 0.0, -80.0])))
    assert np.isnan([steps.outer.median_mm, steps.outer.p95_mm, steps.inner.median_mm]).all()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("outer", "inner"), [(1.0, 0.0), (-0.7, 0.6)])
def test_steps_of_other_radii(grid, outer, inner):
    found = contour_step(shell_scene(gap_degrees=0.7, outer=outer, inner=inner, **GRIDS[grid]))
    assert found.outer.median_mm == pytest.approx(outer, abs=0.1)
    assert found.inner.median_mm == pytest.approx(inner, abs=0.1)
    assert found.outer.p95_mm == pytest.approx(abs(outer), abs=0.4)
    # places go around the whole rim
    assert len(found.outer.mm) > 2 * np.pi * OUTER_MM * np.sin(np.radians(HALF_DEGREES)) / 2.5


def test_mirrored_scenes_have_equal_numbers():
    implant, bone, affine = shell_masks(gap_degrees=1.0, outer=0.5, axis=(0.5, 0.1, 1.0))
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    one, other = (Scene.of(implant, bone, a, ORIGIN) for a in (affine, flip @ affine))
    assert np.allclose(one.implant_surface.volume_mm3, other.implant_surface.volume_mm3)
    assert one.implant_surface.volume_mm3 > 0
    a, b = rim_gap(one), rim_gap(other)
    assert a.mean_mm == pytest.approx(b.mean_mm, abs=1e-3)
    steps = [contour_step(s, g).outer.median_mm for s, g in ((one, a), (other, b))]
    assert steps[0] == pytest.approx(steps[1], abs=0.03)


def test_percentiles_are_by_weight():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 98.0, 1.0])
    assert weighted_percentile(values, weights, 50) == 1
    assert weighted_percentile(values, weights, 98.5) == 2
    assert weighted_percentile(values, weights, 100) == 3
    assert np.isnan(weighted_percentile(values, np.zeros(3), 50))


def test_what_is_no_scene_is_refused():
    implant, bone, affine = shell_masks(spacing=(2.0, 2.0, 2.0))
    with pytest.raises(VolforgeError, match="empty"):
        Scene.of(np.zeros_like(implant), bone, affine)
    with pytest.raises(VolforgeError, match="in the bone"):
        Scene.of(bone, bone, affine)
    with pytest.raises(VolforgeError, match="grids differ"):
        Scene.of(implant[1:], bone, affine)
