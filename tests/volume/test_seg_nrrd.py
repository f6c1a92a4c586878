"""Segmentations of 3D Slicer: names, numbers that mean nothing, layers that overlap."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tests.conftest import ball_ct, save
from volforge.errors import ScanError
from volforge.volume.geometry import Grid, Reorientation
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.label_map import Target
from volforge.volume.labels import read_labels
from volforge.volume.read import read_volume
from volforge.volume.seg_nrrd import segments_of

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (16, 14, 12)
IDS = {"condyle": 1, "fossa": 2, "disc": 3}
CORRECT = [("condyle", 1, 0), ("fossa", 2, 0), ("disc", 3, 0)]


def write_segments(path, layers, segments, affine=AFFINE, start=(0, 0, 0)):
    """Write layers as 3D Slicer does, segments as (name, value, layer); `start`: first voxel of a cropped file."""
    images = [sitk.GetImageFromArray(a.transpose(2, 1, 0)) for a in layers]
    image = images[0] if len(images) == 1 else sitk.Compose(images)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    to_lps = np.diag([-1.0, -1.0, 1.0])
    image.SetSpacing(spacing.tolist())
    image.SetDirection((to_lps @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((to_lps @ (affine[:3, 3] + affine[:3, :3] @ np.array(start))).tolist())
    for n, (name, value, layer) in enumerate(segments):
        for key, text in (("ID", f"Segment_{n + 1}"), ("Name", name), ("LabelValue", value), ("Layer", layer)):
            if text is not None:
                image.SetMetaData(f"Segment{n}_{key}", str(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), True)
    return path


@pytest.fixture
def target():
    return Target(Grid(SHAPE, AFFINE), SHAPE, Reorientation((0, 1, 2), (False,) * 3))


@pytest.fixture
def array():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:8, 1:5], labels[8:12, 3:8, 6:9], labels[12:14, 9:12, 2:9] = 1, 2, 3
    return labels


def read(path, target, ids=IDS):
    return read_labels(path, target, ids, resample=False, mesh_frame="ras")


@pytest.mark.parametrize(
    ("values", "segments"),
    [
        ((1, 2, 3), CORRECT),
        ((2, 1, 3), [("fossa", 1, 0), ("condyle", 2, 0), ("disc", 3, 0)]),
        ((1, 2, 4), [("condyle", 1, 0), ("Fossa ", 2, 0), ("DISC", 4, 0)]),
        ((7, 2, 1), [("disc", 1, 0), ("fossa", 2, 0), ("Segment_9", 9, 0), ("condyle", 7, 0)]),
    ],
)
@pytest.mark.parametrize("name", ["l.seg.nrrd", "renamed.nrrd", "L.SEG.NRRD"])
def test_segments_are_the_structures_of_their_names(tmp_path, target, array, values, segments, name):
    path = write_segments(tmp_path / "x.seg.nrrd", [np.choose(array, [0, *values]).astype(np.uint8)], segments)
    labels = read(path.rename(tmp_path / name), target)
    assert np.array_equal(labels.array, array)
    assert labels.flags == []


def test_layers_that_overlap_are_read_and_counted(tmp_path, target, array):
    """The condyle grows into the fossa; where they overlap, the higher id holds, as for folders."""
    first = np.where(array == 1, 1, 0).astype(np.uint8)
    first[2:10, 3:8, 1:8] = 1
    second = np.choose(array, [0, 0, 2, 1]).astype(np.uint8)
    path = write_segments(
        tmp_path / "l.seg.nrrd", [first, second], [("condyle", 1, 0), ("disc", 1, 1), ("fossa", 2, 1)]
    )
    labels = read(path, target)
    assert np.array_equal(labels.array, np.where(array > 1, array, first))
    assert labels.overlap_voxels == int(((first > 0) & (array > 1)).sum()) == 20
    assert labels.flags == ["labels_overlap"]
    with pytest.raises(ScanError, match="segments overlap, in 2 layers"):
        read_volume(path, labels=True)


def test_old_files_hold_one_layer_for_each_segment(tmp_path, target, array):
    """3D Slicer before 4.11: neither value nor layer in the header, kind `list`."""
    layers = [np.where(array == i, 1, 0).astype(np.uint8) for i in (2, 3, 1)]
    path = write_segments(tmp_path / "l.seg.nrrd", layers, [(n, None, None) for n in ("fossa", "disc", "condyle")])
    content = path.read_bytes()
    assert b"kinds: vector" in content
    path.write_bytes(content.replace(b"kinds: vector", b"kinds: list", 1))
    assert [(s.value, s.layer) for s in segments_of(path)] == [(1, 0), (1, 1), (1, 2)]
    assert np.array_equal(read(path, target).array, array)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([("condyle", 1, 0), ("fosa", 2, 0), ("disc", 3, 0)], r"no structure is named after: 'fosa' \(value 2\)"),
        ([("condyle", 1, 0), ("Segment_2", 2, 0), ("disc", 3, 0)], "named after: 'Segment_2'"),
        ([("condyle", 1, 0), ("3", 2, 0), ("disc", 3, 0)], r"named after: '3' \(value 2\)"),
        (
            [("condyle", 1, 0), ("disc", 2, 0), ("Disc", 3, 0)],
            r"two segments mean the structure disc: 'disc' \(value 2\) and",
        ),
        ([("condyle", 1, 0), ("fossa", 1, 0), ("disc", 2, 0)], "two segments the same voxels: 'condyle' and 'fossa'"),
        ([("condyle", 1, 0), ("fossa", 2, 0)], "values that no segment of the header has: 3"),
        ([("condyle", 1, 0), ("fossa", 2, 0), ("disc", 3, 1)], r"in a layer that the file has not \(it has 1\)"),
        ([("condyle", 1, 0), ("fossa", "two", 0), ("disc", 3, 0)], "segment 'fossa' has the value 'two'"),
    ],
)
def test_contradictions_are_refused_with_segment_and_remedy(tmp_path, target, array, segments, expected):
    path = write_segments(tmp_path / "l.seg.nrrd", [array], segments)
    with pytest.raises(ScanError, match=expected) as error:
        read(path, target)
    assert error.value.where == str(path)
    assert "3D Slicer" in error.value.remedy


def test_an_empty_segment_may_have_any_name(tmp_path, target, array):
    path = write_segments(tmp_path / "l.seg.nrrd", [array], [*CORRECT, ("scratch", 4, 0)])
    labels = read(path, target)
    assert np.array_equal(labels.array, array)
    assert labels.notes == ["segments without a voxel: scratch"]


def test_segments_without_names_mean_their_numbers(tmp_path, target, array):
    unnamed = [(f"Segment_{i}", i, 0) for i in (1, 2, 3)]
    path = write_segments(tmp_path / "l.seg.nrrd", [array], unnamed)
    assert np.array_equal(read(path, target).array, array)
    assert np.array_equal(read(path, target, {}).array, array)
    with pytest.raises(ScanError, match=r"a value that no structure has: 'Segment_3' \(value 3\)"):
        read(path, target, {"condyle": 1, "fossa": 2})
    with pytest.raises(ScanError, match="names of segments need ids: condyle, fossa, disc"):
        read(write_segments(path, [array], CORRECT), target, {})


def test_names_of_other_scripts_and_letters_are_kept_in_messages(tmp_path, target, array):
    path = write_segments(tmp_path / "l.seg.nrrd", [array], [("condyle", 1, 0), ("関節窩", 2, 0), ("disc", 3, 0)])
    with pytest.raises(ScanError, match=r"named after: '関節窩' \(value 2\)"):
        read(path, target)


def test_a_cropped_segmentation_and_one_in_a_folder_are_laid_into_the_image(tmp_path, target, array):
    low, high = (2, 3, 1), (14, 12, 9)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    path = write_segments(tmp_path / "l.seg.nrrd", [array[box]], CORRECT, start=low)
    assert np.array_equal(read(path, target).array, array)
    one = (array[2:6, 3:8, 1:5] == 1).astype(np.uint8)
    write_segments(tmp_path / "folder/condyle.seg.nrrd", [one], [("my condyle", 1, 0)], start=(2, 3, 1))
    save(tmp_path / "folder/fossa.nii.gz", (array == 2).astype(np.uint8), AFFINE)
    assert np.array_equal(read(tmp_path / "folder", target).array, np.where(array == 3, 0, array))


def test_a_scan_is_imported_with_the_segments_of_its_file(tmp_path):
    image = save(tmp_path / "ct.nii.gz", ball_ct(), np.diag([-2.0, 2.0, 2.0, 1.0]))
    values = np.where(ball_ct() > 0, 2, 0).astype(np.uint8)
    values[18:22, 18:22, 13:17] = 1
    labels = write_segments(
        tmp_path / "l.seg.nrrd", [values], [("disc", 1, 0), ("fossa", 2, 0)], np.diag([-2.0, 2.0, 2.0, 1.0])
    )
    request = ScanRequest("s", "CT", "hu", {"image": image, "labels": labels})
    assert import_scan(request, ImportSettings(structures=IDS), tmp_path / "o", record_refusal=False)
    made = np.asanyarray(nib.load(tmp_path / "o/labels.nii.gz").dataobj)
    assert np.bincount(made.ravel()).tolist()[2:] == [int((values == 2).sum()), 64]


def test_a_structure_under_one_of_a_higher_id_is_named(tmp_path, target, array):
    """Partly covered structures are counted as overlap; of this one nothing is left."""
    save(tmp_path / "f/condyle.nii.gz", (array == 1).astype(np.uint8), AFFINE)
    save(tmp_path / "f/fossa.nii.gz", (array > 0).astype(np.uint8), AFFINE)
    labels = read(tmp_path / "f", target)
    assert labels.flags == ["labels_overlap", "structure_covered"]
    assert labels.notes == ["wholly covered by structures of higher ids, and lost: condyle"]
    save(tmp_path / "f/fossa.nii.gz", (array[::-1] > 0).astype(np.uint8), AFFINE)
    assert "structure_covered" not in read(tmp_path / "f", target).flags


def test_names_that_the_table_lists_are_those_of_segments_too(tmp_path, target, array):
    """In another script, or with signs that make the difference."""
    segments = [("下顎骨", 2, 0), ("PTV-", 3, 0), ("PTV+", 1, 0)]
    path = write_segments(tmp_path / "a.seg.nrrd", [array], segments)
    rois = {"condyle": ("PTV+",), "fossa": ("下顎骨",), "disc": ("PTV-",)}
    found = read_labels(path, target, IDS, resample=False, mesh_frame="ras", rois=rois)
    assert np.array_equal(found.array, array)


def test_segments_that_the_table_lists_together_are_joined(tmp_path, target, array):
    """As ROIs are; the second segment of one name has `#2` behind it, and is another one unless it is listed."""
    listed = [("left", 1, 0), ("right", 2, 0), ("disc", 3, 0)]
    path = write_segments(tmp_path / "a.seg.nrrd", [array], listed)
    ids = {"condyles": 1, "disc": 3}

    def joined(path, *rois):
        return read_labels(path, target, ids, resample=False, mesh_frame="ras", rois={"condyles": rois})

    labels = joined(path, "left", "right")
    assert np.array_equal(labels.array, np.choose(array, [0, 1, 1, 3]))
    assert labels.overlap_voxels == 0
    assert labels.notes == ["structure 'condyles' holds left and right"]
    twice = write_segments(tmp_path / "b.seg.nrrd", [array], [("left", 1, 0), ("left", 2, 0), ("disc", 3, 0)])
    assert np.array_equal(joined(twice, "left", "left#2").array, np.choose(array, [0, 1, 1, 3]))
    with pytest.raises(ScanError, match="two segments mean the structure condyles") as error:
        joined(twice, "left")
    assert "left\\left#2" in error.value.remedy


def test_a_name_that_may_mean_two_structures_is_refused_with_its_file(tmp_path, target, array):
    path = write_segments(tmp_path / "a.seg.nrrd", [array], [("PTV", 1, 0), ("fossa", 2, 0), ("disc", 3, 0)])
    rois = {"condyle": ("ptv",), "fossa": ("Ptv",)}
    with pytest.raises(ScanError, match="'PTV' may mean condyle or fossa") as error:
        read_labels(path, target, IDS, resample=False, mesh_frame="ras", rois=rois)
    assert error.value.where == str(path)
