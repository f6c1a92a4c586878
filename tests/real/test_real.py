"""Real scans of public sources: body masks, labels, geometry. Skipped where the volumes are not beside the project.

`ear_nose_boxes.tsv` and `device_boxes.tsv` were drawn by hand on the canonical grids of the scans: half-open voxel
ranges that hold an ear, a nose, or a device (couch, holder, mask) outside of the body.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import REAL, ROOT
from tests.real import grafts
from tests.volume.test_cavities import air_enclosed
from volforge.cohort.phantoms import body as phantom
from volforge.cohort.sheet import read_sheet
from volforge.tables.structures import read_structures
from volforge.volume.body_mask import find_body
from volforge.volume.cut import restore
from volforge.volume.cut_scan import cut_scan
from volforge.volume.folders import read_json
from volforge.volume.geometry import Grid, reorientation_of
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.restore import restore_file
from volforge.volume.store import SliceStore

HERE = Path(__file__).parent
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.xdist_group("real")]
SLICES = {"kind": "slices", "spacing_mm": 1.5, "size": [160, 160]}


@pytest.fixture(autouse=True)
def _present(real):
    """Every test here needs the volumes."""


@cache
def masked(name: str, hounsfield: bool = True):
    """Image, grid and body mask of a real volume."""
    image, grid = grafts.canonical(REAL / name)
    return image, grid, find_body(image, grid.spacing_mm, hounsfield).mask


def boxes(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def box_of(row: dict[str, str]) -> tuple[slice, slice, slice]:
    i, j, k = (slice(int(row[f"{a}0"]), int(row[f"{a}1"])) for a in "ijk")
    return i, j, k


def test_units_of_every_ct_are_told_apart():
    """As they are, 1024 too high, and taken for 1024 too high: accepted, refused, refused."""
    from volforge.errors import ScanError
    from volforge.volume.intensity import canonical_values

    names = sorted({r["volume"] for r in boxes("device_boxes.tsv") if "mr" not in r["volume"].lower()})
    for name in [*names, "rire_001_ct_mr/ct_example.nii.gz", "ts_ct_3mm/example_ct_sm.nii.gz"]:
        image, _ = grafts.canonical(REAL / name)
        assert canonical_values(image, "hu").flags == [], name
        for values, unit in ((image.astype(np.int32) + 1024, "hu"), (image, "hu+1024")):
            with pytest.raises(ScanError, match=r"-1000|-1100"):
                canonical_values(values, unit)


def test_ears_and_noses_of_every_ct_stay():
    low = []
    rows = [r for r in boxes("ear_nose_boxes.tsv") if "/ct" in r["volume"] or "HU" in r["volume"]]
    assert len(rows) > 30
    for row in rows:
        image, _, body = masked(row["volume"])
        tissue = image[box_of(row)] > float(row["threshold"])
        kept = body[box_of(row)][tissue].mean()
        if kept < 0.95:
            low.append((row["volume"], row["structure"], kept))
    assert low == []


def test_ears_and_noses_of_mr_stay():
    """Flat ears of MR boxes hold scalp as well; nine tenths of what is clearly above air is kept."""
    low = []
    rows = [r for r in boxes("ear_nose_boxes.tsv") if "mri" in r["volume"] or "ixi" in r["volume"]]
    assert rows
    for row in rows:
        image, _, body = masked(row["volume"], False)
        tissue = image[box_of(row)] > float(row["threshold"])
        if body[box_of(row)][tissue].mean() < 0.9:
            low.append((row["volume"], row["structure"], body[box_of(row)][tissue].mean()))
    assert low == []


def test_couch_holders_and_masks_are_cut_off():
    left, all_voxels = {}, 0
    for row in boxes("device_boxes.tsv"):
        image, _, body = masked(row["volume"])
        device = image[box_of(row)] > -400
        inside = int((body[box_of(row)] & device).sum())
        all_voxels += int(device.sum())
        if inside > 0.01 * max(100, device.sum()):
            left[row["volume"].split("/")[-1], row["device"]] = inside
    assert all_voxels > 200_000
    # the thin tubes on the skin of this head are no thicker than an ear: they are kept (255 voxels of 1 mm3)
    assert all(volume.startswith("vhf") for volume, _ in left)
    assert sum(left.values()) < 300


def test_labelled_voxels_of_the_trunk_are_body():
    _, _, body = masked("ts_ct_3mm/example_ct.nii.gz")
    labels, _ = grafts.canonical(REAL / "ts_ct_3mm/example_seg_fast_force_split.nii.gz")
    assert body[labels > 0].mean() >= 0.999


def test_lungs_and_bowel_gas_are_kept():
    image, _, body = masked("ts_ct_3mm/example_ct.nii.gz")
    from scipy import ndimage

    deep = ndimage.distance_transform_edt(body, sampling=(3, 3, 3)) > 20
    assert (deep & (image < -500)).sum() > 3000
    hull = ndimage.binary_fill_holes(body)
    assert (hull & ~body).sum() == 0


@pytest.mark.parametrize(
    "name", ["synthrad23_head_ct/ct/1BC050_ct.nii.gz", "dcmqi_segmentations/ct-3slice", "ts_ct_3mm/example_ct.nii.gz"]
)
def test_no_air_is_enclosed_behind_the_faces_that_cut_the_body(name):
    _, _, body = masked(name)
    assert not air_enclosed(body).any()


TARGETS = ["rire", "phantom a", "phantom b"]
DEVICES = {
    "couch": "ts_ct_3mm/example_ct.nii.gz",
    "plate and cushion": "synthrad23_head_ct/ct/1BB007_ct.nii.gz",
    "ribbed headrest": "synthrad23_head_ct/ct/1BA012_ct.nii.gz",
    "foam headrest": "synthrad23_head_ct/ct/1BC050_ct.nii.gz",
    "wooden board": "vhf_head_ct/vhf_head_1mm_approxHU.nii.gz",
}


@cache
def target(name: str):
    """A scan whose body is known: one without any device, or a phantom with exact truth."""
    if name == "rire":
        image, grid, body = masked("rire_001_ct_mr/ct_example.nii.gz")
    else:
        scan = phantom.draw(1, name, "CT", True, 2.0)
        turn = reorientation_of(scan.grid.affine)
        image, labels = (np.asfortranarray(turn.apply(scan.volumes[n])) for n in ("image", "labels"))
        grid, body = turn.canonical(scan.grid), labels > 0
        image = np.where(body, image, np.minimum(image, -980)).astype(np.int16)  # its own couch taken off
    return grafts.with_room_behind(image, grid, body)


@cache
def device(name: str):
    image, grid, body = masked(DEVICES[name])
    found = grafts.devices_of(image, body, grid.spacing_mm)
    if name == "wooden board":
        found = found[:, :, :7]
    return found, Grid(found.shape, grid.affine)


@pytest.mark.parametrize("gap_mm", [0, 3])
@pytest.mark.parametrize("device_name", DEVICES)
@pytest.mark.parametrize("name", TARGETS)
def test_grafted_device_does_not_change_the_body(name, device_name, gap_mm):
    image, grid, body = target(name)
    grafted = grafts.put_behind(image, grid, body, *device(device_name), gap_mm)
    assert ((grafted > -400) & ~body).sum() * grid.voxel_mm3 > 1000
    dice, hd95 = grafts.agreement(find_body(grafted, grid.spacing_mm, True).mask, body, grid.spacing_mm)
    assert dice >= 0.995
    assert hd95 <= 2


@pytest.mark.parametrize("gap_mm", [0, 1, 3, 6])
@pytest.mark.parametrize("name", TARGETS)
def test_cloth_of_two_millimetres_does_not_change_the_body(name, gap_mm):
    from scipy import ndimage

    image, grid, body = target(name)
    source, source_grid, source_body = masked("synthrad23_head_ct/ct/1BC050_ct.nii.gz")
    away = ndimage.distance_transform_edt(~source_body, sampling=source_grid.spacing_mm) > 6
    grafted = grafts.put_cloth(image, body, grid.spacing_mm, source[away & (source > -700)], gap_mm)
    assert ((grafted > -700) & ~body).sum() * grid.voxel_mm3 > 20_000
    dice, hd95 = grafts.agreement(find_body(grafted, grid.spacing_mm, True).mask, body, grid.spacing_mm)
    assert dice >= 0.995
    assert hd95 <= 2


ROUND_TRIPS = {
    "rire_001_ct_mr/ct_example.nii.gz": ("CT", "hu"),
    "rire_001_ct_mr/mri_t1_example.nii.gz": ("MR", "arbitrary"),
    "ts_ct_3mm/example_ct_sm.nii.gz": ("CT", "hu"),
    "ts_mr_3mm/example_mr_sm.nii.gz": ("MR", "arbitrary"),
    "ixi_t1_2mm/t1/IXI013-HH-1212_T1.nii.gz": ("MR", "arbitrary"),
    "msd_hippocampus/images/hippocampus_003.nii.gz": ("MR", "arbitrary"),
    "synthrad23_head_ct/ct/1BC050_ct.nii.gz": ("CT", "hu"),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_written_back_affine_and_body_values_are_identical(tmp_path, name):
    modality, unit = ROUND_TRIPS[name]
    request = ScanRequest("s", modality, unit, {"image": REAL / name})
    import_scan(request, ImportSettings(), tmp_path / "s", record_refusal=False)
    for part in ("image", "body"):
        restore_file(
            tmp_path / f"s/{part}.nii.gz", tmp_path / "s/record.json", tmp_path / f"{part}.nii.gz", labels=None
        )
    source, image, body = (nib.load(p) for p in (REAL / name, tmp_path / "image.nii.gz", tmp_path / "body.nii.gz"))
    assert np.array_equal(source.affine, image.affine)
    inside = np.asanyarray(body.dataobj) > 0
    expected = np.asanyarray(source.dataobj)[inside]
    found = np.asanyarray(image.dataobj)[inside]
    assert np.array_equal(found, expected) or np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_slices_of_a_real_scan_come_back(tmp_path):
    from pydantic import TypeAdapter

    from volforge.config.models import Recipe
    from volforge.volume.read import read_canonical

    request = ScanRequest("s", "CT", "hu", {"image": REAL / "rire_001_ct_mr/ct_example.nii.gz"})
    import_scan(request, ImportSettings(), tmp_path / "s", record_refusal=False)
    for recipe in ({"kind": "slices", "size": [256, 256], "ct_window": {"kind": "hu", "high": 3000}}, SLICES):
        cut_scan(tmp_path / "s", TypeAdapter(Recipe).validate_python(recipe), tmp_path / "cut")
        store = SliceStore(tmp_path / "cut")
        image, _ = read_canonical(tmp_path / "s/image.nii.gz", labels=False)
        body = read_canonical(tmp_path / "s/body.nii.gz", labels=True)[0] > 0
        back = restore(store["image"][:], store.geometry, kind="image")
        if "spacing_mm" not in recipe:
            covered = restore(np.ones(store["image"].shape, np.uint8), store.geometry, kind="mask") > 0
            assert np.array_equal(back[covered], image[covered])
            assert covered[body].all()
        else:  # 1.25 mm to 1.5 mm and back, inside, below the window's edge: small differences on average
            assert np.abs(back.astype(float) - image)[body & (image < 1400)].mean() < 60


def test_crops_inside_the_head_are_all_body():
    for path in sorted((REAL / "msd_hippocampus/images").glob("*.nii.gz"))[::10]:
        image, grid = grafts.canonical(path)
        assert find_body(image, grid.spacing_mm, False).mask.all(), path.name


def test_sheets_of_the_real_cohorts_are_valid_and_their_labels_match():
    names = ["heads_ct", "heads_mr", "trunks", "ixi", "hippocampus", "skullfix", "dental"]
    for name in names:
        sheet = read_sheet(HERE / f"sheets/{name}.tsv", root=REAL)
        assert sheet.problems == [], name
        assert sheet.comments, f"{name}: the head of the sheet names the licence"


@pytest.mark.parametrize(
    ("cohort", "count"), [("ixi", 2), ("hippocampus", 3), ("trunks", 2), ("dental", 1), ("skullfix", 1)]
)
def test_scans_of_the_real_cohorts_import(tmp_path, cohort, count):
    rows = read_sheet(HERE / f"sheets/{cohort}.tsv", root=REAL).rows
    table = HERE / f"sheets/{cohort}.structures.tsv"
    structures = {s.structure: s.id for s in read_structures(table)[0]} if table.exists() else {}
    for row in rows[:count]:
        files = {c: Path(p) if Path(p).is_absolute() else ROOT / p for c, p in row.files.items()}
        request = ScanRequest(row.scan, row.modality, row.unit, files)
        import_scan(request, ImportSettings(structures), tmp_path / row.scan, record_refusal=False)
        record = read_json(tmp_path / row.scan / "record.json")
        loud = [f for f in record["flags"] if not f.startswith(("body_cut", "unit_assumed", "whole_grid"))]
        unnamed = ["structures_without_names"] if "labels" in record and not structures else []
        assert loud == unnamed, (row.scan, loud)
        if "labels" in record:
            assert len(record["labels"]["voxels"]) >= 2
