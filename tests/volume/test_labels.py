import nibabel as nib
import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.conftest import save
from volforge.errors import ScanError
from volforge.volume.geometry import Grid, Reorientation, reorientation_of
from volforge.volume.labels import Target, read_labels

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (16, 14, 12)
IDS = {"liver": 1, "spleen": 2}


@pytest.fixture
def target():
    return Target(Grid(SHAPE, AFFINE), SHAPE, Reorientation((0, 1, 2), (False,) * 3))


@pytest.fixture
def array():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:8, 1:5] = 1
    labels[8:12, 3:8, 6:9] = 2
    return labels


def read(path, target, resample=False, ids=IDS):
    return read_labels(path, target, ids, resample=resample, mesh_frame="ras")


def test_other_axis_order_and_flips_are_matched_by_space(tmp_path, target, array):
    path = save(tmp_path / "l.nii.gz", array, AFFINE)
    turned = nib.load(path).as_reoriented(nib.orientations.axcodes2ornt(("P", "S", "R")))
    turned = nib.load(path).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    nib.save(turned, tmp_path / "t.nii.gz")
    assert np.array_equal(read(tmp_path / "t.nii.gz", target).array, array)


def test_another_grid_is_an_error_unless_asked_for(tmp_path, target, array):
    shifted = AFFINE.copy()
    shifted[0, 3] = 2.0
    path = save(tmp_path / "l.nii.gz", array, shifted)
    with pytest.raises(ScanError, match="the grid differs from the image's") as error:
        read(path, target)
    assert "label_grid: resample" in error.value.remedy
    moved = read(path, target, resample=True)
    assert "labels_resampled" in moved.flags
    assert np.array_equal(moved.array[1:], array[:-1])


def test_shape_mismatch_is_named(tmp_path, target, array):
    with pytest.raises(ScanError, match="16x14x11 voxels"):
        read(save(tmp_path / "l.nii.gz", array[:, :, 1:], AFFINE), target)


def test_unknown_ids_fractions_negatives_and_nan_are_refused(tmp_path, target, array):
    cases = {
        "label ids that no structure has: 7": np.where(array == 2, 7, array),
        "not whole numbers": array * 0.5,
        "label ids from -1": array.astype(np.int16) - 1,
        "holds NaN": np.where(array == 2, np.nan, array.astype(float)),
    }
    for expected, values in cases.items():
        with pytest.raises(ScanError, match=expected):
            read(save(tmp_path / "l.nii.gz", values, AFFINE), target)


def test_float_map_of_whole_numbers_is_accepted(tmp_path, target, array):
    assert read(save(tmp_path / "l.nii.gz", array.astype(np.float32), AFFINE), target).array.dtype == np.uint8


def test_folder_with_one_structure_per_file(tmp_path, target, array):
    folder = tmp_path / "s"
    save(folder / "liver.nii.gz", (array == 1).astype(np.uint8), AFFINE)
    overlap = array == 2
    overlap[2, 3, 1] = True
    save(folder / "Spleen.nii.gz", overlap.astype(np.uint8), AFFINE)
    labels = read(folder, target)
    assert labels.overlap_voxels == 1
    assert "labels_overlap" in labels.flags
    expected = array.copy()
    expected[2, 3, 1] = 2  # the structure with the higher id holds
    assert np.array_equal(labels.array, expected)


def test_folder_with_surfaces_and_pictures(tmp_path, target, array):
    folder = tmp_path / "s"
    (folder / "spleen").mkdir(parents=True)
    for k in range(SHAPE[2]):
        picture = ((array[:, :, k] == 2) * 255).astype(np.uint8).T
        Image.fromarray(picture).save(folder / "spleen" / f"{k + 1:04d}.tiff")
    low, high = AFFINE[:3, :3] @ [1.5, 2.5, 0.5], AFFINE[:3, :3] @ [5.5, 7.5, 4.5]
    trimesh.creation.box(bounds=[low, high]).export(folder / "liver.stl")
    assert np.array_equal(read(folder, target).array, array)


def test_picture_stack_follows_the_file_order_of_the_image(tmp_path, array):
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    turn = reorientation_of(affine)
    target = Target(turn.canonical(Grid(SHAPE, affine)), SHAPE, turn)
    folder = tmp_path / "s" / "liver"
    folder.mkdir(parents=True)
    for k in range(SHAPE[2]):
        Image.fromarray(((array[:, :, k] == 1) * 255).astype(np.uint8).T).save(folder / f"{k:04d}.png")
    assert np.array_equal(read(tmp_path / "s", target).array, turn.apply((array == 1).astype(np.uint8)))


def test_folder_errors(tmp_path, target, array):
    folder = tmp_path / "s"
    folder.mkdir()
    with pytest.raises(ScanError, match="no structure in this folder"):
        read(folder, target)
    save(folder / "kidney.nii.gz", array, AFFINE)
    with pytest.raises(ScanError, match=r"files that name no structure: kidney\.nii\.gz"):
        read(folder, target)
    with pytest.raises(ScanError, match="needs their ids"):
        read(folder, target, ids={})
