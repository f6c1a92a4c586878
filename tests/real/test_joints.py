"""Jaw joints of a real CT whose bones nobody has labelled."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ROOT
from volforge.shape.derive import derive_barrier, derive_condyle, split_sides
from volforge.shape.joint import JointSettings, measure_joint
from volforge.volume.geometry import Grid, reorientation_of

pytestmark = [pytest.mark.real, pytest.mark.slow]
CHIN = ("11", "97", "38")  # as config/examples/jaw_joints.yaml has it


def labelled(image, out, place):
    program = ROOT / "config/examples/jaw_from_ct.py"
    return subprocess.run(
        [sys.executable, str(program), str(image), str(out), *place], capture_output=True, text=True, check=False
    )


def test_the_visible_human_has_two_joints(real, tmp_path):
    image = real / "vhf_head_ct/vhf_head_1mm_approxHU.nii.gz"
    done = labelled(image, tmp_path / "labels.nii.gz", CHIN)
    assert done.returncode == 0, done.stderr
    volume = nib.load(tmp_path / "labels.nii.gz")
    assert np.allclose(volume.affine, nib.load(image).affine)
    turn = reorientation_of(volume.affine)
    shape = tuple(int(n) for n in volume.shape)
    grid = turn.canonical(Grid(shape, volume.affine))
    labels = np.asfortranarray(turn.apply(np.asarray(volume.dataobj)))
    skull, mandible = labels == 1, labels == 2
    assert 25_000 < mandible.sum() * grid.voxel_mm3 < 80_000
    assert skull.sum() > 5 * mandible.sum()
    for side, own in split_sides(mandible, grid).items():
        found = derive_condyle(own, grid)
        barrier = derive_barrier(skull, found.condyle, grid, 40)
        settings = JointSettings(with_width=False, with_surfaces=False)
        joint = measure_joint(found.condyle & ~barrier, barrier, found.rest & ~barrier, grid, settings)
        assert 500 < joint.joint_space_mm3 < 5000, side
        assert 4000 < joint.negative_volume_mm3 < 20000, side
        assert "no_barrier" not in joint.flags


def test_a_place_beside_the_chin_is_an_error_and_writes_nothing(real, tmp_path):
    image = real / "vhf_head_ct/vhf_head_1mm_approxHU.nii.gz"
    done = labelled(image, tmp_path / "labels.nii.gz", ("11", "200", "38"))
    assert done.returncode == 1
    assert "within 8 mm of the place in the chin" in done.stderr
    assert not (tmp_path / "labels.nii.gz").exists()
