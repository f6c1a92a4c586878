"""A translated arm from predictions to measures: regions, raw images, one slice, controls, and the picture of all arms."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import save
from tests.study.cohorts import METRICS, arm, imported, measure, predict
from volforge.report.strips import strip_pictures
from volforge.study.cases import Cohort
from volforge.study.predictions import read_predictions
from volforge.study.strips import read_strips
from volforge.tasks.registry import task
from volforge.tasks.translation.baselines import BASELINES, LEARNS
from volforge.volume.intensity import AIR_HU
from volforge.volume.read import read_volume

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
SHAPE = (44, 44, 22)
ENDS = {"volume": SHAPE, "axial": (*SHAPE[:2], 1), "coronal": (44, 1, 22)}


def head(radius_mm, shape=SHAPE):
    """A head of a skull about a brain: HU, MR signal, and distance from the middle in mm."""
    axes = [3.0 * (np.arange(n) - (n - 1) / 2) for n in shape]
    r = np.linalg.norm(np.meshgrid(*axes, indexing="ij"), axis=0)
    hu = np.full(shape, AIR_HU, np.float64)
    signal = np.zeros(shape)
    for edge, value, grey in ((1.0, 10, 300), (0.88, 800, 20), (0.76, 35, 200)):
        hu[r < edge * radius_mm], signal[r < edge * radius_mm] = value, grey
    noise = np.random.default_rng(int(radius_mm))
    hu += np.where(r < radius_mm, noise.normal(0, 8, shape), 0)
    signal += noise.normal(2, 1, shape)
    return hu.astype(np.int16), np.clip(signal, 0, None).astype(np.int16), r


def heads(folder, kind="volume", *, mask=False):
    """Three training CTs and two tested pairs; with the mask of a challenge that lies 9 mm outside of the body."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = ENDS[kind]
    lines = ["subject\tscan\tmodality\tunit\tframe\timage\tbody_mask\tsplit"]
    for i, radius in enumerate((50, 54, 58)):
        save(folder / f"ct{i}.nii.gz", head(radius, shape)[0], AFFINE)
        lines.append(f"p{i}\tct{i}\tCT\thu\t\tct{i}.nii.gz\t\ttrain")
    for i, radius in enumerate((52, 56)):
        hu, signal, r = head(radius, shape)
        save(folder / f"q{i}_ct.nii.gz", hu, AFFINE)
        save(folder / f"q{i}_mr.nii.gz", signal, AFFINE)
        save(folder / f"q{i}_m.nii.gz", (r < radius + 9).astype(np.uint8), AFFINE)
        given = f"q{i}_m.nii.gz" if mask else ""
        lines.append(f"q{i}\tq{i}_mr\tMR\tarbitrary\tf\tq{i}_mr.nii.gz\t\ttest")
        lines.append(f"q{i}\tq{i}_ct\tCT\thu\tf\tq{i}_ct.nii.gz\t{given}\ttest")
    return imported(folder, lines, {})


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return heads(tmp_path_factory.mktemp("volume"))


def of_arm(folder, scans, **more):
    settings = arm(folder, task="translation", structures=[], **more)
    predict(settings, scans, 0, folder / "predictions")
    rows = measure(settings, scans, folder)
    return {(r["scan"], r["structure"], r["measure"]): r for r in rows}


def number(rows, structure, measure, scan="q0_mr"):
    row = rows[scan, structure, measure]
    assert row["status"] == "ok", row
    return float(row["value"])


def test_the_true_ct_has_no_error_left(volume, tmp_path):
    for i in range(2):
        save(tmp_path / f"q{i}_mr.nii.gz", Cohort(volume).read(f"q{i}_ct", "image"), AFFINE)
    rows = of_arm(tmp_path, volume, predictions=str(tmp_path))
    assert number(rows, "body", "mae_hu") < 1e-6
    for structure, measure_ in (
        ("body", "bias_hu"), ("bone", "bias_hu"), ("brain", "intracranial_air_share"), ("inner", "gap_mind_distance"),
        ("kvp_unknown", "water_path_error_p95_mm"), ("kvp_unknown", "mu_mae_percent"), ("outside", "bone_outside_share"),
    ):  # fmt: skip
        assert number(rows, structure, measure_) == pytest.approx(0, abs=1e-6), measure_
    assert number(rows, "bone", "bone_dice_250hu") == 1
    assert number(rows, "body", "slice_change_ratio") == pytest.approx(1)
    assert number(rows, "body", "histogram_distance_hu") < 30
    assert not any(s == "mask" for _, s, _ in rows)
    assert not any(m.endswith("_raw") for _, _, m in rows)


