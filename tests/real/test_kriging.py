"""Kriging on real skulls: poses that a hole does not move, maps that hold a skull, and holes that are closed."""

from dataclasses import replace

import numpy as np
import pytest

from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.fit import fit
from volforge.tasks.implant.kriging.imputed import closed_pose, observed
from volforge.tasks.implant.kriging.template import pose_of
from volforge.tasks.implant.kriging.voxels import voxels_of
from volforge.volume.boxes import foreground_box, grown
from volforge.volume.read import read_canonical

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real"), pytest.mark.slow]
LEARNT = [f"{n:03d}" for n in range(16)]
TESTED = ["032", "035", "038"]


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def read(real, name):
    """Complete and defective skull, implant, and affine."""
    skull, grid = read_canonical(real / f"skullfix/complete_skull/{name}.nrrd", labels=True)[:2]
    implant = read_canonical(real / f"skullfix/implant/{name}.nrrd", labels=True)[0]
    box = grown(foreground_box(skull), (4, 4, 4), skull.shape)
    whole, implant = (np.ascontiguousarray(v[box] > 0).view(np.uint8) for v in (skull, implant))
    return whole, whole * (1 - implant), implant > 0, grid.part(box).affine


@pytest.fixture(scope="module")
def model(real):
    if not (real / "skullfix").exists():
        pytest.skip("SkullFix is not beside the project")

    def skull(number):
        whole, _, _, affine = read(real, LEARNT[number])
        return whole, affine

    return fit(len(LEARNT), skull).model


@pytest.fixture(scope="module", params=TESTED)
def case(real, request):
    return read(real, request.param)


def test_a_hole_does_not_move_the_pose(model, case):
    whole, holed, _, affine = case
    complete = pose_of(whole, affine, model.template).pose
    assert closed_pose(holed, affine, model.template, model.field).pose.angle_to(complete) < 1.5


def test_true_surfaces_in_voxels_are_the_true_implant(model, case):
    whole, holed, implant, affine = case
    found = krige(model, holed, affine, deviation=False)
    true = observed(whole, affine, found.registered.pose, model.field).radii
    voxels = voxels_of(model.field, replace(found.maps, maps=true), found.registered.pose, holed, affine)
    again = np.zeros(implant.shape, bool)
    again[voxels.box] = voxels.implant
    assert dice(again, implant) >= 0.985


def test_a_hole_is_closed_well_with_sixteen_skulls(model, case):
    _, holed, implant, affine = case
    found = krige(model, holed, affine)
    assert dice(found.implant, implant) > 0.9
    assert not (found.implant & (holed > 0)).any()
    right = found.confidence[found.found.box]
    assert right.min() >= 0
