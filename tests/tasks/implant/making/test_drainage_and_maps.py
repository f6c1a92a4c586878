"""Drainage holes, and maps of gap, step and thickness."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from tests.tasks.implant.making.phantoms import ORIGIN, plate_masks, shell_masks, shell_scene
from volforge.errors import VolforgeError
from volforge.metrics.measure import unit_of
from volforge.shape.mesh import Mesh
from volforge.tasks.implant.making.drainage import Drainage, drilled
from volforge.tasks.implant.making.fit import MEASURES, fit, fit_measures
from volforge.tasks.implant.making.maps import NAMES, colours, vertex_maps, voxel_maps, write_vertex_maps
from volforge.tasks.implant.making.scene import Scene


def test_holes_of_a_slab_have_their_volume():
    masks = plate_masks(0.4, lambda r, z: r < 24, lambda r, z: r < 24)
    scene = Scene.of(*masks, centre=np.array([0.0, 0.0, -80.0]))
    pattern = Drainage(3.0, 9.0, 5.0)
    found = drilled(scene, pattern)
    assert len(found.centres) >= 7
    thick = len(np.unique(np.argwhere(scene.implant)[:, 2])) * 0.4
    assert found.removed_mm3 == pytest.approx(len(found.centres) * np.pi * 1.5**2 * thick, rel=0.03)
    assert np.allclose(found.axes, [0, 0, 1], atol=0.02)
    assert pdist(found.centres).min() >= 0.9 * 9
    assert (24 - np.hypot(found.centres[:, 0], found.centres[:, 1])).min() >= 5 + 1.5 - 0.5
    assert not (found.mask & ~scene.implant).any()


def test_a_crumb_without_a_surface_is_not_drilled():
    masks = plate_masks(0.4, lambda r, z: r < 24, lambda r, z: r < 24)
    scene = Scene.of(*masks, centre=np.array([0.0, 0.0, -80.0]))
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    vars(scene)["implant_surface"] = empty  # what a piece of one voxel's thickness may give
    found = drilled(scene, Drainage(2.0, 12.0, 8.0))
    assert len(found.centres) == 0
    assert np.array_equal(found.mask, scene.implant)


def test_holes_of_a_shell_run_along_its_radii():
    scene = shell_scene(gap_degrees=0.5)
    found = drilled(scene, Drainage(2.0, 10.0, 6.0))
    assert len(found.centres) >= 4
    radial = found.centres / np.linalg.norm(found.centres, axis=1)[:, None]
    assert (np.abs((radial * found.axes).sum(axis=1)) > np.cos(np.radians(3))).all()
    assert (radial * found.axes).sum(axis=1).min() > 0
    assert found.removed_mm3 == pytest.approx(len(found.centres) * np.pi * 6.0, rel=0.08)


def test_a_small_implant_has_no_room_for_holes():
    found = drilled(shell_scene(gap_degrees=0.5), Drainage(2.0, 10.0, 40.0))
    assert not len(found.centres)
    assert found.removed_mm3 == 0


@pytest.mark.parametrize("wrong", [(0.0, 9.0, 5.0), (3.0, 3.0, 5.0), (3.0, 9.0, -1.0)])
def test_patterns_that_cannot_be(wrong):
    with pytest.raises(VolforgeError, match="mm apart"):
        Drainage(*wrong)


@pytest.fixture(scope="module")
def fitted():
    masks = shell_masks(gap_degrees=1.0, outer=0.8)
    return masks, fit(*masks, centre=ORIGIN)


def test_maps_show_values_where_they_are(fitted, tmp_path):
    (implant, _, affine), found = fitted
    values = vertex_maps(found)
    assert set(values) == set(NAMES)
    assert np.nanmedian(values["gap_mm"]) == pytest.approx(found.gap.median_mm, abs=0.1)
    assert np.isnan(values["gap_mm"]).any()  # the middle of the implant is far from the rim
    assert np.nanmax(values["step_mm"]) == pytest.approx(0.8, abs=0.35)
    assert np.nanmedian(values["thickness_mm"]) == pytest.approx(6.8, abs=0.3)
    write_vertex_maps(tmp_path, found)
    for name in NAMES:
        head = (tmp_path / f"implant.{name}.ply").read_bytes()[:600]
        assert f"property float {name}".encode() in head
        assert b"property uchar red" in head
    whole = voxel_maps(found, implant.shape, affine)
    assert (np.isfinite(whole["thickness_mm"]) & (whole["thickness_mm"] == 0)).sum() == (~implant).sum()
    assert np.nanmedian(whole["thickness_mm"][implant]) == pytest.approx(6.8, abs=0.3)
    assert whole["trim"].sum() * 0.125 == pytest.approx(found.way.trim_mm3)


def test_colours_know_what_is_not_known():
    found = colours("step_mm", np.array([-2.0, 0.0, 2.0, np.nan]))
    assert found.shape == (4, 3)
    assert found[3].tolist() == [190, 190, 190]
    assert found[0, 2] > found[0, 0]
    assert found[2, 0] > found[2, 2]


def test_measures_of_a_case(fitted):
    (implant, bone, affine), found = fitted
    measures = fit_measures(implant, bone, affine, "implant")
    assert [m.measure for m in measures] == list(MEASURES)
    assert {unit_of(m) for m in MEASURES} == {"mm", "percent", "mm3", "degree"}
    assert all(m.status == "ok" and m.structure == "implant" for m in measures)
    assert found.values()["contour_step_outer_mm"] == pytest.approx(0.8, abs=0.1)
    nothing = fit_measures(np.zeros_like(implant), bone, affine, "implant")
    assert {m.status for m in nothing} == {"empty_prediction"}
    assert np.isnan([m.value for m in nothing]).all()
