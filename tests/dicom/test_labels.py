"""Structure sets and segmentations onto the image's grid, predictions back to DICOM, lists of structures."""

import math

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.conftest import ball_ct, save, volforge
from tests.dicom.files import phantom, uid, write_multi_frame, write_series, write_structure_set
from volforge.errors import ScanError
from volforge.volume.folders import read_json
from volforge.volume.geometry import reorientation_of
from volforge.volume.label_map import Target
from volforge.volume.labels import read_labels
from volforge.volume.read import read_volume

HU = phantom()
FRAME = uid("frame", "MRN-4711")
STRUCTURES = {"lens": 1, "mandible_l": 2}


def target_of(path) -> Target:
    volume = read_volume(path, labels=False)
    turn = reorientation_of(volume.grid.affine)
    return Target(turn.canonical(volume.grid), volume.grid.shape, turn, volume)


def labels_of(path, target, structures=STRUCTURES, resample=False):
    return read_labels(path, target, structures, resample=resample, mesh_frame="lps")


def circle(radius, height, centre=(0.0, 0.0), n=400):
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a), np.full(n, height)], axis=1)


def world_of(target):
    index = np.stack(np.indices(target.grid.shape)).reshape(3, -1)
    return target.grid.affine[:3, :3] @ index + target.grid.affine[:3, 3:]


# --- structure sets


def test_contours_with_a_hole_fill_the_voxels_whose_centre_lies_inside(tmp_path):
    write_series(tmp_path / "s", HU)
    target = target_of(tmp_path / "s")
    heights = 10 + 3.0 * np.arange(4, 15)
    polygons = [circle(25, z, (3.3, -4.1)) for z in heights] + [circle(9, z, (3.3, -4.1)) for z in heights]
    file = write_structure_set(tmp_path / "rt.dcm", {"Lens": polygons, "Couch (top)": [circle(5, 40)]}, FRAME)
    labels = labels_of(file, target)
    x, y, z = world_of(target)
    r = np.hypot(-x - 3.3, -y + 4.1)
    true = ((r <= 25) & (r > 9) & (z >= heights[0] - 1) & (z <= heights[-1] + 1)).reshape(target.grid.shape)
    assert (labels.array > 0)[true].mean() > 0.995  # a polygon of 400 corners is no circle
    assert (labels.array > 0).sum() == pytest.approx(true.sum(), rel=0.005)
    assert labels.flags == []
    assert labels.notes == ["names that are no structure of the cohort were left out: Couch (top)"]


def test_contours_of_thick_slices_fill_a_finer_image_and_the_reverse(tmp_path):
    write_series(tmp_path / "s", phantom((40, 36, 40)), step=(0, 0, 1.0))
    target = target_of(tmp_path / "s")
    thick = write_structure_set(tmp_path / "a.dcm", {"Lens": [circle(20, 10 + 3.0 * k) for k in range(3, 9)]}, FRAME)
    labels = labels_of(thick, target)
    assert labels.flags == ["contours_sparse"]
    filled = np.flatnonzero((labels.array > 0).any(axis=(0, 1)))
    assert np.array_equal(filled, np.arange(filled[0], filled[-1] + 1))  # no empty slice between
    assert len(filled) in (17, 18)
    fine = write_structure_set(tmp_path / "b.dcm", {"Lens": [circle(20, 10 + 0.5 * k) for k in range(20, 40)]}, FRAME)
    twice = labels_of(fine, target)
    per_slice = (twice.array > 0).sum(axis=(0, 1))
    assert set(per_slice[per_slice > 0]) == {per_slice.max()}  # planes of one slice do not cancel each other


def test_contours_on_an_oblique_series_and_on_sagittal_planes(tmp_path):
    t = math.radians(15)
    row, column = np.array([math.cos(t), math.sin(t), 0]), np.array([-math.sin(t), math.cos(t), 0])
    write_series(tmp_path / "s", HU, orientation=(*row, *column))
    target = target_of(tmp_path / "s")
    centre = np.array([-40, -45, 0]) + 20.3 * 2 * row + 18.4 * 2.5 * column
    file = write_structure_set(
        tmp_path / "rt.dcm", {"lens": [circle(20, 10 + 3.0 * k, centre[:2]) for k in range(5, 12)]}, FRAME
    )
    assert (labels_of(file, target).array > 0).sum() == pytest.approx(7 * np.pi * 20**2 / 5, rel=0.02)
    tilted = circle(20, 40, centre[:2])
    tilted[:, 2] += 0.5 * (tilted[:, 0] - centre[0])
    file = write_structure_set(tmp_path / "o.dcm", {"lens": [tilted]}, FRAME)
    with pytest.raises(ScanError, match="oblique"):
        labels_of(file, target)