@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_gives_the_measures_of_every_other(volume, tmp_path, baseline):
    rows = of_arm(tmp_path, volume, baseline=baseline, metrics=METRICS | {"kvp": 120})
    assert {m for _, s, m in rows if s == "body"} >= {"mae_hu", "bias_hu", "outline_dice", "water_path_error_mm"}
    assert not {r["status"] for r in rows.values()} & {"missing_prediction", "not_finite"}
    assert {m for (_, _, m), r in rows.items() if r["status"] == "undefined"} <= {"ncc"}  # of a constant
    own = task("translation")
    kind = own.kind(type("A", (), {"baseline": baseline, "models": {}, "predictions": None})())
    assert kind == ("ceiling" if baseline == "outline_ceiling" else "baseline")


def test_depth_profile_knows_the_layers_and_the_ceiling_is_better(volume, tmp_path):
    found = {
        name: of_arm(tmp_path / name, volume, baseline=name)
        for name in ("constant_median", "depth_profile", "mean_subject", "outline_ceiling")
    }
    error = {name: number(rows, "body", "mae_hu") for name, rows in found.items()}
    assert error["outline_ceiling"] < error["depth_profile"] < error["constant_median"]
    assert number(found["depth_profile"], "bone", "bone_dice") > 0.7
    assert number(found["outline_ceiling"], "bone", "bone_dice") == 1
    constant = read_volume(tmp_path / "constant_median/predictions/q0_mr.nii.gz", labels=False).array
    truth = [
        v for n in range(3) for v in [Cohort(volume).read(f"ct{n}", "image")[Cohort(volume).read(f"ct{n}", "body") > 0]]
    ]
    assert set(np.unique(constant)) == {AIR_HU, np.rint(np.median(np.concatenate(truth)))}


def test_baselines_that_learn_never_read_a_tested_subject(volume, tmp_path, monkeypatch):
    read = Cohort.read
    seen = set()
    monkeypatch.setattr(Cohort, "read", lambda self, scan, part: (seen.add((scan, part)), read(self, scan, part))[1])
    for name in LEARNS:
        predict(arm(tmp_path, task="translation", structures=[], baseline=name), volume, 0, tmp_path / name)
    assert {s for s, part in seen if part == "image" and s.startswith("ct")} == {"ct0", "ct1", "ct2"}
    assert not {(s, p) for s, p in seen if s.startswith("q") and s.endswith("_ct")}


def test_the_mask_of_a_pair_is_a_region_of_its_own_and_teaches_nothing(tmp_path):
    """A constant has its worst error outside of the skin, which the mask holds and the body does not."""
    scans = heads(tmp_path / "c", mask=True)
    with_mask = of_arm(tmp_path / "a", scans, baseline="constant")
    alone = of_arm(tmp_path / "b", heads(tmp_path / "d"), baseline="constant")
    body, mask = (with_mask["q0_mr", s, "mae_hu"] for s in ("body", "mask"))
    assert body == alone["q0_mr", "body", "mae_hu"]
    truth, own = Cohort(scans).read("q0_ct", "image").astype(float), Cohort(scans).read("q0_mr", "body") > 0
    given = Cohort(scans).read("q0_ct", "body") > 0
    assert int(mask["n"]) == given.sum() > int(body["n"])
    expected = np.abs(np.where(own, 40, AIR_HU) - truth)[given].mean()
    assert float(mask["value"]) == pytest.approx(expected)
    assert {m for _, s, m in with_mask if s == "mask"} == {"mae_hu", "rmse_hu", "psnr_db", "ncc"}


def test_what_networks_made_before_the_mask_is_measured_where_it_is_left(volume, tmp_path):
    settings = arm(tmp_path, task="translation", structures=[], baseline="constant")
    predict(settings, volume, 0, tmp_path / "predictions")
    (first, _) = read_predictions(tmp_path / "predictions")
    path = first.path(tmp_path / "predictions")
    raw = read_volume(path, labels=False).array.copy()
    shown = raw > -500
    grown = shown | np.roll(shown, 2, 0) | np.roll(shown, -2, 0)
    raw[grown & ~shown] = 40
    raw[:, 40:, :] = 700  # a couch
    save(path.with_name(f"{first.scan}.raw.nii.gz"), raw, AFFINE)
    rows = {(r["scan"], r["structure"], r["measure"]): r for r in measure(settings, volume, tmp_path)}
    outline = Cohort(volume).body(first.scan, SHAPE)
    dice = 2 * (grown & outline).sum() / (grown.sum() + outline.sum())
    assert float(rows[first.scan, "body", "outline_dice_raw"]["value"]) == pytest.approx(dice, abs=0.03)
    assert number(rows, "body", "outline_dice", first.scan) > number(rows, "body", "outline_dice_raw", first.scan)
    share = number(rows, "outside", "bone_outside_share_raw", first.scan)
    assert share == pytest.approx((raw[~outline] > 150).mean())
    assert number(rows, "outside", "bone_outside_share", first.scan) == 0
    assert [s for s, _, m in rows if m == "outline_dice_raw"] == [first.scan]


