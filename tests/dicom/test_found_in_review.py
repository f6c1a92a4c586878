"""What a reviewer found wrong in silence: each case is right now, or refused with the reason."""

import math
import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.conftest import ball_ct, save, volforge
from tests.dicom.files import phantom, put_pixels, uid, write_series, write_structure_set
from tests.dicom.test_labels import FRAME, circle, labels_of, target_of
from tests.dicom.test_series import refused
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.errors import ScanError
from volforge.volume.folders import read_json
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

HU = phantom()


def edit(files, change):
    for k, path in enumerate(files):
        d = pydicom.dcmread(path)
        change(k, d)
        d.save_as(path)


# --- contours


def counts(labels):
    return (labels.array > 0).sum(axis=(0, 1))


def test_contours_of_one_slice_whose_heights_are_rounded_apart(tmp_path):
    write_series(tmp_path / "s", HU)
    polygons = [
        c for k in range(5, 9) for c in (circle(9, 10.004 + 3 * k, (-20, 0)), circle(9, 9.997 + 3 * k, (20, 0)))
    ]
    both = counts(
        labels_of(write_structure_set(tmp_path / "r.dcm", {"lens": polygons}, FRAME), target_of(tmp_path / "s"))
    )
    assert (both[5:9] > 1.8 * 9**2 * np.pi / 5).all()


def test_a_contour_stored_twice_and_contours_that_cross(tmp_path):
    write_series(tmp_path / "s", HU)
    target = target_of(tmp_path / "s")
    once = counts(labels_of(write_structure_set(tmp_path / "a.dcm", {"lens": [circle(15, 40)]}, FRAME), target))
    twice = counts(labels_of(write_structure_set(tmp_path / "b.dcm", {"lens": [circle(15, 40)] * 2}, FRAME), target))
    assert np.array_equal(once, twice)
    crossing = [circle(15, 40, (-7.3, 1)), circle(15, 40, (7.4, 1))]
    labels = labels_of(write_structure_set(tmp_path / "c.dcm", {"lens": crossing}, FRAME), target)
    assert "contours_cross" in labels.flags
    assert counts(labels).max() > once.max()
    island = [circle(30, 40), circle(20, 40), circle(8, 40)]
    ring = counts(labels_of(write_structure_set(tmp_path / "d.dcm", {"lens": island}, FRAME), target)).max()
    assert ring == pytest.approx(np.pi * (30**2 - 20**2 + 8**2) / 5, rel=0.05)


def test_thin_shells_protruding_holes_and_touching_islands(tmp_path):
    from volforge.volume.dicom.contours import Contour, fill_plane

    def ring(radius, centre=(100.3, 100.4), n=720):
        a = np.linspace(0, 2 * np.pi, n, endpoint=False)
        return Contour(np.stack([centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a), np.zeros(n)], axis=1))

    def area(*contours):
        mask, cross, _ = fill_plane(list(contours), 2, (201, 201))
        return int(mask.sum()), cross

    shell, cross = area(ring(90), ring(89))
    assert shell == pytest.approx(np.pi * (90**2 - 89**2), rel=0.1)
    assert not cross
    hole, cross = area(ring(60), ring(20, (141.5, 100.4)))  # 1.2 pixels beyond its outer contour
    assert hole == pytest.approx(np.pi * (60**2 - 20**2), rel=0.02)
    assert not cross
    islands, cross = area(ring(20, (60.3, 100.4)), ring(20, (100.2, 100.4)))
    assert islands == pytest.approx(2 * np.pi * 20**2, rel=0.02)
    assert not cross
    twice, _ = area(ring(60), ring(60), ring(20), ring(20))
    assert twice == pytest.approx(np.pi * (60**2 - 20**2), rel=0.02)