def test_structure_sets_that_do_not_belong(tmp_path):
    write_series(tmp_path / "s", HU)
    target = target_of(tmp_path / "s")
    elsewhere = write_structure_set(tmp_path / "a.dcm", {"lens": [circle(20, 40)]}, uid("frame", "other"))
    with pytest.raises(ScanError, match="another frame of reference"):
        labels_of(elsewhere, target)
    hashed = write_structure_set(
        tmp_path / "h.dcm", {"lens": [circle(20, 40)]}, uid("frame", "other"), target.source.slice_uids[3]
    )
    found = labels_of(hashed, target)
    assert found.array.any()
    assert "frame_of_reference_differs" in found.flags
    unknown = write_structure_set(tmp_path / "b.dcm", {"GTV": [circle(20, 40)]}, FRAME)
    with pytest.raises(ScanError, match="none of its names is a structure: GTV"):
        labels_of(unknown, target)
    outside = write_structure_set(tmp_path / "c.dcm", {"lens": [circle(20, 4000)]}, FRAME)
    with pytest.raises(ScanError, match="no contour encloses a voxel"):
        labels_of(outside, target)
    doubled = write_structure_set(tmp_path / "d.dcm", {"lens": [circle(20, 40)], "LENS": [circle(9, 40)]}, FRAME)
    with pytest.raises(ScanError, match="2 of its names mean structure 'lens': lens, LENS"):
        labels_of(doubled, target)
    with pytest.raises(ScanError, match="need ids"):
        labels_of(doubled, target, {})
    with pytest.raises(ScanError, match="image's grid"):
        labels_of(doubled, None)


def test_points_and_open_contours_are_left_out_and_said(tmp_path):
    write_series(tmp_path / "s", HU)
    file = write_structure_set(
        tmp_path / "r.dcm",
        {"lens": [circle(20, 40), np.array([[0.0, 0, 40]])], "mandible_l": [np.zeros((1, 3))]},
        FRAME,
    )
    labels = labels_of(file, target_of(tmp_path / "s"))
    assert any("2 contours that are points" in n for n in labels.notes)
    assert any("'mandible_l' has no closed contour" in n for n in labels.notes)


# --- segmentations


def imported(folder, out, tmp_path):
    done = volforge("scan", "import", "--image", folder, "--out", out)
    assert done.returncode == 0, done.stderr
    return read_json(out / "record.json")