def test_a_missing_prediction_fails_in_the_rows_of_files_that_models_leave_beside_it(volume, tmp_path):
    settings = arm(tmp_path, task="translation", structures=[], predictions=str(tmp_path / "none"))
    (tmp_path / "none").mkdir()
    predict(settings, volume, 0, tmp_path / "predictions")
    trained = replace(settings, inference={"threads": 1}, own={**settings.own, "doubt": {"flips": True, "jitters": 0}})
    rows = {(r["structure"], r["measure"]): r for r in measure(trained, volume, tmp_path) if r["scan"] == "q0_mr"}
    for name in ("outline_dice_raw", "outline_hd95_raw_mm", "coverage_50", "coverage_95", "sparsification_area"):
        assert rows["body", name]["status"] == "missing_prediction"
    assert rows["outside", "bone_outside_share_raw"]["status"] == "missing_prediction"


def test_a_missing_prediction_fails_in_every_row_that_the_others_have(volume, tmp_path):
    save(tmp_path / "q0_mr.nii.gz", Cohort(volume).read("q0_ct", "image"), AFFINE)
    rows = of_arm(tmp_path, volume, predictions=str(tmp_path))
    names = {scan: {(s, m) for k, s, m in rows if k == scan} for scan in ("q0_mr", "q1_mr")}
    assert names["q0_mr"] == names["q1_mr"]
    assert {r["status"] for (s, _, _), r in rows.items() if s == "q1_mr"} == {"missing_prediction", "absent"}
    absent = {s: {k[1:] for k, r in rows.items() if k[0] == s and r["status"] == "absent"} for s in names}
    assert absent["q1_mr"] <= absent["q0_mr"]


@pytest.mark.parametrize("kind", ["axial", "coronal"])
def test_scans_of_one_slice_are_measured_in_their_plane(tmp_path, kind):
    scans = heads(tmp_path / "c", kind)
    metrics = METRICS | {"structural": True}
    rows = of_arm(tmp_path, scans, baseline="depth_profile", metrics=metrics)
    assert 0.3 < number(rows, "body", "ssim_2d") <= 1
    names = {m for _, _, m in rows}
    assert not names & {"ssim", "ms_ssim", "ms_ssim_synthrad2025", "slice_change_ratio"}
    assert number(rows, "bone", "bone_dice") > 0.6
    assert not {r["status"] for r in rows.values()} - {"ok", "absent"}
    if kind == "axial":
        assert number(rows, "brain", "intracranial_air_share") == 0
    missing = of_arm(tmp_path / "none", scans, predictions=str(tmp_path / "c"), metrics=metrics)
    assert {m for _, _, m in missing} == names
    (strip,) = {(s.title, s.caption) for s in read_strips(tmp_path / "cases")}
    assert kind in strip[1]


def test_all_arms_stand_side_by_side(volume, tmp_path):
    study = tmp_path / "study"
    names = ("constant", "depth_profile")
    for name in names:
        of_arm(study / name / "fold0/seed0", volume, baseline=name, metrics=METRICS | {"shown_scan": "q1_mr"})
    found = read_strips(study / "constant/fold0/seed0/cases")
    assert [(s.place, s.label) for s in found] == [("first", "source"), ("arm", ""), ("last", "true image")]
    assert found[0].caption.startswith("q1_mr, from above: coronal ")
    assert found[0].caption.count("axial") == 3
    parts = [[n, 0, 0] for n in names] + [["none", 0, 0]]
    ((title, (picture,)),) = strip_pictures(study, parts).items()
    size = Image.open(study / "constant/fold0/seed0/cases/strips/source.png").size
    assert picture.size[0] == 4 * size[0] + 3 * 4
    assert title.startswith("The source, all arms")
    assert strip_pictures(study, [["none", 0, 0]]) == {}
