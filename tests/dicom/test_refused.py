"""DICOM series that cannot be used as they are: refused, with what is wrong, where, and what to do."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless

from tests.dicom.files import base, phantom, put_pixels, write, write_multi_frame, write_series
from tests.dicom.test_series import HU, refused
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.volume.read import read_volume


def test_missing_slices_are_named(tmp_path):
    write_series(tmp_path / "s", HU, skip=[7, 12, 13])
    message = refused(tmp_path / "s")
    assert "3 slices are missing" in message
    assert "1 between instance 7 [IM0007.dcm] and instance 9 [IM0009.dcm]" in message
    assert "2 between instance 12 [IM0012.dcm] and instance 15 [IM0015.dcm]" in message


def test_wild_spacing(tmp_path):
    heights = np.array([0, 3, 4, 9.5, 11, 18.2, 19, 40])
    places = np.array([-40.0, -45, 0]) + heights[:, None] * np.array([0, 0, 1.0])
    write_series(tmp_path / "s", HU[:, :, :8], positions=places)
    assert "uneven steps of 0.8 to 21 mm" in refused(tmp_path / "s")


def test_a_slice_too_many_is_no_seam(tmp_path):
    heights = np.sort([*np.arange(12) * 3.0, 15.8])
    places = np.array([-40.0, -45, 0]) + heights[:, None] * np.array([0, 0, 1.0])
    write_series(tmp_path / "s", HU[:, :, :13], positions=places)
    assert "uneven steps of 0.8 to 3 mm" in refused(tmp_path / "s")


def test_two_series_and_mixed_sizes_are_told_apart(tmp_path):
    write_series(tmp_path / "two", HU)
    write_series(tmp_path / "two", HU, series="b", name="B{}.dcm", SeriesNumber=9)
    message = refused(tmp_path / "two")
    assert message.startswith("2 volumes: series number 3 (CT, 20 slices of 40x36")
    assert "series number 9" in message
    write_series(tmp_path / "mixed", HU)
    write_series(tmp_path / "mixed", phantom((32, 32, 5)), name="B{}.dcm", origin=(-40, -45, 100))
    assert "40x36" in refused(tmp_path / "mixed")
    assert "32x32" in refused(tmp_path / "mixed")


def test_four_dimensional_series(tmp_path):
    for time in range(3):  # told apart by a tag: three volumes, each with a name
        write_series(
            tmp_path / "t",
            HU + time,
            name=f"{time}_{{:03d}}.dcm",
            first=1 + 100 * time,
            TemporalPositionIdentifier=time + 1,
        )
    message = refused(tmp_path / "t")
    assert message.startswith("3 volumes")
    assert "TemporalPositionIdentifier 2" in message
    for time in range(2):  # told apart by nothing
        write_series(tmp_path / "n", HU + time, name=f"{time}_{{:03d}}.dcm", first=1 + 100 * time)
    assert "no tag tells them apart" in refused(tmp_path / "n")


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_tags_are_named(tmp_path, tag):
    files = write_series(tmp_path / "s", HU[:, :, :6])
    for path in files:
        d = pydicom.dcmread(path)
        delattr(d, tag)
        d.save_as(path)
    message = refused(tmp_path / "s")
    assert tag in message
    assert "6 of 6 slices" in message


@pytest.mark.parametrize("which", [[5], [18, 19], [15, 16, 17, 18, 19]])
def test_a_tag_missing_in_some_slices_is_no_shorter_series(tmp_path, which):
    files = write_series(tmp_path / "s", HU)
    for n in which:
        d = pydicom.dcmread(files[n])
        del d.ImagePositionPatient
        d.save_as(files[n])
    assert f"ImagePositionPatient missing or invalid in {len(which)} of 20 slices" in refused(tmp_path / "s")


@pytest.mark.parametrize(
    "tag", ["FrameOfReferenceUID", "PatientID", "StudyInstanceUID", "EchoTime", "ConvolutionKernel"]
)
def test_a_tag_blank_or_odd_in_some_slices_tears_no_series(tmp_path, tag):
    """What tells volumes apart must be said by all of them."""
    for name, change in (("blank", lambda k: None), ("own", lambda k: f"{k + 1}")):
        files = write_series(tmp_path / name, HU, modality="MR", EchoTime=4.6, ConvolutionKernel="B30")
        for k, path in enumerate(files):
            d = pydicom.dcmread(path)
            if name == "blank" and k % 2:
                delattr(d, tag)
            elif name == "own":
                setattr(d, tag, change(k))
            d.save_as(path)
        assert read_volume(tmp_path / name, labels=False).grid.shape == HU.shape, name


def test_echo_times_that_differ_in_their_last_digit(tmp_path):
    write_series(tmp_path / "s", HU + 1024, modality="MR", EchoTime=lambda k: 2.456 + 0.001 * (k % 2))
    assert read_volume(tmp_path / "s", labels=False).flags == []


def test_slices_of_another_direction_are_not_dropped(tmp_path):
    write_series(tmp_path / "s", HU)
    write_series(tmp_path / "s", HU[:, :, :2], orientation=(1, 0, 0, 0, 0, -1), name="odd{}.dcm", first=50)
    assert "2 slices of the series do not fit the others" in refused(tmp_path / "s")


def test_single_slice_and_lone_file(tmp_path):
    files = write_series(tmp_path / "s", HU[:, :, :1])
    assert "single slice is no volume" in refused(files[0])
    assert "single slice is no volume" in refused(tmp_path / "s")
    files = write_series(tmp_path / "t", HU)
    assert "one slice of a series of 20" in refused(files[3])


def test_truncated_empty_and_foreign(tmp_path):
    files = write_series(tmp_path / "s", HU)
    files[6].write_bytes(files[6].read_bytes()[:-500])
    assert "IM0007.dcm" in refused(tmp_path / "s")
    files = write_series(tmp_path / "h", HU)
    files[6].write_bytes(files[6].read_bytes()[:300])
    assert "IM0007.dcm" in refused(tmp_path / "h")
    (tmp_path / "e").mkdir()
    assert "empty" in refused(tmp_path / "e")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "notes.md").write_text("hello")
    assert "none of 1 files is DICOM (a file [notes.md]" in refused(tmp_path / "f")
    (tmp_path / "f" / "a.dcm").write_text("hello, no slice")
    assert "[a.dcm] cannot be read as DICOM" in refused(tmp_path / "f")


@pytest.mark.parametrize("kind", ["PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "HSV"])
@pytest.mark.parametrize("form", ["slices", "multi-frame"])
def test_values_that_are_no_grey_scale_are_refused_by_name(tmp_path, kind, form):
    """Indices of a palette have one sample per pixel, as grey values do."""
    hu = HU[:, :, :6]
    files = write_series(tmp_path / "s", hu) if form == "slices" else [write_multi_frame(tmp_path / "s/m.dcm", hu)]
    for path in files:
        d = pydicom.dcmread(path)
        d.PhotometricInterpretation = kind
        if kind not in ("PALETTE COLOR", "HSV"):
            d.SamplesPerPixel, d.PlanarConfiguration, d.PixelData = 3, 0, d.PixelData * 3
        d.save_as(path)
    assert f"colour pictures ({kind})" in refused(tmp_path / "s")
    write_series(tmp_path / "grey", HU, series="b", PhotometricInterpretation="MONOCHROME1")
    written = discover(tmp_path, "dicom", tmp_path / "s.tsv", Options())
    assert written.scans == 1
    assert any(kind in what and "colour pictures" in why for what, why in written.left_out)


def test_truncated_compressed_file(tmp_path):
    files = write_series(tmp_path / "s", HU, dtype=np.uint16)
    for path in files:
        d = pydicom.dcmread(path)
        d.compress(JPEGLSLossless, generate_instance_uid=False)
        d.save_as(path)
    files[3].write_bytes(files[3].read_bytes()[:-400])
    assert "IM0004.dcm" in refused(tmp_path / "s")


def test_colour_and_unknown_compression(tmp_path):
    for k in range(4):
        d = base("OT", "c", k + 1)
        d.ImagePositionPatient, d.ImageOrientationPatient, d.PixelSpacing = [0, 0, 5 * k], [1, 0, 0, 0, 1, 0], [9, 9]
        put_pixels(d, np.zeros((8, 8), np.uint8))
        d.SamplesPerPixel, d.PlanarConfiguration, d.PhotometricInterpretation = 3, 0, "RGB"
        d.PixelData = bytes(192)
        write(d, tmp_path / "c" / f"{k}.dcm")
    assert "colour" in refused(tmp_path / "c")
    for path in write_series(tmp_path / "m", HU[:, :, :4]):
        d = pydicom.dcmread(path)
        d.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # a film
        d.PixelData = pydicom.encaps.encapsulate([d.PixelData])
        d["PixelData"].is_undefined_length = True
        d.save_as(path)
    assert "pixels of a file [IM0001.dcm] cannot be read" in refused(tmp_path / "m")


def test_broken_orientation_and_structure_set_alone(tmp_path):
    write_series(tmp_path / "o", HU, orientation=(1, 0, 0, 1, 0, 0))
    assert "ImageOrientationPatient missing or invalid" in refused(tmp_path / "o")
    d = base("SR", "r", 1)
    write(d, tmp_path / "r" / "report.dcm")
    assert "no image among 1 DICOM files (SR)" in refused(tmp_path / "r")