def test_gaps_between_contours_are_said_and_rois_of_another_frame_left_out(tmp_path):
    write_series(tmp_path / "s", HU)
    target = target_of(tmp_path / "s")
    heights = [2, 3, 4, 5, 6, 7, 9, 11]
    comb = write_structure_set(tmp_path / "a.dcm", {"lens": [circle(15, 10 + 3 * k) for k in heights]}, FRAME)
    labels = labels_of(comb, target)
    assert "contours_sparse" in labels.flags
    assert counts(labels)[2:12].all()  # every second slice: filled from the nearest
    far = write_structure_set(tmp_path / "far.dcm", {"lens": [circle(15, 16), circle(15, 55)]}, FRAME)
    labels = labels_of(far, target)
    assert np.count_nonzero(counts(labels)) == 2
    assert "1 gaps between its contours" in labels.notes[0]
    two = write_structure_set(tmp_path / "b.dcm", {"lens": [circle(15, 40)], "mandible_l": [circle(25, 40)]}, FRAME)
    edit([two], lambda k, d: setattr(d.StructureSetROISequence[1], "ReferencedFrameOfReferenceUID", "1.2.3.4"))
    labels = labels_of(two, target)
    assert set(np.unique(labels.array)) == {0, 1}
    assert any("another frame of reference" in n for n in labels.notes)


# --- segmentations


def restored(tmp_path, series, labels_path):
    (tmp_path / "s.structures.tsv").write_text("structure\tid\nlens\t1\nmandible_l\t2\n")
    return volforge(
        "scan", "restore", labels_path, "--record", tmp_path / "o/record.json", "--series", series,
        "--structures", tmp_path / "s.structures.tsv", "--out", tmp_path / "seg.dcm",
    )  # fmt: skip


