"""What a series of several volumes is made of is said in words; what cannot be read is called by its name."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import DataElement

from tests.dicom.files import phantom, uid, write_series
from tests.dicom.test_series import refused
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import read_sheet
from volforge.errors import VolforgeError
from volforge.volume.dicom.segmentation import write_segmentation
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

HU = phantom()


def private(path, group, element, creator, vr, value):
    d = pydicom.dcmread(path)
    d.private_block(group, creator, create=True).add_new(element, vr, value)
    d.save_as(path)


@pytest.mark.parametrize(
    ("tag", "values", "shift"),
    [
        ("EchoTime", (4.6, 9.2), 0),
        ("EchoTime", (4.6, 9.2), 1.5),  # its slices lie between those of the other
        ("EchoNumbers", (1, 2), 0),
        ("EchoNumbers", (1, 2), 1.5),
        ("DiffusionBValue", (0.0, 1000.0), 1.5),
        ("DiffusionBValue", (0.0, 1000.0), 0),
        ("TemporalPositionIdentifier", (1, 2), 0),
        ("AcquisitionNumber", (1, 2), 0),
        ("InversionTime", (150.0, 2500.0), 0),
        ("FlipAngle", (4.0, 18.0), 0),
    ],
)
def test_volumes_of_one_series_are_told_apart_by_their_tag(tmp_path, tag, values, shift):
    for k, value in enumerate(values):
        write_series(
            tmp_path / "s", HU + k, modality="MR", name=f"{k}_{{:03d}}.dcm", first=1 + 100 * k,
            origin=(-40, -45, 10 + shift * k), **{tag: value},
        )  # fmt: skip
    message = refused(tmp_path / "s")
    assert message.startswith("2 volumes")
    for value in values:
        assert f"{tag} {value}" in message
    discover(tmp_path, "dicom", tmp_path / "s.tsv", Options())
    parts = sorted(r.free["part"] for r in read_sheet(tmp_path / "s.tsv").rows)
    assert parts == sorted(f"{tag} {value}" for value in values)


@pytest.mark.parametrize(
    ("group", "element", "creator", "vr", "values"),
    [
        (0x0019, 0x0C, "SIEMENS MR HEADER", "IS", (0, 1000)),
        (0x0043, 0x39, "GEMS_PARM_01", "IS", ([0, 0, 0, 0], [1_000_001_000, 0, 0, 0])),
        (0x2001, 0x03, "Philips Imaging DD 001", "FL", (0.0, 1000.0)),
    ],
)
def test_b_values_of_scanners_that_have_no_public_tag(tmp_path, group, element, creator, vr, values):
    for k, value in enumerate(values):
        files = write_series(tmp_path / "s", HU + k, modality="MR", name=f"{k}_{{:03d}}.dcm", first=1 + 100 * k)
        for path in files:
            private(path, group, element, creator, vr, value)
    message = refused(tmp_path / "s")
    assert "DiffusionBValue 0" in message
    assert "DiffusionBValue 1000" in message


def test_patients_and_spacings_are_told_apart_without_a_field_of_the_patient(tmp_path):
    for patient in ("MRN-1", "MRN-2"):
        write_series(tmp_path / "p", HU, name=f"{patient}_{{}}.dcm", PatientID=patient)
    message = refused(tmp_path / "p")
    assert "patient 1" in message
    assert "patient 2" in message
    assert "MRN" not in message.replace("[MRN", "")
    write_series(tmp_path / "q", HU)
    write_series(tmp_path / "q", HU, name="b{}.dcm", spacing=(1.0, 1.0))
    assert "pixels of 1x1 mm" in refused(tmp_path / "q")


@pytest.mark.parametrize("by", ["ImageType", "private", "private, untyped"])
def test_a_mosaic_is_called_one(tmp_path, by):
    places = np.tile([-40.0, -45, 10], (6, 1))
    files = write_series(tmp_path / "d/m", HU[:, :, :6], modality="MR", positions=places, series="m")
    for path in files:
        if by == "ImageType":
            d = pydicom.dcmread(path)
            d.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
            d.save_as(path)
        elif by == "private":
            private(path, 0x0019, 0x0A, "SIEMENS MR HEADER", "US", 36)
        else:
            d = pydicom.dcmread(path)
            d.add(DataElement(0x00190010, "LO", "SIEMENS MR HEADER"))
            d.add(DataElement(0x0019100A, "UN", (36).to_bytes(2, "little")))
            d.save_as(path)
    assert "Siemens mosaic: each of 6 pictures" in refused(tmp_path / "d/m")
    assert "Siemens mosaic" in refused(files[0])
    write_series(tmp_path / "d/a", HU)
    written = discover(tmp_path / "d", "dicom", tmp_path / "s.tsv", Options())
    assert written.scans == 1
    assert any("mosaic" in what and "dcm2niix" in why for what, why in written.left_out)
    assert np.array_equal(scaled(read_volume(tmp_path / "d", labels=False)), HU)


@pytest.mark.parametrize(
    ("tag", "value"),
    [("StudyDate", "a9f03b2e"), ("StudyTime", "zz11"), ("PatientBirthDate", "c0ffee"), ("PatientSex", "f00d")],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_hashed_dates_are_named_where_a_segmentation_must_repeat_them(tmp_path, tag, value):
    write_series(tmp_path / "s", HU, **{tag: value})
    labels = (HU > 500).astype(np.uint8)
    with pytest.raises(VolforgeError, match=f"{tag} of instance 1 .* holds no .* \\(hashed by an anonymiser") as error:
        write_segmentation(tmp_path / "p.dcm", labels, tmp_path / "s", {"a": 1}, {})
    assert f"empty {tag}" in error.value.remedy
    assert value not in error.value.message
    write_series(tmp_path / "s", HU, **{tag: ""})
    write_segmentation(tmp_path / "p.dcm", labels, tmp_path / "s", {"a": 1}, {})


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_hashed_date_of_the_content_is_not_passed_on(tmp_path):
    write_series(tmp_path / "s", HU, ContentDate="a9f03b2e", ContentTime="x")
    write_segmentation(tmp_path / "p.dcm", (HU > 500).astype(np.uint8), tmp_path / "s", {"a": 1}, {})
    written = pydicom.dcmread(tmp_path / "p.dcm")
    assert written.ContentDate == "20200102"
    assert written.ContentTime == "000000"


def test_echoes_whose_slices_have_series_uids_of_their_own_are_told_apart(tmp_path):
    for name, time in (("a", 4.6), ("b", 9.2)):
        own = {"SeriesInstanceUID": lambda k, n=name: uid(n, k), "SOPInstanceUID": lambda k, n=name: uid(n, "slice", k)}
        write_series(tmp_path / "d" / name, HU, EchoTime=time, **own)
    message = refused(tmp_path / "d")
    assert message.startswith("2 volumes: series number 3 (CT, 20 slices of 40x36, EchoTime 4.6; first")
    assert "40x36, EchoTime 9.2; first" in message