def predicted(out, folder):
    """Labels on the canonical grid, without symmetry: a box and a ball."""
    image = nib.load(out / "image.nii.gz")
    labels = np.zeros(image.shape, dtype=np.uint8)
    a, b, c = image.shape
    labels[a // 4 : a // 2, b // 4 : b // 2, c // 4 : c // 2] = 1
    x, y, z = np.indices(image.shape)
    labels[(x - 0.7 * a) ** 2 + (y - 0.6 * b) ** 2 + (z - 0.6 * c) ** 2 < 16] = 2
    nib.save(nib.Nifti1Image(labels, image.affine), folder / "p.nii.gz")
    return labels


def structures_table(folder):
    table = folder / "s.structures.tsv"
    table.write_text("structure\tid\tcolour\nlens\t1\t#ff0000\nmandible_l\t2\t#00ff00\n")
    return table


@pytest.mark.parametrize("kind", ["plain", "oblique", "reversed", "multi_frame"])
def test_a_prediction_goes_out_as_dicom_segmentation_and_comes_back(tmp_path, kind):
    series = tmp_path / "s"
    t = math.radians(12)
    if kind == "oblique":
        write_series(series, HU, orientation=(math.cos(t), math.sin(t), 0, -math.sin(t), math.cos(t), 0))
    elif kind == "multi_frame":
        series = write_multi_frame(tmp_path / "m.dcm", HU, shuffled=True)
    else:
        write_series(series, HU, reverse=kind == "reversed", step=(0, 0, -3.0 if kind == "reversed" else 3.0))
    imported(series, tmp_path / "out", tmp_path)
    labels = predicted(tmp_path / "out", tmp_path)
    arguments = ["scan", "restore", tmp_path / "p.nii.gz", "--record", tmp_path / "out/record.json", "--series", series]
    for name in ("a.dcm", "b.dcm"):
        done = volforge(*arguments, "--structures", structures_table(tmp_path), "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    seg = pydicom.dcmread(tmp_path / "a.dcm")
    assert seg.PatientID == "MRN-4711"
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["lens", "mandible_l"]
    back = labels_of(tmp_path / "a.dcm", target_of(series))
    assert np.array_equal(back.array, labels)
    alone = labels_of(tmp_path / "a.dcm", None)  # without its image: the slices that it covers
    assert np.bincount(alone.array.ravel())[1:].tolist() == np.bincount(labels.ravel())[1:].tolist()


def test_a_prediction_on_a_tilted_series_lies_on_its_slices(tmp_path):
    t = math.radians(18)
    write_series(tmp_path / "s", phantom((40, 36, 30)), orientation=(1, 0, 0, 0, math.cos(t), -math.sin(t)))
    imported(tmp_path / "s", tmp_path / "out", tmp_path)
    labels = predicted(tmp_path / "out", tmp_path)
    done = volforge(
        "scan", "restore", tmp_path / "p.nii.gz", "--record", tmp_path / "out/record.json", "--series", tmp_path / "s",
        "--structures", structures_table(tmp_path), "--out", tmp_path / "a.dcm",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seg = pydicom.dcmread(tmp_path / "a.dcm")
    places = {tuple(f.PlanePositionSequence[0].ImagePositionPatient) for f in seg.PerFrameFunctionalGroupsSequence}
    series = {tuple(pydicom.dcmread(p).ImagePositionPatient) for p in (tmp_path / "s").iterdir()}
    assert places <= series
    back = labels_of(tmp_path / "a.dcm", target_of(tmp_path / "s")).array
    for value in (1, 2):
        overlap = ((back == value) & (labels == value)).sum()
        assert 2 * overlap / ((back == value).sum() + (labels == value).sum()) > 0.85  # nearest, twice, half a voxel


def test_restore_as_segmentation_refuses_what_does_not_fit(tmp_path):
    write_series(tmp_path / "s", HU)
    write_series(tmp_path / "other", phantom((20, 20, 20)))
    imported(tmp_path / "s", tmp_path / "out", tmp_path)
    predicted(tmp_path / "out", tmp_path)
    base = [
        "scan",
        "restore",
        tmp_path / "p.nii.gz",
        "--record",
        tmp_path / "out/record.json",
        "--out",
        tmp_path / "a.dcm",
    ]
    assert "--series FOLDER" in volforge(*base).stderr
    table = structures_table(tmp_path)
    assert (
        "not the files that the scan was imported from"
        in volforge(*base, "--series", tmp_path / "other", "--structures", table).stderr
    )
    table.write_text("structure\tid\nlens\t1\n")
    assert "ids that no structure has: [2]" in volforge(*base, "--series", tmp_path / "s", "--structures", table).stderr
    assert not (tmp_path / "a.dcm").exists()


# --- lists of structures, and pictures on DICOM slices


def test_a_list_of_structures_with_values(tmp_path):
    image = save(tmp_path / "ct.nii.gz", ball_ct())
    several = np.zeros(ball_ct().shape, np.uint8)
    several[5:10], several[10:15], several[20:25] = 63, 126, 60
    save(tmp_path / "many.nii.gz", several)
    one = np.zeros_like(several)
    one[30:33] = 7
    save(tmp_path / "one.nii.gz", one)
    rows = ["structure\tfile\tvalue", "lens\tmany.nii.gz\t55-70", "mandible_l\tmany.nii.gz\t126", "tooth\tone.nii.gz\t"]
    (tmp_path / "l.tsv").write_text("\n".join(rows))
    labels = labels_of(tmp_path / "l.tsv", target_of(image), {**STRUCTURES, "tooth": 3})
    true = np.zeros_like(several)
    true[5:10], true[20:25], true[10:15], true[30:33] = 1, 1, 2, 3
    assert np.array_equal(labels.array, true)
    with pytest.raises(ScanError, match="structures that the cohort has not: tooth"):
        labels_of(tmp_path / "l.tsv", target_of(image))
    (tmp_path / "l.tsv").write_text("structure\tfile\nlens\tgone.nii.gz\n")
    with pytest.raises(ScanError, match=r"line 2: file not found: .*gone.nii.gz"):
        labels_of(tmp_path / "l.tsv", target_of(image))
    (tmp_path / "l.tsv").write_text("structure\tfile\tvalue\nlens\tone.nii.gz\tred\n")
    with pytest.raises(ScanError, match="'red' is no value"):
        labels_of(tmp_path / "l.tsv", target_of(image))


@pytest.mark.parametrize("reverse", [False, True])
def test_pictures_follow_the_names_of_the_dicom_files_not_their_places(tmp_path, reverse):
    """Public sets number slices from the head down, or up: the picture of a file belongs to that file."""
    write_series(tmp_path / "s", HU, reverse=reverse, name="i{:04d},0000b.dcm")
    n = HU.shape[2]
    (tmp_path / "g").mkdir()
    for k in range(n):
        number = n - k if reverse else k + 1
        grey = np.where(HU[:, :, k].T > 500, 126, 0).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "g" / f"liver_GT_{number - 1:03d}.png")
    (tmp_path / "l.tsv").write_text("structure\tfile\tvalue\nlens\tg\t110-135\n")
    target = target_of(tmp_path / "s")
    labels = labels_of(tmp_path / "l.tsv", target)
    assert np.array_equal(labels.array > 0, target.turn.apply(HU > 500))
