import nibabel as nib
import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tests.conftest import save
from volforge.errors import ScanError
from volforge.volume import label_map
from volforge.volume.geometry import Grid, Reorientation, reorientation_of
from volforge.volume.label_map import Target
from volforge.volume.labels import read_labels

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
        "voxels are not finite": np.where(array == 2, np.nan, array.astype(float)),
    }
    for expected, values in cases.items():
        with pytest.raises(ScanError, match=expected):
            read(save(tmp_path / "l.nii.gz", values, AFFINE), target)


def test_float_map_of_whole_numbers_is_accepted(tmp_path, target, array):
    assert read(save(tmp_path / "l.nii.gz", array.astype(np.float32), AFFINE), target).array.dtype == np.uint8


def stored(path, values, dtype):
    """Decimals saved with an integer header, as nibabel does it: under a slope."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm")
    nib.save(nib.Nifti1Image(values.astype(np.float64), AFFINE, header), path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_whole_numbers_under_a_slope_are_rounded_and_flagged(tmp_path, target, array, dtype):
    path = stored(tmp_path / "l.nii.gz", array * 2 + (array == 1), dtype)  # 3 and 4
    assert nib.load(path).dataobj.slope != 1
    labels = read(path, target, ids={"liver": 3, "spleen": 4})
    assert np.array_equal(labels.array, array * 2 + (array == 1))
    assert "labels_rounded" in labels.flags


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [((1000, 2035), np.int16), ((11, 14175), np.uint16), ((7, 100), np.uint8), ((1, 65535), np.int32)],
)
def test_large_ids_under_a_slope_are_those_that_were_saved(tmp_path, target, array, ids, dtype):
    """Integers under a slope lie up to half a step off: 0.11 for the ids of a fine parcellation in 16 bits."""
    values = np.choose(array, [0, *ids]).astype(np.uint16)
    labels = read(stored(tmp_path / "l.nii.gz", values, dtype), target, ids={"liver": ids[0], "spleen": ids[1]})
    assert np.array_equal(labels.array, values)


def test_single_precision_is_rounded_and_interpolation_refused(tmp_path, target, array):
    near = save(tmp_path / "n.nii.gz", (array * 2035.0 * (1 - 1e-6)).astype(np.float32), AFFINE)
    labels = read(near, target, ids={"liver": 2035, "spleen": 4070})
    assert np.array_equal(labels.array, array.astype(np.uint16) * 2035)
    assert (labels.flags, len(labels.notes)) == (["labels_rounded"], 1)
    smooth = (array + np.roll(array, 1, axis=0)) / 2
    for path in (
        save(tmp_path / "i.nii.gz", smooth.astype(np.float32), AFFINE),
        save(tmp_path / "o.nii.gz", np.where(array == 1, 0.998, array).astype(np.float32), AFFINE),
        *(stored(tmp_path / f"{np.dtype(d)}.nii.gz", smooth, d) for d in (np.uint8, np.int16)),
    ):
        with pytest.raises(ScanError, match="not whole numbers"):
            read(path, target)


def test_a_slope_that_lost_the_ids_is_named(tmp_path, target, array):
    path = stored(tmp_path / "l.nii.gz", np.choose(array, [0, 1001, 2035]), np.uint8)
    with pytest.raises(ScanError, match=r"steps of 7\.98.*cannot be told apart"):
        read(path, target, ids={"liver": 1001, "spleen": 2035})


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


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6), elements=st.integers(0, 5)),
    st.integers(1, 40),
)
def test_voxels_are_counted_by_id_whatever_is_counted_at_once(labels, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_map, "AT_ONCE", at_once)
        found = label_map.voxels_by_id(labels)
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    assert found == dict(zip(ids.tolist(), counts.tolist(), strict=True))
