"""`volforge implant predict`: from a scan to a folder that somebody can look at and print."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest
import trimesh

from tests.dicom.files import write_series
from tests.tasks.implant.by_hand.conftest import FRONT, LIMITS, NAME, SIDE, holed, save, shell
from volforge.cli import main
from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.case import predict_case
from volforge.tasks.implant.by_hand.options import CaseOptions, drainage_of
from volforge.tasks.implant.by_hand.scan import read_scan


def read(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["volforge", *map(str, words)])
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


def test_volumes_lie_on_the_grid_of_the_file_and_add_up(case):
    out, missing, skull, affine, _ = case
    implant, where = read(out / "implant.nii.gz")
    complete, _ = read(out / "complete.nii.gz")
    chance, _ = read(out / "uncertainty.nii.gz")
    assert np.allclose(where, affine, atol=1e-4)
    assert dice(implant > 0, missing) > 0.85
    assert not ((implant > 0) & skull).any()
    assert np.array_equal(complete > 0, (implant > 0) | skull)
    assert chance.min() >= 0
    assert chance.max() == 1
    assert (chance[skull] == 1).all()
    assert chance[implant > 0].mean() > 0.5 > chance[~(implant > 0) & ~skull].mean()


def test_nrrd_says_the_same_to_itk(case):
    import SimpleITK as sitk

    out, _, _, affine, _ = case
    for name in ("implant", "uncertainty"):
        image = sitk.ReadImage(str(out / f"{name}.nrrd"))
        values, _ = read(out / f"{name}.nii.gz")
        assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), values)
        for voxel in ((0, 0, 0), (5, 7, 11)):
            ras = np.array(image.TransformContinuousIndexToPhysicalPoint(voxel)) * [-1, -1, 1]
            assert np.allclose(ras, affine[:3, :3] @ voxel + affine[:3, 3], atol=1e-3)


def test_meshes_are_closed_and_lie_where_the_patient_does(case):
    out, missing, skull, affine, _ = case
    implant, _ = read(out / "implant.nii.gz")
    voxel = abs(np.linalg.det(affine[:3, :3]))
    found = trimesh.load(out / "implant.stl")
    assert found.is_watertight
    assert found.volume == pytest.approx((implant > 0).sum() * voxel, rel=0.03)
    middle = np.argwhere(implant > 0).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    assert np.allclose(found.center_mass, middle, atol=0.7)
    head = trimesh.load(out / "skull.stl")
    assert head.is_watertight
    assert head.volume == pytest.approx(skull.sum() * voxel, rel=0.05)
    table = trimesh.load(out / "implant.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    assert {"gap_mm", "step_mm", "thickness_mm", "uncertainty_mm"} <= set(table.dtype.names)
    thick = table["thickness_mm"]
    assert 5 < np.nanmedian(thick) < 11  # the shell has 7 to 9 mm
    assert 0 < np.nanmax(table["uncertainty_mm"]) < 5


def test_the_report_holds_what_is_asked_of_an_implant(case):
    out, missing, _, affine, said = case
    report = json.loads((out / "report.json").read_text())
    (implant,) = report["implants"]
    assert report["volume_cm3"] == pytest.approx(missing.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000, rel=0.2)
    assert implant["mesh"]["watertight"]
    assert implant["mesh"]["faces"] <= 6000
    assert len(implant["insertion_direction_ras"]) == 3
    assert implant["fit"]["rim_gap_median_mm"] < 1
    (hole,) = report["holes"]
    assert hole["area_mm2"] > 1000
    assert not hole["at_edge"]
    assert not hole["left_open"]
    assert report["limits"] == LIMITS
    assert report["signs"]["cost"] > LIMITS["cost"]
    codes = [f["code"] for f in report["flags"]]
    assert codes[0] == "misfit"
    assert "rim_unlike" not in codes
    assert report["flags"][0]["text"] in said
    assert report["model"]["licence"] == "CC0-1.0"
    assert report["scan"]["modality"] == "mask"
    assert set(report["cost"]["seconds"]) == {"read", "complete", "finish", "volumes", "meshes", "page"}
    assert report["cost"]["peak_memory_gib"] > 0
    assert {"volforge", "numpy"} <= set(report["versions"])


def test_the_page_needs_nothing_else_and_escapes_names(case):
    page = (case[0] / "qc.html").read_text(encoding="utf-8")
    assert NAME not in page
    assert "a&amp;&lt;b&gt;.nii.gz" in page
    own = page[: page.index('id="plotly"')]
    assert "http://" not in own
    assert "https://" not in own
    assert own.count('<img src="data:image/png') == 3
    assert own.count('alt=""') == 1  # the frame of the enlarged picture, filled when one is opened
    assert "The skull fits the model worse than nine of ten" in own


def test_several_holes_have_a_mesh_each(model, tmp_path):
    skull, missing, affine = holed(SIDE, FRONT)
    scan = save(tmp_path / "two.nii.gz", skull, affine)
    options = CaseOptions(faces=4000, space="LPS", gap_mm=0.0, drainage=drainage_of("3,14,6"))
    report = predict_case(scan, model, tmp_path / "out", options)
    assert len(report["implants"]) == len(report["holes"]) == 2
    assert "several_implants" in [f["code"] for f in report["flags"]]
    implant, _ = read(tmp_path / "out/implant.nii.gz")
    assert dice(implant > 0, missing) > 0.8
    drilled = sum(i["drainage"]["removed_mm3"] for i in report["implants"])
    assert drilled > 0
    assert report["volume_cm3"] * 1000 == pytest.approx((implant > 0).sum() * SPACED, abs=1)
    whole, first, second = (trimesh.load(tmp_path / f"out/implant{n}.stl") for n in ("", "_1", "_2"))
    assert len(whole.faces) == len(first.faces) + len(second.faces)
    assert abs(first.volume) > abs(second.volume)
    middle = np.argwhere(implant > 0).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    assert np.allclose(whole.vertices.mean(axis=0) * [-1, -1, 1], middle, atol=8)
    assert report["implants"][0]["mesh"]["space"] == "LPS"


SPACED = 2.5**3


def test_a_ct_of_dicom_gives_what_its_mask_gives(model, tmp_path):
    skull, missing, affine = holed(SIDE)
    points = (
        np.stack(np.meshgrid(*[np.arange(n) for n in skull.shape], indexing="ij"), -1) @ affine[:3, :3].T
        + affine[:3, 3]
    )
    head = ((points / [82, 102, 92]) ** 2).sum(-1) <= 1
    hu = np.where(skull, 1200, np.where(head, 40, -1000)).astype(np.int16)
    # RAS to the LPS of DICOM: columns and rows run the other way
    stored = hu[::-1, ::-1]
    last = affine[:3, :3] @ (np.array(skull.shape) - 1) + affine[:3, 3]
    origin = (-last[0], -last[1], affine[2, 3])
    write_series(tmp_path / "dicom", stored, spacing=(2.5, 2.5), step=(0, 0, 2.5), origin=origin)
    scan = read_scan(tmp_path / "dicom", CaseOptions())
    assert scan.modality == "CT"
    assert not scan.metal
    assert (scan.skull == skull).mean() > 0.9999
    report = predict_case(tmp_path / "dicom", model, tmp_path / "out", CaseOptions(faces=3000))
    implant, where = read(tmp_path / "out/implant.nii.gz")
    assert implant.sum() * SPACED / 1000 == pytest.approx(report["volume_cm3"], abs=0.01)
    inside = np.linalg.inv(where) @ affine
    index = np.rint(np.argwhere(missing) @ inside[:3, :3].T + inside[:3, 3]).astype(int)
    assert (implant[tuple(index.T)] > 0).mean() > 0.8


def test_a_complete_skull_is_refused_and_nothing_written(model, tmp_path, monkeypatch, capsys):
    skull, affine = shell(21)
    scan = save(tmp_path / "whole.nii.gz", skull > 0, affine)
    assert call(monkeypatch, "implant", "predict", scan, tmp_path / "out", "--model", model) == 1
    text = capsys.readouterr().err
    assert "no hole" in text
    assert "whole.nii.gz" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["whole.nii.gz"]


def test_a_vault_that_the_scan_cuts_off_is_not_repaired(model, tmp_path):
    skull, affine = shell(22)
    top = int(np.argwhere(skull.any(axis=(0, 1)))[-1, 0]) - 6
    scan = save(tmp_path / "cut.nii.gz", (skull > 0)[..., :top], affine)
    with pytest.raises(VolforgeError, match="only where the scan ends"):
        predict_case(scan, model, tmp_path / "out")
    # but a hole below the cut is closed, and the cut is told
    skull, missing, affine = holed(((0.75, -0.6, 0.3), 15), seed=22)
    report = predict_case(save(tmp_path / "both.nii.gz", skull[..., :top], affine), model, tmp_path / "out")
    assert sorted(h["left_open"] for h in report["holes"]) == [False, True]
    assert "end_of_scan" in [f["code"] for f in report["flags"]]
    implant, _ = read(tmp_path / "out/implant.nii.gz")
    assert dice(implant > 0, missing[..., :top]) > 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"modality": "MR"}, "--modality"),
        ({"space": "RAI"}, "--space"),
        ({"formats": ("mha",)}, "--format"),
        ({"unit": "arbitrary"}, "--unit"),
        ({"faces": 3}, "--faces"),
        ({"gap_mm": -1.0}, "--gap-mm"),
        ({"thin": 1.5}, "--thin"),
        ({"least_mm2": 0.0}, "--least-mm2"),
    ],
)
def test_options_that_are_none_are_named(words, message):
    with pytest.raises(VolforgeError, match=message):
        CaseOptions(**words)


def test_patterns_of_holes():
    assert drainage_of("") is None
    pattern = drainage_of("2, 12, 8")
    assert pattern is not None
    assert (pattern.diameter_mm, pattern.spacing_mm, pattern.margin_mm) == (2, 12, 8)
    for text in ("2,12", "a,b,c", "5,4,1"):
        with pytest.raises(VolforgeError):
            drainage_of(text)


def test_a_mask_of_more_than_two_values_and_an_empty_one_are_refused(tmp_path):
    values = np.zeros((30, 30, 30), np.uint8)
    affine = np.diag([4.0, 4, 4, 1])
    save(tmp_path / "empty.nii.gz", values, affine)
    with pytest.raises(VolforgeError, match="empty"):
        read_scan(tmp_path / "empty.nii.gz", CaseOptions(modality="mask"))
    values[5:20, 5:20, 5:20] = 1
    values[6, 6, 6] = 2
    save(tmp_path / "three.nii.gz", values, affine)
    with pytest.raises(VolforgeError, match="this has more"):
        read_scan(tmp_path / "three.nii.gz", CaseOptions(modality="mask"))


def test_model_predict_writes_the_implant_as_a_label_map(case, model, tmp_path, monkeypatch, capsys):
    _, missing, skull, affine, _ = case
    scan = save(tmp_path / "s.nii.gz", skull, affine)
    words = ["model", "predict", "--image", scan, "--weights", model, "--out", tmp_path / "i.nii.gz"]
    assert call(monkeypatch, *words, "--confidence", tmp_path / "c.nii.gz") == 0
    implant, _ = read(tmp_path / "i.nii.gz")
    assert dice(implant > 0, missing) > 0.85
    assert read(tmp_path / "c.nii.gz")[0].max() <= 1
    assert call(monkeypatch, *words, "--flips", "x") == 1
    assert "--flips is for other models than this one" in capsys.readouterr().err
    assert call(monkeypatch, *words, "--weights", model) == 1
    assert "not averaged" in capsys.readouterr().err


def test_a_gap_that_takes_nothing_is_said_with_the_flags(model, tmp_path):
    skull, _, affine = holed(SIDE)
    scan = save(tmp_path / "s.nii.gz", skull, affine)
    report = predict_case(scan, model, tmp_path / "out", CaseOptions(gap_mm=0.5))
    said = [f["text"] for f in report["flags"] if f["code"] == "step_skipped"]
    assert any("clearance: nothing was taken: voxels of 2.5 x 2.5 x 2.5 mm are too coarse" in t for t in said), said
