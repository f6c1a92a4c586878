"""Segmentations of other writers: empty segments, equal labels, fractions, gaps, label maps with a background."""

import warnings

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.dicom.files import phantom, uid, write_series
from tests.dicom.test_labels import labels_of, target_of
from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.errors import ScanError
from volforge.tables.structures import read_structures
from volforge.volume.dicom.labels import label_names
from volforge.volume.dicom.segmentation import segment_names
from volforge.volume.labels import read_labels

HU = phantom()
BODY, LENS = (HU > -1000) & (HU < 900), HU == 900
IDS = {"background": 1, "body": 2, "lens": 3, "none": 4}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segments") / "s"
    write_series(folder, HU)
    return folder


def segmentation(series, path, masks, names, kind="BINARY", **options):
    """Segments of masks (columns, rows, slices); of a LABELMAP their numbers."""
    sources = [pydicom.dcmread(f) for f in sorted(series.glob("*.dcm"))]
    for source in sources:
        for keyword in ("StudyTime", "PatientSex", "AccessionNumber", "StudyID", "ReferringPhysicianName"):
            setattr(source, keyword, "")
        source.SliceThickness = 3
    description = [
        hd.seg.SegmentDescription(
            n, name, hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
            hd.sr.CodedConcept("X", "99X", name), hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for n, name in enumerate(names, start=1)
    ]  # fmt: skip
    pixels = masks.transpose(2, 1, 0) if kind == "LABELMAP" else np.stack([m.transpose(2, 1, 0) for m in masks], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = hd.seg.Segmentation(
            sources, pixels, getattr(hd.seg.SegmentationTypeValues, kind), description, uid("seg"), 9, uid("one"), 1,
            "x", "x", "1", "0", **options,
        )  # fmt: skip
    seg.save_as(path)
    return path


def counts(labels):
    return {int(i): int((labels.array == i).sum()) for i in np.unique(labels.array) if i}


@pytest.mark.parametrize("omit", [True, False])
def test_a_segment_without_a_voxel_moves_no_other(tmp_path, series, omit):
    nothing = np.zeros(HU.shape, np.uint8)
    masks = [nothing, BODY.astype(np.uint8), LENS.astype(np.uint8)]
    path = segmentation(series, tmp_path / "a.dcm", masks, ["none", "body", "lens"], omit_empty_frames=omit)
    labels = labels_of(path, target_of(series), IDS)
    assert counts(labels) == {2: BODY.sum(), 3: LENS.sum()}
    assert any("structure 'none' has no" in n for n in labels.notes)


def test_segments_of_one_label_are_kept_apart(tmp_path, series):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/s").symlink_to(series)
    masks = [BODY.astype(np.uint8), LENS.astype(np.uint8)]
    path = segmentation(series, tmp_path / "d/a.dcm", masks, ["lens", "lens"])
    with pytest.raises(ScanError, match="2 of its names mean structure 'lens': lens, lens#2"):
        labels_of(path, target_of(series), IDS)
    discover(tmp_path / "d", "dicom", tmp_path / "s.tsv", Options())
    table, _ = read_structures(tmp_path / "s.structures.tsv")
    labels = read_labels(
        path, target_of(series), {s.structure: s.id for s in table}, resample=False, mesh_frame="lps",
        rois={s.structure: s.roi for s in table},
    )  # fmt: skip
    assert {s.structure: counts(labels)[s.id] for s in table} == {"lens": BODY.sum(), "lens_2": LENS.sum()}


@pytest.mark.parametrize("padding", [None, 0])
def test_the_background_of_a_label_map_is_no_structure(tmp_path, series, padding):
    path = segmentation(series, tmp_path / "a.dcm", (BODY + 2 * LENS).astype(np.uint8), ["body", "lens"], "LABELMAP")
    d = pydicom.dcmread(path)
    background = pydicom.dcmread(path).SegmentSequence[0]
    background.SegmentNumber, background.SegmentLabel = 0, "background"
    d.SegmentSequence.insert(0, background)
    if "PixelPaddingValue" in d:
        del d.PixelPaddingValue
    if padding is not None:
        d.add_new("PixelPaddingValue", "US", padding)
    d.save_as(path)
    assert label_names(path).drawn == {1: "body", 2: "lens"}
    assert counts(labels_of(path, target_of(series), IDS)) == {2: BODY.sum(), 3: LENS.sum()}


def test_a_label_map_whose_padding_is_another_value():
    d = Dataset()
    d.SegmentationType, d.PixelPaddingValue, d.SegmentSequence = "LABELMAP", 7, []
    for number, name in ((0, "body"), (7, "Background")):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, name
        d.SegmentSequence.append(item)
    assert segment_names(d).drawn == {0: "body"}


def test_fractions_and_gaps(tmp_path, series):
    masks = [BODY * np.float32(0.7), LENS * np.float32(0.3)]
    path = segmentation(
        series, tmp_path / "f.dcm", masks, ["body", "lens"], "FRACTIONAL", fractional_type="PROBABILITY"
    )
    assert counts(labels_of(path, target_of(series), IDS)) == {2: BODY.sum()}
    apart = BODY.astype(np.uint8)
    apart[:, :, 6:15] = 0
    path = segmentation(series, tmp_path / "g.dcm", [apart], ["body"])
    assert counts(labels_of(path, target_of(series), IDS)) == {2: apart.sum()}
