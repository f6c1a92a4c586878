"""Two hundred small scans, twenty of them damaged in twenty ways: the others go on, each bad one is listed."""

import csv
import gzip
import io
import struct

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from tests.conftest import save
from tests.dicom.files import phantom, write_multi_frame, write_series
from tests.hostile.damage import small_ct
from volforge.cohort.collect import collect_scans
from volforge.cohort.sheet import SheetRow
from volforge.config.models import Cohort
from volforge.errors import VolforgeError
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

COUNT = 200


def nifti(change, suffix=".nii.gz"):
    """A way to damage a NIfTI file: its bytes, unpacked, are changed."""

    def make(folder, rng):
        content = bytearray(nib.Nifti1Image(small_ct(), np.diag([2.0, 2, 2, 1])).to_bytes())
        content[123] = 2  # mm
        content = change(content, rng)
        path = folder / f"a{suffix}"
        path.write_bytes(gzip.compress(bytes(content), 1) if suffix == ".nii.gz" else bytes(content))
        return path

    return make


def field(offset, form, *values):
    def change(content, rng):
        struct.pack_into(form, content, offset, *values)
        return content

    return nifti(change)


def voxels(change):
    def make(folder, rng):
        return save(folder / "a.nii.gz", change(small_ct(), rng))

    return make


def with_nan(array, rng):
    array = array.astype(np.float32)
    array[tuple(rng.integers(0, 24, 3))] = np.nan
    return array


def packed(change):
    def make(folder, rng):
        path = save(folder / "a.nii.gz", small_ct())
        path.write_bytes(change(bytearray(path.read_bytes()), rng))
        return path

    return make


def flipped(content, rng):
    at = int(rng.integers(len(content) // 3, len(content) - 8))
    content[at] ^= 0xFF
    return content


def nrrd(old, new):
    def make(folder, rng):
        sitk.WriteImage(sitk.GetImageFromArray(small_ct()), str(folder / "a.nrrd"))
        content = (folder / "a.nrrd").read_bytes()
        assert old in content
        (folder / "a.nrrd").write_bytes(content.replace(old, new))
        return folder / "a.nrrd"

    return make


def series(**tags):
    def make(folder, rng):
        write_series(folder / "d", phantom((24, 22, 10)), spacing=(3, 3), step=(0, 0, 5), **tags)
        return folder / "d"

    return make


def lost_slice(folder, rng):
    write_series(folder / "d", phantom((24, 22, 10)), spacing=(3, 3), step=(0, 0, 5), skip=[int(rng.integers(3, 7))])
    return folder / "d"


def frames(folder, rng):
    path = write_multi_frame(folder / "a.dcm", phantom((24, 22, 10)), step=5)
    dataset = pydicom.dcmread(io.BytesIO(path.read_bytes()))
    dataset.NumberOfFrames = 10**7
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    return path


WAYS = {
    "petabyte": (field(40, "<4h", 3, 32767, 32767, 32767), "promises 32767 x 32767 x 32767"),
    "no_axis": (field(42, "<h", 0), "no length"),
    "four_axes": (field(40, "<5h", 4, 24, 24, 12, 2), "4-D"),
    "data_type": (field(70, "<h", 777), "damaged"),
    "flat_affine": (field(296, "<4f", 0, 0, 0, 0), "not invertible"),
    "infinite_affine": (field(280, "<f", np.inf), "not finite|not invertible|damaged"),
    "sheared_affine": (field(280, "<12f", 2, 0.9, 0, 0, 0, 2, 0.9, 0, 0.9, 0, 2, 0), "sheared"),
    "micrometres": (field(280, "<12f", 2000, 0, 0, 0, 0, 2000, 0, 0, 0, 0, 2000, 0), "implausible"),
    "nan": (voxels(with_nan), "NaN"),
    "constant": (voxels(lambda a, r: np.full_like(a, int(r.integers(-900, 900)))), "the image is empty"),
    "shifted": (voxels(lambda a, r: a + 1024), "HU \\+ 1024"),
    "grey_levels": (voxels(lambda a, r: (a > -500).astype(np.uint8) * 200), "no air near -1000 HU"),
    "cut_off": (packed(lambda c, r: c[: int(r.integers(400, len(c) - 100))]), "damaged or truncated"),
    "flipped_bits": (packed(flipped), "damaged or truncated"),
    "no_gzip": (packed(lambda c, r: bytes(r.integers(0, 256, 500, dtype=np.uint8))), "damaged or truncated"),
    "nrrd_sizes": (nrrd(b"sizes: 24 24 24", b"sizes: 99 99 99"), "promises 99 x 99 x 99"),
    "nrrd_origin": (nrrd(b"space origin: (0,0,0)", b"space origin: (0,0,"), "spaceorigin is"),
    "dicom_no_place": (series(ImagePositionPatient=lambda k: None), "ImagePositionPatient"),
    "dicom_lost_slice": (lost_slice, "missing|gap|step|lacks"),
    "dicom_frames": (frames, "promises 10000000 frames"),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Imported scans: rows of a sheet, the folder of their records, the damaged ones."""
    folder = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(20)
    bad = dict(zip(sorted(rng.choice(COUNT, len(WAYS), replace=False).tolist()), WAYS, strict=True))
    settings = ImportSettings(body_mask=Cohort(sheet="s.tsv").body_mask)
    good = save(folder / "good.nii.gz", small_ct())
    rows, ways = [], {}
    for k in range(COUNT):
        scan = f"scan-{k:03d}"
        path = good
        if k in bad:
            (folder / scan).mkdir()
            path = WAYS[bad[k]][0](folder / scan, rng)
            ways[scan] = bad[k]
        request = ScanRequest(scan, "CT", "hu", {"image": path})
        accepted = import_scan(request, settings, folder / "records" / scan, record_refusal=True)
        assert accepted == (scan not in ways), (scan, ways.get(scan))
        rows.append(SheetRow(k + 2, f"p{k}", scan, "CT", files={"image": str(path)}))
    return rows, folder / "records", ways


SETTINGS = {"seed": 1, "folds": 5, "splits": {"train": 0.7, "val": 0.1, "test": 0.2}, "makes_labels": False}


def test_the_others_go_on_and_each_bad_one_is_listed_with_its_reason(cohort, tmp_path):
    import re

    rows, records, ways = cohort
    assert len(ways) == 20
    counts = collect_scans(rows, records, tmp_path / "scans.tsv", {**SETTINGS, "on_bad_scan": "exclude"})
    assert counts == (180, 20)
    with (tmp_path / "scans.tsv").open(encoding="utf-8", newline="") as file:
        lines = {r["scan"]: r for r in csv.DictReader(file, delimiter="\t")}
    for scan, way in ways.items():
        assert lines[scan]["accepted"] == "0"
        assert re.search(WAYS[way][1], lines[scan]["reason"]), (way, lines[scan]["reason"])
        assert str(records.parent) not in lines[scan]["reason"]
        assert [p.name for p in (records / scan).glob("[!.]*")] == ["record.json"]


def test_stop_reports_all_of_them_at_once(cohort, tmp_path):
    rows, records, ways = cohort
    with pytest.raises(VolforgeError, match="20 of 200 scans were refused") as caught:
        collect_scans(rows, records, tmp_path / "scans.tsv", {**SETTINGS, "on_bad_scan": "stop"})
    text = str(caught.value)
    for scan in ways:
        assert f"{scan} (line {int(scan[-3:]) + 2} of the sheet)" in text
    assert not (tmp_path / "scans.tsv").exists()
