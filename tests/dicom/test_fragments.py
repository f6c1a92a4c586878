"""One volume under several names, several volumes under one: read where nothing is in doubt, else a way round."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.conftest import save, volforge
from tests.dicom.files import PATIENT, phantom, uid, write_multi_frame, write_series
from tests.dicom.test_series import refused
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import read_sheet
from volforge.errors import ScanError, VolforgeError
from volforge.volume.dicom.segmentation import write_segmentation
from volforge.volume.folders import read_json
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

HU = phantom()


def found(folder):
    """Files of the rows that discover writes, and what it left out."""
    written = discover(folder, "dicom", folder.parent / "s.tsv", Options())
    sheet = read_sheet(folder.parent / "s.tsv")
    assert sheet.problems == []
    return [r.files["image"] for r in sheet.rows], dict(written.left_out)


# --- a UID for every slice


UIDS = {"SeriesInstanceUID": lambda k: uid("own series", k)}
STUDIES = {"StudyInstanceUID": lambda k: uid("own study", k), "FrameOfReferenceUID": lambda k: uid("own frame", k)}


@pytest.mark.parametrize(
    "tags", [UIDS, {**UIDS, "SeriesNumber": lambda k: k + 1}, {**UIDS, **STUDIES}], ids=["series", "numbers", "all"]
)
def test_slices_under_series_uids_of_their_own_are_one_volume(tmp_path, tags):
    write_series(tmp_path / "d/a", HU, **tags)
    volume = read_volume(tmp_path / "d/a", labels=False)
    assert np.array_equal(scaled(volume), HU)
    assert volume.flags == ["series_uids_joined"]
    assert volume.notes == ["20 slices under 20 series UIDs were read as one volume"]
    images, left_out = found(tmp_path / "d")
    assert [i.rsplit("/", 1)[-1] for i in images] == ["a"]
    assert left_out == {}
    labels = np.ones(HU.shape, np.uint8)
    with pytest.raises(
        VolforgeError, match=r"20 series UIDs, and a segmentation must name one\n  remedy: write .nii.gz"
    ):
        write_segmentation(tmp_path / "s.dcm", labels, tmp_path / "d/a", {"x": 1}, {})


def test_slices_in_folders_of_their_own(tmp_path):
    for k, path in enumerate(write_series(tmp_path / "d", HU, **UIDS)):
        (tmp_path / f"d/{k}").mkdir()
        path.rename(tmp_path / f"d/{k}/1.dcm")
    images, _ = found(tmp_path / "d")
    assert len(images) == 1
    assert np.array_equal(scaled(read_volume(tmp_path / "d", labels=False)), HU)
    assert np.array_equal(scaled(read_volume(Path(images[0]), labels=False)), HU)


def test_a_missing_slice_among_them_is_named_and_echoes_stay_apart(tmp_path):
    write_series(tmp_path / "hole", HU, skip=[7], **UIDS)
    assert "1 slice is missing: 1 between instance 7" in refused(tmp_path / "hole")
    for echo in (1, 2):
        write_series(
            tmp_path / "d/e", HU + echo, modality="MR", name=f"{echo}_{{}}.dcm", EchoTime=10 * echo, series=str(echo),
            SeriesInstanceUID=lambda k, e=echo: uid("own series", e, k),
        )  # fmt: skip
    message = refused(tmp_path / "d/e")
    assert message.startswith("2 volumes")
    images, _ = found(tmp_path / "d")
    assert len(images) == 2


def test_loose_slices_that_make_no_grid_can_be_listed(tmp_path):
    heights = np.array([0, 5, 7, 10, 16, 19])
    places = np.array([-40.0, -45, 0]) + heights[:, None] * np.array([0, 0, 1.0])
    files = write_series(tmp_path / "a", HU[:, :, :6], positions=places, **UIDS)
    with pytest.raises(ScanError, match="fewer than 3 slices") as error:
        read_volume(tmp_path / "a", labels=False)
    assert "name their files in a .txt list" in error.value.remedy
    (tmp_path / "l.txt").write_text("\n".join(map(str, files)))
    assert set(read_volume(tmp_path / "l.txt", labels=False).flags) == {
        "series_uids_joined",
        "uneven_spacing_resampled",
    }


def test_a_list_joins_what_has_several_uids(tmp_path):
    half = {
        k: (lambda i, k=k: uid(k, i // 10)) for k in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    }
    files = write_series(tmp_path / "a", HU, **half)
    assert refused(tmp_path / "a").startswith("2 volumes")
    (tmp_path / "l.txt").write_text("\n".join(map(str, files)))
    volume = read_volume(tmp_path / "l.txt", labels=False)
    assert np.array_equal(scaled(volume), HU)
    assert volume.flags == ["series_uids_joined"]
    others = write_series(
        tmp_path / "b", HU, series="b", patient={**PATIENT, "PatientID": "MRN-2"}, origin=(-40, -45, 70)
    )
    (tmp_path / "m.txt").write_text("\n".join(map(str, [*files, *others])))
    assert "volumes" in refused(tmp_path / "m.txt")


def test_loose_slices_that_are_there_twice(tmp_path):
    for name, more in (("a{}.dcm", 0), ("b{}.dcm", 0)):
        write_series(tmp_path / "copies", HU + more, name=name, **UIDS)
    volume = read_volume(tmp_path / "copies", labels=False)
    assert np.array_equal(scaled(volume), HU)
    assert set(volume.flags) == {"series_uids_joined", "duplicate_slices_dropped"}
    for k in range(2):
        write_series(
            tmp_path / "times", HU + k, name=f"{k}_{{}}.dcm", SeriesInstanceUID=lambda i, k=k: uid("own series", k, i)
        )
    assert "2 different slices at one place, and no tag tells them apart" in refused(tmp_path / "times")


def test_slices_of_two_patients_are_not_joined(tmp_path):
    write_series(tmp_path / "a", HU[:, :, :4], PatientID=lambda k: f"p{k % 2}", **UIDS)
    assert "fewer than 3 slices" in refused(tmp_path / "a")


# --- stacks of a multi-frame file


def enhanced(path, place_of, stack_of, **marks):
    """HU in one file; height in mm and StackID by frame; `marks`: item of FrameContentSequence by frame."""
    write_multi_frame(path, HU)
    d = pydicom.dcmread(path)
    for i, frame in enumerate(d.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [-40, -45, place_of(i)]
        content = Dataset()
        content.StackID = stack_of(i)
        for keyword, value in marks.items():
            setattr(content, keyword, value(i))
        frame.FrameContentSequence = Sequence([content])
    d.save_as(path)
    return path


@pytest.mark.parametrize(
    "stack_of", [lambda i: str(i % 3), lambda i: str(i % 2), lambda i: str(i // 10)], ids=["three", "two", "blocks"]
)
def test_stacks_that_make_one_grid_are_one_volume(tmp_path, stack_of):
    (tmp_path / "d").mkdir()
    path = enhanced(tmp_path / "d/m.dcm", lambda i: 10 + 3.0 * i, stack_of)
    volume = read_volume(path, labels=False)
    assert np.array_equal(scaled(volume), HU)
    assert volume.flags == ["stacks_joined"]
    assert found(tmp_path / "d") == ([str(path)], {})


@pytest.mark.parametrize(
    ("place_of", "stack_of", "marks"),
    [
        (lambda i: 10 + 3.0 * i + 50 * (i // 10), lambda i: str(i // 10), {}),  # two slabs
        (lambda i: 10 + 3.0 * (i % 10), lambda i: str(i // 10), {}),  # at one place
        (lambda i: 10 + 3.0 * (i % 10), lambda i: "1", {"TemporalPositionIndex": lambda i: 1 + i // 10}),
        (lambda i: 10 + 3.0 * i, lambda i: str(i // 10), {"TemporalPositionIndex": lambda i: 1 + i // 10}),
    ],
    ids=["slabs", "places", "times", "marks"],
)
def test_one_of_several_volumes_of_a_file_is_chosen(tmp_path, place_of, stack_of, marks):
    (tmp_path / "d").mkdir()
    path = enhanced(tmp_path / "d/m.dcm", place_of, stack_of, **marks)
    with pytest.raises(ScanError, match="2 volumes") as error:
        read_volume(path, labels=False)
    assert "`m.dcm#0`, `#1`" in error.value.remedy
    images, left_out = found(tmp_path / "d")
    assert left_out == {}
    assert images == [f"{path}#0", f"{path}#1"]
    for k in (0, 1):
        volume = read_volume(tmp_path / f"d/m.dcm#{k}", labels=False)
        assert np.array_equal(scaled(volume), HU[:, :, 10 * k : 10 * k + 10])
        assert volume.flags == []
    with pytest.raises(ScanError, match="no volume #2; there are #0 series"):
        read_volume(tmp_path / "d/m.dcm#2", labels=False)


def test_a_chosen_volume_is_imported_and_gets_its_segmentation(tmp_path):
    (tmp_path / "d").mkdir()
    path = enhanced(tmp_path / "d/DOE", lambda i: 10 + 3.0 * i + 50 * (i // 10), lambda i: str(i // 10))
    done = volforge("scan", "import", "--image", f"{path}#1", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert "DOE" not in (tmp_path / "o/record.json").read_text()
    image = nib.load(tmp_path / "o/image.nii.gz")
    labels = save(tmp_path / "l.nii.gz", (np.asarray(image.dataobj) > 60).astype(np.uint8), image.affine)
    (tmp_path / "t.tsv").write_text("structure\tid\nlens\t1\n")
    done = volforge(
        "scan", "restore", labels, "--record", tmp_path / "o/record.json", "--out", tmp_path / "p.dcm",
        "--series", f"{path}#1", "--structures", tmp_path / "t.tsv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = volforge(
        "scan", "import", "--image", f"{path}#1", "--labels", tmp_path / "p.dcm", "--out", tmp_path / "q",
        "--settings", settings(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "q/record.json")["labels"]["voxels"] == {"lens": int((HU[:, :, 10:] > 60).sum())}


def settings(folder):
    (folder / "settings.json").write_text('{"structures": {"lens": 1}}')
    return folder / "settings.json"
