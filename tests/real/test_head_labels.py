"""Label maps of heads for synthesis of MR: regions of the brain merged, and layers around it from geometry."""

import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.real
PROGRAM = ROOT / "config/examples/head_from_muse.py"
NAME = "IXI013-HH-1212_T1"
LAYERS = range(16, 21)  # meninges, skull, scalp, subcutaneous, rest


def labelled(image, out):
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(image), str(out)], capture_output=True, text=True, check=False
    )


def test_a_head_is_labelled_whole_from_its_brain_and_its_outline(real, tmp_path):
    folder = real / "ixi_t1_2mm"
    done = labelled(folder / f"t1/{NAME}.nii.gz", tmp_path / "labels.nii.gz")
    assert done.returncode == 0, done.stderr
    made = nib.load(tmp_path / "labels.nii.gz")
    regions = np.asarray(nib.load(folder / f"dlmuse/{NAME}_DLMUSE.nii.gz").dataobj)
    image = nib.load(folder / f"t1/{NAME}.nii.gz")
    assert np.allclose(made.affine, image.affine)
    labels = np.asarray(made.dataobj)
    brain = (labels > 0) & (labels < 16)
    assert np.array_equal(brain, regions > 0)
    assert set(np.unique(labels)) == set(range(21))
    litres = {k: (labels == k).sum() * 8e-6 for k in LAYERS}
    assert all(0.05 < v < 2.5 for v in litres.values()), litres
    assert 2.5 < (labels > 0).sum() * 8e-6 < 6.5
    # the image's values have no part in the layers, but through the outline
    shutil.copytree(folder / "dlmuse", tmp_path / "dlmuse", ignore=lambda _, names: [n for n in names if NAME not in n])
    (tmp_path / "t1").mkdir()
    values = np.asarray(image.dataobj, np.float32)
    values[regions > 0] = np.random.default_rng(0).permutation(values[regions > 0])
    nib.save(nib.Nifti1Image(values, image.affine), tmp_path / f"t1/{NAME}.nii.gz")
    assert labelled(tmp_path / f"t1/{NAME}.nii.gz", tmp_path / "other.nii.gz").returncode == 0
    other = np.asarray(nib.load(tmp_path / "other.nii.gz").dataobj)
    assert (other == labels).mean() > 0.99


def test_a_head_without_regions_is_an_error(real, tmp_path):
    (tmp_path / "t1").mkdir()
    shutil.copy(real / f"ixi_t1_2mm/t1/{NAME}.nii.gz", tmp_path / "t1")
    done = labelled(tmp_path / f"t1/{NAME}.nii.gz", tmp_path / "labels.nii.gz")
    assert done.returncode == 1
    assert "no brain regions" in done.stderr
    assert not (tmp_path / "labels.nii.gz").exists()
