"""The cohort and the configuration that neighbours and views are compared by; the comparison itself is by hand."""

import nibabel as nib
import numpy as np
from benchmarks.rire_volumes import ARMS, STUDY, thick, write_cohort, write_configuration

from tests.conftest import save
from volforge.workflow.run import load_run


def test_four_slices_become_one_in_the_same_place(tmp_path):
    values = np.arange(2 * 2 * 10).reshape(2, 2, 10).astype(np.int16)
    made = thick(values)
    assert made.shape == (2, 2, 2)
    assert made[0, 0].tolist() == [2, 6]  # means of 0 to 3 and of 4 to 7, 1.5 and 5.5, to the even number


def test_its_study_can_be_run_and_has_every_model_that_is_joined(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    save(data / "synthrad23_head_ct/ct/1BA012_ct.nii.gz", np.zeros((4, 4, 9), np.int16), affine)
    for name in ("mri_t1_example", "derived_ct_on_mr_grid"):
        save(data / f"rire_001_ct_mr/{name}.nii.gz", np.zeros((4, 4, 3), np.int16), affine)
    write_cohort(data, folder)
    made = nib.load(folder / "1BA012.nii.gz")
    assert made.shape == (4, 4, 2)
    assert made.header.get_zooms() == (1, 1, 4)
    assert made.affine[2, 3] == 1.5  # the middle of the first four
    study = load_run([write_configuration(folder, 9, "32-true", [0, 1])]).studies[STUDY]
    assert {(a, m) for a in study.settings.arms for m in study.models_of(a)} >= {m for v in ARMS.values() for m in v}
    assert study.training_of("third", "coronal").steps == 3
