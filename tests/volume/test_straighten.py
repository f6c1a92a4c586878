"""Slices stacked off their normal: onto a perpendicular grid and back to the voxels of the file."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import save, volforge
from tests.dicom.files import phantom
from volforge.errors import ScanError
from volforge.volume.read import read_volume
from volforge.volume.straighten import Planes, onto_planes, planes_of_affine, straighten, straighten_affine


def tilted(degrees: float, order=(0, 1, 2)) -> np.ndarray:
    """Slices of 2 x 2.5 mm, 3 mm apart, stacked off their normal; their axis first, second or third in the file."""
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = [-2, 0, 0], [0, 2.5, 0]
    affine[:3, 2] = [0, 3 * np.tan(np.radians(degrees)), 3]
    affine[:3, 3] = [40, -45, 10]
    affine[:3, :3] = affine[:3, list(order)]
    return affine


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_every_voxel_lies_where_the_sheared_affine_says(order):
    affine = tilted(17, order)
    shape = tuple((20, 18, 16)[i] for i in order)
    place = np.einsum("ab,bxyz->axyz", affine[:3, :3], np.indices(shape).astype(float))
    ramp = np.einsum("a,axyz->xyz", [1.0, -2.0, 0.5], place)
    moved, grid = straighten_affine(ramp, affine, nearest=False, outside=-1e6)
    true = np.einsum("ab,bxyz->axyz", grid.affine[:3, :3], np.indices(grid.shape).astype(float))
    true += (grid.affine[:3, 3] - affine[:3, 3])[:, None, None, None]
    inside = moved > -1e3
    assert np.abs(moved - np.einsum("a,axyz->xyz", [1.0, -2.0, 0.5], true))[inside].max() < 1e-6
    assert inside.sum() >= 0.9 * ramp.size
    columns = grid.affine[:3, :3]
    assert np.abs(columns.T @ columns - np.diag((columns**2).sum(axis=0))).max() < 1e-9


@given(hnp.arrays(np.uint8, (7, 6, 5), elements=st.integers(0, 3)), st.floats(-25, 25))
@example(np.ones((7, 6, 5), dtype=np.uint8), 1e-9)
@settings(max_examples=40, deadline=None)
def test_labels_survive_the_way_there_and_back(labels, degrees):
    """Whole-pixel shifts apart, nearest neighbour twice moves a label by less than a pixel; none is invented."""
    planes, axis = planes_of_affine(labels.shape, tilted(degrees))
    assert axis == 2
    grid = planes.straight(3.0)
    there = straighten(labels, planes, grid, nearest=True, outside=0)
    back = onto_planes(there, grid, planes, nearest=True, outside=0)
    assert set(np.unique(there)) <= set(np.unique(labels)) | {0}
    assert np.array_equal(back, labels)


def test_shifted_slices_are_put_under_each_other():
    origins = np.array([[0.0, 0, 3 * k] for k in range(6)])
    origins[3:, 0] += 4.6
    planes = Planes((10, 8), origins, np.array([2.0, 0, 0]), np.array([0, 2.0, 0]))
    assert planes.needs_straightening(even=True)
    grid = planes.straight(3.0)
    assert grid.shape == (13, 8, 6)
    stack = np.zeros((10, 8, 6))
    stack[4:6] = 1
    moved = straighten(stack, planes, grid, nearest=False, outside=0)
    centres = (moved * np.arange(13)[:, None, None]).sum(axis=(0, 1)) / moved.sum(axis=(0, 1))
    assert np.allclose(np.diff(centres)[2], 2.3)
    assert np.allclose(np.delete(np.diff(centres), 2), 0)


def test_a_grid_without_two_perpendicular_axes_is_refused():
    affine = tilted(17)
    affine[0, 1] = 1
    affine[2, 0] = 1
    with pytest.raises(ScanError, match="no two of them are perpendicular"):
        planes_of_affine((5, 5, 5), affine)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_sheared_nifti_with_labels_is_imported_and_restored_on_its_own_grid(tmp_path, order):
    hu = phantom((40, 36, 30)).transpose(order)
    affine = tilted(14, order)
    labels = (hu > 500).astype(np.uint8)
    save(tmp_path / "ct.nii.gz", hu, affine)
    save(tmp_path / "l.nii.gz", labels, affine)
    done = volforge(
        "scan", "import", "--image", tmp_path / "ct.nii.gz", "--labels", tmp_path / "l.nii.gz", "--out", tmp_path / "o"
    )
    assert done.returncode == 0, done.stderr
    assert "gantry_tilt_resampled" in read_volume(tmp_path / "ct.nii.gz", labels=False).flags
    for name in ("labels", "image"):
        done = volforge(
            "scan", "restore", tmp_path / f"o/{name}.nii.gz", "--record", tmp_path / "o/record.json",
            "--out", tmp_path / f"{name}_back.nii.gz",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    back = nib.load(tmp_path / "labels_back.nii.gz")
    assert np.array_equal(back.affine, nib.load(tmp_path / "ct.nii.gz").affine)
    assert np.array_equal(np.asanyarray(back.dataobj), labels)
    image = np.asanyarray(nib.load(tmp_path / "image_back.nii.gz").dataobj)
    assert image.shape == hu.shape
    assert np.median(np.abs(image[labels > 0].astype(int) - 900)) == 0
