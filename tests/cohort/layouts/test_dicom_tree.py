"""A tree of DICOM as an archive sends it: every volume a row, patients by pseudonym, labels on their series."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.cohort.layouts import trees
from tests.conftest import ball_ct, save, snakemake, volforge
from tests.dicom.files import base, phantom, uid, write, write_multi_frame, write_series, write_structure_set
from tests.dicom.test_labels import circle
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import read_sheet
from volforge.errors import VolforgeError, errors_of
from volforge.volume.folders import read_json
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

HU = phantom()
OTHER = {"PatientName": "Other^Name", "PatientID": "MRN-2", "PatientBirthDate": "19800101"}


def rows_of(tmp_path, options=None):
    out = tmp_path / "s.tsv"
    written = discover(tmp_path / "data", "dicom", out, options or Options())
    sheet = read_sheet(out)
    assert errors_of(sheet.problems) == []
    return {r.scan: r for r in sheet.rows}, written


def reference(path, series: str) -> None:
    """Let a structure set name the series that it was drawn on."""
    d = pydicom.dcmread(path)
    item, study, frame = Dataset(), Dataset(), Dataset()
    item.SeriesInstanceUID = uid("series", series)
    study.RTReferencedSeriesSequence = Sequence([item])
    frame.RTReferencedStudySequence = Sequence([study])
    d.ReferencedFrameOfReferenceSequence = Sequence([frame])
    d.save_as(path)


def test_a_mixed_tree(tmp_path):
    data = tmp_path / "data"
    write_series(data / "Secret^Name" / "ct", HU)
    write_series(data / "Secret^Name" / "mr", HU + 1024, series="m", modality="MR", SeriesNumber=5)
    for series in ("x", "y"):  # two series in one folder, as a flat export has them
        write_series(data / "flat", HU, series=series, name=series + "{:03d}", SeriesNumber=7, patient=OTHER)
    write_series(data / "scout", HU[:, :, :4], series="l", ImageType=["ORIGINAL", "LOCALIZER"])
    write_series(data / "short", HU[:, :, :2], series="k")
    write_series(data / "holes", HU, series="h", skip=[4], SeriesNumber=11)
    pet = write_series(data / "pet", HU, series="p", modality="MR")
    for path in pet:
        d = pydicom.dcmread(path)
        d.Modality = "PT"
        d.save_as(path)
    write(base("SR", "r", 1), data / "report.dcm")
    (data / "DICOMDIR").write_bytes(b"x")
    (data / "readme.txt").write_text("hello")
    (data / "broken.dcm").write_bytes(b"no")
    rt = write_structure_set(data / "rt.dcm", {"Mandible (L)": [circle(20, 40)]}, uid("frame", "MRN-4711"))
    reference(rt, "a")
    write_multi_frame(data / "multi.dcm", HU)
    rows, written = rows_of(tmp_path)
    assert len(rows) == 5
    assert len({r.subject for r in rows.values()}) == 2
    assert all(r.subject.startswith("p") and len(r.subject) == 11 for r in rows.values())
    by_number = {(r.free["series_number"], r.modality): r for r in rows.values()}
    ct = next(r for r in rows.values() if "labels" in r.files)
    assert ct.label_source == "expert"
    assert ct.files["image"].endswith("Secret^Name/ct")
    mr = by_number["5", "MR"]
    assert ct.subject == mr.subject
    assert ct.frame == mr.frame == "1"  # one frame of reference
    flat = [r for r in rows.values() if r.free["series_number"] == "7"]
    assert len(flat) == 2
    for row in flat:
        assert row.files["image"].endswith(".txt")
        assert np.array_equal(scaled(read_volume(__import__("pathlib").Path(row.files["image"]), labels=False)), HU)
    assert written.structures is not None
    assert "mandible_l\t1" in written.structures.read_text()
    reasons = "\n".join(f"{what}: {why}" for what, why in written.left_out)
    for reason in (
        "localiser",
        "fewer than 3 slices",
        "1 slice is missing",
        "modality PT",
        "report.dcm: SR",
        "broken.dcm: damaged",
    ):
        assert reason in reasons, reason
    text = (tmp_path / "s.tsv").read_text()
    assert "4711" not in text
    assert "1970" not in text


def test_pseudonyms_follow_the_id_and_the_salt(tmp_path):
    write_series(tmp_path / "data" / "a", HU[:, :, :4])
    write_series(tmp_path / "data" / "b", HU[:, :, :4], series="b", patient=OTHER)
    first, _ = rows_of(tmp_path)
    again, _ = rows_of(tmp_path)
    salted, _ = rows_of(tmp_path, Options(salt="ours"))
    assert first.keys() == again.keys()
    assert not {r.subject for r in first.values()} & {r.subject for r in salted.values()}


def test_labels_that_belong_to_nothing_are_named(tmp_path):
    write_series(tmp_path / "data" / "a", HU)
    for name, series in (("one", "a"), ("two", "a"), ("lost", "nowhere")):
        path = write_structure_set(tmp_path / f"data/{name}.dcm", {"x": [circle(20, 40)]}, uid("frame", "MRN-4711"))
        reference(path, series)
    rows, written = rows_of(tmp_path)
    assert len([r for r in rows.values() if "labels" in r.files]) == 1
    reasons = dict(written.left_out)
    assert "has labels already" in reasons["two.dcm"]
    assert "its series is not here" in reasons["lost.dcm"]


def slices_of(path, *series: tuple[str, int]) -> None:
    """Let the contours of a structure set name slices: series and instance number."""
    d = pydicom.dcmread(path)
    for contour, (name, number) in zip(d.ROIContourSequence[0].ContourSequence, series, strict=True):
        image = Dataset()
        image.ReferencedSOPInstanceUID = uid("instance", name, number)
        contour.ContourImageSequence = Sequence([image])
    d.save_as(path)


@pytest.mark.parametrize(
    ("refer", "attached", "reason"),
    [
        (lambda p: slices_of(p, ("a", 3), ("a", 4)), "3", ""),
        (lambda p: (reference(p, "renamed"), slices_of(p, ("m", 3), ("m", 4))), "5", ""),
        (lambda p: slices_of(p, ("a", 3), ("m", 4)), "", "the series of its slices holds several volumes"),
        (lambda p: slices_of(p, ("gone", 3), ("gone", 4)), "", "its series is not here"),
        (lambda p: None, "", "its frame of reference holds several volumes"),
        (lambda p: tag(p, ReferencedFrameOfReferenceUID=uid("frame", "MRN-2")), "9", ""),
        (lambda p: tag(p, ReferencedFrameOfReferenceUID=None, FrameOfReferenceUID=uid("frame", "MRN-2")), "9", ""),
        (lambda p: tag(p, ReferencedFrameOfReferenceUID="1.2.3"), "", "its frame of reference is not here"),
    ],
)
def test_structure_sets_that_name_no_series(tmp_path, refer, attached, reason):
    """A CT and an MR of one frame of reference, and a CT of another."""
    data = tmp_path / "data"
    write_series(data / "ct", HU)
    write_series(data / "mr", HU + 1024, series="m", modality="MR", SeriesNumber=5)
    write_series(data / "other", HU, series="o", patient=OTHER, SeriesNumber=9)
    contours = {"x": [circle(20, 40), circle(20, 43)]}
    path = write_structure_set(data / "rt.dcm", contours, uid("frame", "MRN-4711"))
    tag(path, FrameOfReferenceUID=None)
    refer(path)
    rows, written = rows_of(tmp_path)
    assert [r.free["series_number"] for r in rows.values() if "labels" in r.files] == ([attached] if attached else [])
    assert dict(written.left_out).get("rt.dcm", "") == reason


def tag(path, **tags) -> None:
    """Change the frames of reference of a structure set."""
    d = pydicom.dcmread(path)
    for keyword, value in tags.items():
        for item in [d, *d.StructureSetROISequence]:
            if keyword in item:
                delattr(item, keyword)
        if value:
            setattr(d if keyword == "FrameOfReferenceUID" else d.StructureSetROISequence[0], keyword, value)
    d.save_as(path)


def test_slices_tell_the_volumes_of_one_series_apart(tmp_path):
    for time in (1, 2):
        write_series(
            tmp_path / "data/a", HU + time, name=f"{time}_{{:03d}}.dcm", first=1 + 100 * time,
            TemporalPositionIdentifier=time,
        )  # fmt: skip
    path = write_structure_set(tmp_path / "data/rt.dcm", {"x": [circle(20, 40)]}, uid("frame", "MRN-4711"))
    reference(path, "a")
    assert dict(rows_of(tmp_path)[1].left_out) == {"rt.dcm": "its series holds several volumes"}
    slices_of(path, ("a", 203))
    rows, _ = rows_of(tmp_path)
    labelled = [r for r in rows.values() if "labels" in r.files]
    assert len(labelled) == 1
    assert "2_203.dcm" in Path(labelled[0].files["image"]).read_text()


def test_a_tree_without_volumes_says_why(tmp_path):
    write_series(tmp_path / "data" / "a", HU[:, :, :2])
    with pytest.raises(VolforgeError, match="fewer than 3 slices"):
        rows_of(tmp_path)


# --- from a layout to imported scans


def run(tmp_path, sheet, settings=""):
    (tmp_path / "c.yaml").write_text(f"cohorts:\n  c:\n    sheet: {sheet}\n{settings}")
    done = snakemake("--cores", "2", "--configfile", "c.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tmp_path / "results/cohorts/c"


@pytest.mark.slow
def test_dicom_layouts_run_to_the_report(tmp_path):
    """CHAOS as published (slices from the head down, pictures by file name) and an archive's tree."""
    base = tmp_path / "chaos/Train_Sets"
    liver = (HU > 500).astype(np.uint8)
    write_series(base / "CT/5/DICOM_anon", HU, reverse=True, name="i{:04d},0000b.dcm", first=0)
    write_series(base / "MR/5/T2SPIR/DICOM_anon", HU + 1024, series="m", modality="MR", name="IMG-0002-{:05d}.dcm")
    n = HU.shape[2]
    for k in range(n):
        for folder, name, value in (
            ("CT/5/Ground", f"liver_GT_{n - 1 - k:03d}.png", 255),
            ("MR/5/T2SPIR/Ground", f"IMG-0002-{k + 1:05d}.png", 126),
        ):
            (base / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(liver[:, :, k].T * value).save(base / folder / name)
    done = volforge("cohort", "discover", tmp_path / "chaos", "--layout", "chaos", "--out", tmp_path / "c.tsv")
    assert done.returncode == 0, done.stderr
    folder = run(tmp_path, "c.tsv")
    for scan, structure in (("CT-5", "liver"), ("MR-5-T2SPIR", "kidney_right")):
        record = read_json(folder / f"scans/{scan}/record.json")
        assert record["labels"]["voxels"] == {structure: int(liver.sum())}
    labels, image = (scaled(read_volume(folder / f"scans/CT-5/{n}.nii.gz", labels=True)) for n in ("labels", "image"))
    assert (image[labels > 0] == 900).all()
    assert "MRN-4711" not in "".join(p.read_text(errors="ignore") for p in (tmp_path / "results").rglob("*.json"))


@pytest.mark.slow
def test_layouts_of_volumes_run_to_the_report(tmp_path):
    """Organs in a cropped file each (HaN-Seg), a 4-D image (MSD), a defect with an STL implant alone (MUG500+)."""
    import nibabel as nib
    import SimpleITK as sitk
    import trimesh

    ct = ball_ct()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    case = tmp_path / "data/set_1/case_01"
    case.mkdir(parents=True)
    image = sitk.GetImageFromArray(ct.transpose(2, 1, 0))
    image.SetSpacing((2, 2, 2))
    sitk.WriteImage(image, str(case / "case_01_IMG_CT.nrrd"))
    organ = (image > 0)[14:26, 15:25, 10:20]
    sitk.WriteImage(organ, str(case / "case_01_OAR_Lips.seg.nrrd"))
    done = volforge("cohort", "discover", tmp_path / "data", "--layout", "hanseg", "--out", tmp_path / "h.tsv")
    assert done.returncode == 0, done.stderr
    record = read_json(run(tmp_path, "h.tsv") / "scans/case_01-ct/record.json")
    assert record["labels"]["voxels"] == {"lips": int(sitk.GetArrayFromImage(organ).sum())}

    task = tmp_path / "msd/Task05_Prostate"
    trees.msd(tmp_path / "msd")
    stack = np.stack([ct + 1000, (ct + 1000) // 2], axis=3)
    for n in (0, 1):
        nib.save(nib.Nifti1Image(stack, affine), task / f"imagesTr/prostate_0{n}.nii.gz")
        save(task / f"labelsTr/prostate_0{n}.nii.gz", (ct > 0).astype(np.uint8), affine)
    done = volforge("cohort", "discover", tmp_path / "msd", "--layout", "msd", "--out", tmp_path / "m.tsv")
    assert done.returncode == 0, done.stderr
    scans = run(tmp_path, "m.tsv", "    background: keep\n") / "scans"
    second = scaled(read_volume(scans / "prostate_01-ADC/image.nii.gz", labels=False))
    assert np.array_equal(second, stack[..., 1])

    skull = tmp_path / "mug/craniotomy_skull/B0001"
    skull.mkdir(parents=True)
    mask = sitk.Cast((image > 0), sitk.sitkUInt8)
    sitk.WriteImage(mask, str(skull / "B0001.nrrd"))
    plate = trimesh.creation.box(extents=(16, 16, 8))
    plate.apply_translation((39, 39, 55))
    plate.export(skull / "B0001_implant.stl")
    done = volforge("cohort", "discover", tmp_path / "mug", "--layout", "mug500", "--out", tmp_path / "b.tsv")
    assert done.returncode == 0, done.stderr
    folder = run(tmp_path, "b.tsv", "    recipes: [r]\nrecipes:\n  r: {kind: region, around: image}\n")
    record = read_json(folder / "scans/B0001/record.json")
    assert record["implant"]["volume_ml"] == pytest.approx(16 * 16 * 8 / 1000, rel=0.02)
    assert read_json(folder / "recipes/r/B0001/record.json")["accepted"]
    assert (folder / "scans/B0001/qc.png").exists()


def test_patient_ids_that_look_alike_are_one_patient_and_case_is_told(tmp_path):
    for n, patient in enumerate(("MRN 2", "MRN  2", "MRN\u00a02", "mrn 2")):
        files = write_series(tmp_path / "data" / str(n), HU, series=f"s{n}", patient=OTHER | {"PatientID": patient})
        for path in files:
            d = pydicom.dcmread(path)
            d.SpecificCharacterSet, d.PatientID = "ISO_IR 192", patient
            d.save_as(path)
    rows, written = rows_of(tmp_path)
    assert [n for n in written.notes if "differ only in case" in n]
    assert sorted(len([r for r in rows.values() if r.subject == s]) for s in {r.subject for r in rows.values()}) == [
        1,
        3,
    ]
