"""Predictions of RIRE 001 on the CT's own grid: what interpolation and the outline cost, and what a copy of the CT gets."""

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks import rire
from volforge.errors import VolforgeError
from volforge.volume.intensity import AIR_HU

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]


@pytest.fixture(scope="module")
def patient(real):
    if not (real / rire.FOLDER).is_dir():
        pytest.skip(f"{rire.FOLDER} is not among the real volumes")
    return rire.Patient.load(real)


@pytest.fixture(scope="module")
def limits(patient):
    return rire.references(patient)


def test_the_transform_takes_the_corners_where_the_published_table_says(patient):
    """Points of `ct_T1.standard`, which names the two images by themselves."""
    for point, there in (
        ((0.0, 0.0, 0.0), (5.0369, -17.4970, -27.1650)),
        ((333.987, 333.987, 112.0), (363.6622, 285.7437, 95.6015)),
    ):
        assert np.allclose(patient.to_mr.TransformPoint(point), there, atol=2e-3)


def test_interpolation_alone_costs_some_forty_hounsfield_units(limits):
    floor = limits["true CT through the MR's grid and back"]
    assert 30 < floor["mae_hu"] < 60
    assert 100 < floor["bone_mae_hu"] < 180
    assert floor["outline_dice"] == 1


def test_the_outlines_of_the_true_pair_are_a_ceiling_below_one(limits):
    cut = limits["true CT cut to the MR's outline"]
    assert 0.95 < cut["outline_dice"] < 0.99
    assert cut["mae_hu"] < 20
    assert cut["bone_dice_250"] > 0.98


def test_the_ct_on_the_grid_of_the_mr_is_measured_better_than_a_constant(patient, limits):
    true = rire.values_of(patient.ct)
    there = patient.on_mr(true.astype(np.float32), AIR_HU)
    copy = rire.measure(patient, np.where(patient.mr_body, there, AIR_HU))
    flat = rire.measure(patient, np.where(patient.mr_body, 40, AIR_HU), patient.mr_body)
    assert copy["mae_hu"] < 0.5 * flat["mae_hu"]
    assert flat["bone_dice_250"] == 0
    assert flat["bone_bias_hu"] < -500
    shifted = rire.measure(patient, np.roll(np.where(patient.mr_body, there, AIR_HU), 4, axis=0))
    assert shifted["mae_hu"] > copy["mae_hu"] + 40


def test_a_prediction_must_lie_on_the_grid_of_the_mr(patient, tmp_path):
    values = np.full(patient.mr.GetSize(), 40, np.int16)
    sitk.WriteImage(rire.image_of(values, patient.mr), str(tmp_path / "good.nii.gz"))
    assert np.array_equal(rire.read_prediction(tmp_path / "good.nii.gz", patient), values)
    moved = rire.image_of(values, patient.mr)
    moved.SetOrigin((3.0, 0.0, 0.0))
    sitk.WriteImage(moved, str(tmp_path / "moved.nii.gz"))
    with pytest.raises(VolforgeError, match="another grid"):
        rire.read_prediction(tmp_path / "moved.nii.gz", patient)


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(VolforgeError, match="the pair of RIRE is not there"):
        rire.Patient.load(tmp_path)