def made_labels(tmp_path, series):
    import nibabel as nib

    assert volforge("scan", "import", "--image", series, "--out", tmp_path / "o").returncode == 0
    image = nib.load(tmp_path / "o/image.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 8:20, 4:12], labels[22:30, 10:22, 6:14] = 1, 2
    return labels, save(tmp_path / "p.nii.gz", labels, image.affine)


@pytest.mark.parametrize(("step", "digits"), [(1.25, 1), (3.333, 1), (0.625, 2)])
def test_round_trip_where_positions_are_rounded(tmp_path, step, digits):
    places = np.array([-40.0, -45, 0]) + np.round(np.arange(20)[:, None] * step, digits) * np.array([0, 0, 1.0])
    write_series(tmp_path / "s", HU, positions=places)
    labels, path = made_labels(tmp_path, tmp_path / "s")
    assert restored(tmp_path, tmp_path / "s", path).returncode == 0
    assert np.array_equal(labels_of(tmp_path / "seg.dcm", target_of(tmp_path / "s")).array, labels)


def test_segmentation_beside_and_beyond_the_image(tmp_path):
    write_series(tmp_path / "s", HU)
    _, path = made_labels(tmp_path, tmp_path / "s")
    assert restored(tmp_path, tmp_path / "s", path).returncode == 0
    write_series(tmp_path / "part", HU[:, :, :8], series="p")
    partly = labels_of(tmp_path / "seg.dcm", target_of(tmp_path / "part"))
    assert "labels_leave_image" in partly.flags
    write_series(tmp_path / "far", HU, series="f", origin=(-40, -45, 3010))
    with pytest.raises(ScanError, match="none of its structures has a voxel"):
        labels_of(tmp_path / "seg.dcm", target_of(tmp_path / "far"))


def test_segmentation_of_another_tilted_series_is_not_read_as_empty(tmp_path):
    t = math.radians(18)
    tilt = (1, 0, 0, 0, math.cos(t), -math.sin(t))
    write_series(tmp_path / "s", HU, orientation=tilt)
    write_series(tmp_path / "other", HU, orientation=tilt, series="o", origin=(-40, -45, 11.2))
    _, path = made_labels(tmp_path, tmp_path / "other")
    assert restored(tmp_path, tmp_path / "other", path).returncode == 0
    with pytest.raises(ScanError):
        labels_of(tmp_path / "seg.dcm", target_of(tmp_path / "s"))


def test_series_that_cannot_carry_a_segmentation(tmp_path):
    files = write_series(tmp_path / "s", HU)
    edit(files, lambda k, d: delattr(d, "FrameOfReferenceUID"))
    _, path = made_labels(tmp_path, tmp_path / "s")
    done = restored(tmp_path, tmp_path / "s", path)
    assert done.returncode == 1
    assert "lacks FrameOfReferenceUID" in done.stderr
    assert "Traceback" not in done.stderr


# --- values


def test_big_endian_and_tables_and_mixed_scaling(tmp_path):
    big = write_series(tmp_path / "b", HU, intercept=0)
    for path in big:
        d = pydicom.dcmread(path)
        stored = np.clip(d.pixel_array, -2048, 2047).astype(">i2")
        d.PixelData, d.BitsStored, d.HighBit = stored.tobytes(), 12, 11
        d.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
        pydicom.dcmwrite(path, d, implicit_vr=False, little_endian=False, force_encoding=True)
    assert np.array_equal(scaled(read_volume(tmp_path / "b", labels=False)), HU)
    files = write_series(tmp_path / "m", HU)

    def bare(k, d):
        if k == 3:
            del d.RescaleSlope, d.RescaleIntercept

    edit(files, bare)
    assert "1 of 20 slices lack RescaleSlope" in refused(tmp_path / "m")
    files = write_series(tmp_path / "t", HU)
    edit(files, lambda k, d: setattr(d, "ModalityLUTSequence", Sequence([Dataset()])))
    assert "table (modality LUT)" in refused(tmp_path / "t")


def test_negative_slope_on_a_tilted_series_is_filled_with_air(tmp_path):
    t = math.radians(20)
    write_series(
        tmp_path / "s", HU, orientation=(1, 0, 0, 0, math.cos(t), -math.sin(t)), slope=-1, intercept=0, dtype=np.int16
    )
    values = scaled(read_volume(tmp_path / "s", labels=False))
    assert values[0, 0, -1] == values.min() == -1000


def test_tilted_label_series_keeps_its_ids(tmp_path):
    t = math.radians(15)
    ids = np.where(HU > 500, 9, np.where(HU > 0, 3, 0)).astype(np.int16)
    tilt = (1, 0, 0, 0, math.cos(t), -math.sin(t))
    write_series(tmp_path / "ct", HU, orientation=tilt)
    write_series(tmp_path / "l", ids, orientation=tilt, series="l", modality="MR")
    labels = labels_of(tmp_path / "l", target_of(tmp_path / "ct"), {"a": 3, "b": 9})
    assert set(np.unique(labels.array)) == {0, 3, 9}


# --- what belongs together


def test_patients_and_kernels_that_interleave_are_told_apart(tmp_path):
    other = {"PatientName": "x", "PatientID": "other", "PatientBirthDate": ""}
    write_series(tmp_path / "p", HU)
    for path in write_series(tmp_path / "q", HU, patient=other, origin=(-40, -45, 11.5)):
        shutil.copy(path, tmp_path / "p" / f"b{path.name}")
    assert refused(tmp_path / "p").startswith("2 volumes")
    write_series(tmp_path / "k", HU, ConvolutionKernel="B30")
    write_series(tmp_path / "k", HU, ConvolutionKernel="B70", origin=(-40, -45, 11.5), name="b{:03d}.dcm", first=101)
    assert refused(tmp_path / "k").startswith("2 volumes")
    write_series(tmp_path / "i", HU, AcquisitionNumber=1)
    write_series(tmp_path / "i", HU, AcquisitionNumber=2, origin=(-40, -45, 11.5), name="b{:03d}.dcm", first=101)
    assert "AcquisitionNumber 2" in refused(tmp_path / "i")
    write_series(tmp_path / "stations", HU, AcquisitionNumber=lambda k: 1 + k // 7)  # table positions of one scan
    assert read_volume(tmp_path / "stations", labels=False).grid.shape == HU.shape


def test_echoes_with_blank_slices_keep_all_their_slices(tmp_path):
    blank = HU + 1024
    blank[:, :, :3] = 0
    for echo in (1, 2):
        write_series(
            tmp_path / "d/s",
            blank,
            modality="MR",
            EchoTime=echo * 4.6,
            name=f"{echo}_{{:03d}}.dcm",
            first=1 + 100 * echo,
        )
    written = discover(tmp_path / "d", "dicom", tmp_path / "s.tsv", Options())
    assert written.scans == 2
    assert {len(p.read_text().splitlines()) for p in (tmp_path / "s.files").iterdir()} == {20}


def test_magnitude_and_phase_of_two_echoes(tmp_path):
    for n, (kind, echo) in enumerate([("M", 4), ("P", 4), ("M", 9), ("P", 9)]):
        write_series(
            tmp_path / "d/s", HU + n, modality="MR", ImageType=["ORIGINAL", "PRIMARY", kind], EchoNumbers=echo,
            name=f"{n}_{{:03d}}.dcm", first=1 + 100 * n,
        )  # fmt: skip
    assert discover(tmp_path / "d", "dicom", tmp_path / "s.tsv", Options()).scans == 4


def test_torn_files_without_suffix_are_no_fewer_slices(tmp_path):
    files = write_series(tmp_path / "s", HU, name="IM{:05d}")
    files[0].write_bytes(b"")
    assert "[IM00001]" in refused(tmp_path / "s")
    files = write_series(tmp_path / "t", HU, name="IM{:05d}")
    files[-1].write_bytes(b"garbage" * 40)
    assert "[IM00020]" in refused(tmp_path / "t")
    files = write_series(tmp_path / "u", HU, name="IM{:05d}")
    (tmp_path / "u" / "README").write_text("a remark")
    assert read_volume(tmp_path / "u", labels=False).grid.shape == HU.shape


def test_instance_numbers_prove_a_run_of_holes_and_a_declared_step_is_compared(tmp_path):
    write_series(tmp_path / "s", phantom((40, 36, 40)), skip=[5, 7, 9, 11])
    assert "4 slices are missing" in refused(tmp_path / "s")
    write_series(tmp_path / "d", HU, SpacingBetweenSlices=1.5)
    assert read_volume(tmp_path / "d", labels=False).flags == ["declared_spacing_differs"]


def test_a_slice_far_away_costs_no_memory(tmp_path):
    places = np.array([-40.0, -45, 0]) + np.arange(20)[:, None] * np.array([0, 0, 3.0])
    places[7, 0] += 450_000
    write_series(tmp_path / "s", HU, positions=places)
    assert "wrong ImagePositionPatient" in refused(tmp_path / "s")


# --- names of patients in names of files


def test_file_names_stay_out_of_records(tmp_path):
    files = write_series(tmp_path / "DOE_JANE", HU, name="DOE_JANE.{}.IMA")
    shutil.copy(files[3], tmp_path / "DOE_JANE" / "DOE_JANE.again.IMA")
    done = volforge("scan", "import", "--image", tmp_path / "DOE_JANE", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    record = read_json(tmp_path / "a/record.json")
    assert record["notes"]
    assert "DOE" not in (tmp_path / "a/record.json").read_text()
    files[6].unlink()
    done = volforge("scan", "import", "--image", tmp_path / "DOE_JANE", "--out", tmp_path / "b", "--record-refusal")
    text = (tmp_path / "b/record.json").read_text()
    assert "1 slice is missing" in text
    assert "DOE" not in text
    shown = volforge("scan", "import", "--image", tmp_path / "DOE_JANE", "--out", tmp_path / "c")
    assert "DOE_JANE.6.IMA" in shown.stderr  # the terminal may say it


# --- lists and pictures


def test_lists_in_other_encodings_and_links(tmp_path):
    files = write_series(tmp_path / "real", HU)
    listing = "\n".join(str(f) for f in files)
    (tmp_path / "bom.txt").write_text(listing, encoding="utf-8-sig")
    assert read_volume(tmp_path / "bom.txt", labels=False).grid.shape == HU.shape
    (tmp_path / "latin.txt").write_bytes(listing.encode() + "\n# ü".encode("latin-1"))
    assert "not UTF-8" in refused(tmp_path / "latin.txt")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer/inner").symlink_to(tmp_path / "real")
    assert read_volume(tmp_path / "outer", labels=False).grid.shape == HU.shape
    (tmp_path / "outer/back").symlink_to(tmp_path / "outer")  # a circle
    assert read_volume(tmp_path / "outer", labels=False).grid.shape == HU.shape


def test_ranges_backwards_and_pictures_in_colour(tmp_path):
    image = save(tmp_path / "ct.nii.gz", ball_ct())
    save(tmp_path / "l.nii.gz", (ball_ct() > 0).astype(np.uint8))
    (tmp_path / "l.tsv").write_text("structure\tfile\tvalue\nlens\tl.nii.gz\t5-2\n")
    with pytest.raises(ScanError, match="runs backwards"):
        labels_of(tmp_path / "l.tsv", target_of(image))
    (tmp_path / "l.tsv").write_text("structure\tfile\tvalue\nlens\tl.nii.gz\t1\nmandible_l\tl.nii.gz\t7\n")
    assert "structure 'mandible_l' has no voxel" in labels_of(tmp_path / "l.tsv", target_of(image)).notes
    (tmp_path / "g").mkdir()
    for k in range(30):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[10:20, 10:20, 1] = 255
        Image.fromarray(picture).save(tmp_path / f"g/{k:02d}.png")
    (tmp_path / "l.tsv").write_text("structure\tfile\nlens\tg\n")
    with pytest.raises(ScanError, match="colour"):
        labels_of(tmp_path / "l.tsv", target_of(image))


def test_screenshots_beside_a_series_are_left_out(tmp_path):
    write_series(tmp_path / "s", HU)
    for k in range(4):
        from tests.dicom.files import base, write

        d = base("OT", "shots", k)
        put_pixels(d, np.zeros((30, 30), np.uint8))
        write(d, tmp_path / f"s/shot{k}.dcm")
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == ["other_stacks_left_out"]
    assert uid("series", "a")  # the factory's own


def test_marker_files_and_a_renamed_directory_are_no_slices(tmp_path):
    write_series(tmp_path / "s", HU, name="{}")
    (tmp_path / "s/LOCKFILE").touch()
    (tmp_path / "s/0").write_text("a remark")
    from pydicom.dataset import FileMetaDataset

    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    directory.FileSetID = "X"
    directory.save_as(tmp_path / "s/DICOMDIR_old", enforce_file_format=True)
    assert read_volume(tmp_path / "s", labels=False).grid.shape == HU.shape


def test_restore_puts_labels_where_their_affine_says(tmp_path):
    import nibabel as nib

    write_series(tmp_path / "s", HU)
    labels, path = made_labels(tmp_path, tmp_path / "s")
    assert restored(tmp_path, tmp_path / "s", path).returncode == 0
    first = (tmp_path / "seg.dcm").read_bytes()
    image = nib.load(path)
    turned = nib.Nifti1Image(labels.astype(np.int16), image.affine).as_reoriented(
        nib.orientations.axcodes2ornt(("L", "P", "S"))
    )
    nib.save(turned, path)  # another axis order and type: the same labels
    assert restored(tmp_path, tmp_path / "s", path).returncode == 0
    assert (tmp_path / "seg.dcm").read_bytes() == first
    shifted = image.affine.copy()
    shifted[:3, 3] += 10
    nib.save(nib.Nifti1Image(labels, shifted), path)
    done = restored(tmp_path, tmp_path / "s", path)
    assert done.returncode == 1
    assert "not on the scan's grid" in done.stderr
    nib.save(nib.Nifti1Image(labels, image.affine), path)
    other = {"PatientName": "Other", "PatientID": "7", "PatientBirthDate": ""}
    write_series(tmp_path / "t", HU, patient=other)
    done = restored(tmp_path, tmp_path / "t", path)
    assert done.returncode == 1
    assert "not the files that the scan was imported from" in done.stderr
