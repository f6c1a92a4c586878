"""Real DICOM: a tilted head of two blocks, a structure set of a planning system, a segmentation with a background."""

import copy

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from scipy.ndimage import map_coordinates

from volforge.cohort.layouts.discovery import Options
from volforge.cohort.layouts.write import discover
from volforge.cohort.sheet import read_sheet
from volforge.tables.structures import read_structures
from volforge.volume.dicom.headers import read_dataset
from volforge.volume.dicom.labels import label_names
from volforge.volume.geometry import reorientation_of
from volforge.volume.label_map import Target
from volforge.volume.labels import read_labels
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]


def test_a_tilted_head_of_two_blocks(real):
    """13 steps of 4 mm, a seam of 1.08 mm, 13 steps of 7 mm, tilted by 18.5 degrees: each slice is found at its place."""
    folder = real / "ge_tilted_head_dicom"
    volume = read_volume(folder, labels=False)
    assert volume.grid.shape == (512, 611, 37)
    assert volume.grid.spacing_mm == pytest.approx((0.488, 0.488, 4.002), abs=1e-3)
    assert volume.flags == ["padding_set_to_air", "gantry_tilt_resampled", "uneven_spacing_resampled"]
    values, inverse = scaled(volume).astype(float), np.linalg.inv(volume.grid.affine)
    i, j = (n.ravel() for n in np.meshgrid(np.arange(100, 400, 3), np.arange(100, 400, 3), indexing="ij"))
    for k, path in enumerate(sorted(folder.glob("*.dcm"))):
        d = read_dataset(path, pixels=True)
        stored = d.pixel_array[j, i] * float(d.RescaleSlope) + float(d.RescaleIntercept)
        row, column = np.reshape(d.ImageOrientationPatient, (2, 3)).astype(float) * [-1, -1, 1]
        pixel = float(d.PixelSpacing[0])
        origin = np.array(d.ImagePositionPatient, dtype=float) * [-1, -1, 1]
        place = origin[:, None] + pixel * (np.outer(row, i) + np.outer(column, j))
        index = inverse[:3, :3] @ place + inverse[:3, 3:]
        read = map_coordinates(values, index, order=1, mode="nearest")
        assert np.corrcoef(read, np.maximum(stored, -1024))[0, 1] > (0.999 if k < 14 else 0.97), path.name


@pytest.fixture(scope="module")
def breast(real, tmp_path_factory):
    """The structure set and its CT slice at all 98 places that it refers to."""
    folder = tmp_path_factory.mktemp("breast")
    structures = pydicom.dcmread(real / "rtstruct_breast/rtss.dcm")
    slice_ = pydicom.dcmread(real / "rtstruct_breast/ct.0.dcm")
    heights: dict[str, float] = {}
    for roi in structures.ROIContourSequence:
        for contour in roi.get("ContourSequence") or []:
            for image in contour.ContourImageSequence:
                heights[image.ReferencedSOPInstanceUID] = float(contour.ContourData[2])
    for k, (uid, height) in enumerate(heights.items()):
        d = copy.copy(slice_)
        d.SOPInstanceUID, d.InstanceNumber = uid, k + 1
        d.ImagePositionPatient = [*slice_.ImagePositionPatient[:2], height]
        d.save_as(folder / f"{k}.dcm")
    assert len(heights) == 98
    structures.save_as(folder / "rt.dcm")
    return folder


@pytest.mark.parametrize("without", [[], ["ReferencedFrameOfReferenceSequence"]], ids=["as it is", "names no series"])
def test_a_structure_set_of_a_planning_system_is_attached_and_read(breast, tmp_path, without):
    structures = pydicom.dcmread(breast / "rt.dcm")
    for keyword in without:
        delattr(structures, keyword)
    data = tmp_path / "data"
    data.mkdir()
    for path in breast.glob("[0-9]*.dcm"):
        (data / path.name).symlink_to(path)
    structures.save_as(data / "rt.dcm")
    written = discover(data, "dicom", tmp_path / "s.tsv", Options())
    assert written.left_out == []
    row = read_sheet(tmp_path / "s.tsv").rows[0]
    assert row.files["labels"] == str(data / "rt.dcm")
    table, problems = read_structures(tmp_path / "s.structures.tsv")
    assert problems == []
    assert [s.roi for s in table][:3] == [("Areola",), ("BODY",), ("Borders",)]
    if without:
        return
    source = read_volume(breast, labels=False)
    turn = reorientation_of(source.grid.affine)
    target = Target(turn.canonical(source.grid), source.grid.shape, turn, source)
    labels = read_labels(data / "rt.dcm", target, {"heart": 1}, resample=False, mesh_frame="lps")
    heart = next(r for r in structures.ROIContourSequence if r.ReferencedROINumber == 5)
    inside = 0
    for contour in heart.ContourSequence:
        points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
        origin, pixel = np.array(source.grid.affine[:2, 3]), source.grid.spacing_mm[0]
        x, y = np.meshgrid(-origin[0] + pixel * np.arange(512), -origin[1] + pixel * np.arange(512))
        inside += int(Outline(points[:, :2]).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).sum())
    assert int((labels.array > 0).sum()) == pytest.approx(inside, rel=2e-3)


def test_the_background_of_a_labelmap_is_no_structure(real):
    path = real / "dcmqi_segmentations/sparse-labelmap-noppv.dcm"
    assert label_names(path).drawn == {1: "Liver"}
    labels = read_labels(path, None, {"background": 1, "liver": 2}, resample=False, mesh_frame="lps")
    assert np.unique(labels.array).tolist() == [0, 2]
