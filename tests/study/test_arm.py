"""An arm from predictions to measures: outside files, baselines, folds, failures, pictures."""

import csv
import json

import numpy as np
import pytest

from tests.conftest import ball_ct, save
from tests.study.cohorts import (
    AFFINE,
    METRICS,
    SHAPE,
    arm,
    imported,
    labelled_cohort,
    labels_of,
    measure,
    predict,
)
from tests.volume.test_seg_nrrd import write_segments
from volforge import places
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, cases_with, training_rows
from volforge.study.chosen import chosen_cases
from volforge.study.predictions import Prediction, read_predictions
from volforge.study.settings import ArmSettings
from volforge.volume.read import read_volume


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return labelled_cohort(tmp_path_factory.mktemp("cohort"))


def measured(folder, settings, scans, fold=0):
    predict(settings, scans, fold, folder / "predictions")
    return measure(settings, scans, folder, fold)


def value(rows, scan, side, measure="dice"):
    found = [r for r in rows if (r["scan"], r["side"], r["measure"]) == (scan, side, measure)]
    assert len(found) == 1
    return found[0]


def test_predictions_of_others_are_measured_in_any_axis_order(scans, tmp_path):
    """The same map saved on the source's grid and in RAS order, as integers and as decimals, scores the same."""
    truth = read_volume(scans.parents[3] / "s2_l.nii.gz", labels=True)
    save(tmp_path / "s2.nii.gz", truth.array, AFFINE)
    cohort = Cohort(scans)
    canonical = cohort.read("s3", "labels")
    affine = np.array(cohort.record("s3")["grid"]["affine"])
    save(tmp_path / "s3.nii.gz", canonical.astype(np.float32), affine)
    rows = measured(tmp_path / "out", arm(tmp_path, predictions=str(tmp_path)), scans)
    for scan in ("s2", "s3"):
        for side in ("left", "right"):
            assert value(rows, scan, side)["value"] == "1"
            assert value(rows, scan, side, "hd_mm")["value"] == "0"
    assert {r["subject"] for r in rows} == {"p2", "p3"}
    assert {r["label_source"] for r in rows} == {"expert"}
    assert {r["structure"] for r in rows} == {"ball"}


def test_predicted_segments_are_measured_by_their_names(scans, tmp_path):
    """3D Slicer numbered the right side first; by number both sides would be missed."""
    cohort = Cohort(scans)
    for scan in ("s2", "s3"):
        labels = cohort.read(scan, "labels")
        values = np.choose(labels, [0, 2, 1]).astype(np.uint8)
        affine = np.array(cohort.record(scan)["grid"]["affine"])
        write_segments(tmp_path / f"{scan}.seg.nrrd", [values], [("ball right", 1, 0), ("Ball_Left", 2, 0)], affine)
    rows = measured(tmp_path / "out", arm(tmp_path, predictions=str(tmp_path)), scans)
    assert {value(rows, scan, side)["value"] for scan in ("s2", "s3") for side in ("left", "right")} == {"1"}


def test_a_missing_prediction_is_a_failure_and_not_left_out(scans, tmp_path):
    save(tmp_path / "s2.nii.gz", labels_of(ball_ct(SHAPE, 11)), AFFINE)
    rows = measured(tmp_path / "out", arm(tmp_path, predictions=str(tmp_path)), scans)
    missing = value(rows, "s3", "left")
    assert (missing["value"], missing["status"]) == ("", "missing_prediction")
    assert value(rows, "s2", "left")["status"] == "ok"
    with (tmp_path / "out/cases/cases.tsv").open() as file:
        assert [c["scan"] for c in csv.DictReader(file, delimiter="\t")] == ["s2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: (a[:-1], AFFINE), "not on the scan's grid"),
        (lambda a: (a, AFFINE + np.array([[0, 0, 0, 9]] + [[0] * 4] * 3)), "not on the scan's grid"),
        (lambda a: (a * 0.5, AFFINE), "not a label map"),
    ],
)
def test_a_prediction_that_fits_not_is_refused_with_its_file(scans, tmp_path, change, message):
    array, affine = change(labels_of(ball_ct(SHAPE, 11)).astype(np.float32))
    save(tmp_path / "s2.nii.gz", array, affine)
    with pytest.raises(VolforgeError, match=message) as error:
        measured(tmp_path / "out", arm(tmp_path, predictions=str(tmp_path)), scans)
    assert "s2.nii.gz" in str(error.value)
    assert not (tmp_path / "out/measures.tsv").exists()


def test_an_empty_prediction_has_no_value_and_no_perfect_score(scans, tmp_path):
    for i in (2, 3):
        save(tmp_path / f"s{i}.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    rows = measured(tmp_path / "out", arm(tmp_path, predictions=str(tmp_path)), scans)
    scores = [r for r in rows if not r["measure"].endswith("volume_mm3")]
    assert {r["status"] for r in scores} == {"empty_prediction"}
    assert {r["value"] for r in scores} == {""}


def test_baselines_learn_from_training_subjects_only(scans, tmp_path):
    settings = arm(tmp_path, by_fold=True)
    cohort = Cohort(scans)
    for fold in (0, 1):
        tested = {c.subject for c in cases_with(settings, cohort, fold, ("labels",))}
        learnt = {r["subject"] for r in training_rows(settings, cohort, fold)}
        assert tested
        assert learnt
        assert not tested & learnt
    assert {c.scan for c in cases_with(arm(tmp_path), cohort, 0, ("labels",))} == {"s2", "s3"}
    assert {r["scan"] for r in training_rows(arm(tmp_path), cohort, 0)} == {"s0", "s1"}


def test_mean_labels_state_a_confidence_that_is_judged(scans, tmp_path):
    rows = measured(tmp_path / "out", arm(tmp_path, baseline="mean_labels"), scans)
    assert float(value(rows, "s2", "left")["value"]) > 0.8
    doubt = [r for r in rows if r["measure"] == "calibration_error"]
    assert len(doubt) == 2
    assert all(0 <= float(r["value"]) < 0.5 for r in doubt)
    with (tmp_path / "out/cases/calibration.tsv").open() as file:
        curve = list(csv.DictReader(file, delimiter="\t"))
    assert sum(int(r["count"]) for r in curve) == sum(int(r["n"]) for r in doubt)


def test_predictions_lie_on_the_grid_of_the_source_file(scans, tmp_path):
    predict(arm(tmp_path, baseline="threshold_components", threshold_hu=0), scans, 0, tmp_path / "predictions")
    for p in read_predictions(tmp_path / "predictions"):
        volume = read_volume(p.path(tmp_path / "predictions"), labels=False)
        assert volume.array.shape == SHAPE
        np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-5)
    cost = json.loads((tmp_path / "predictions/cost.json").read_text())
    assert cost["cases"] == 2
    assert cost["peak_memory_gib"] > 0


def test_the_same_arm_gives_the_same_bytes(scans, tmp_path):
    for name in ("one", "two"):
        measured(tmp_path / name, arm(tmp_path, baseline="mean_labels"), scans)
    for file in ("measures.tsv", "predictions/predictions.tsv", "cases/cases.tsv", "cases/s2-0.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_settings_of_older_versions_have_no_entry_and_are_refused(tmp_path):
    arm(tmp_path)
    content = json.loads((tmp_path / "settings.json").read_text())
    del content["entry"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    with pytest.raises(VolforgeError, match="not the settings of an arm: it has no entry"):
        ArmSettings.load(tmp_path / "old.json")
    with pytest.raises(VolforgeError, match="'' is no place of a function"):  # of the networks that judge
        places.at("")


def test_nothing_to_measure_says_where_to_look(scans, tmp_path):
    with pytest.raises(VolforgeError, match="no scan of the fold 7 can be measured"):
        predict(arm(tmp_path, baseline="mean_labels", by_fold=True), scans, 7, tmp_path / "predictions")
    assert not (tmp_path / "predictions").exists()


def test_opened_cases_are_worst_best_and_between():
    scores = [(float(i), Prediction(f"s{i}", "p", "s", "", file="f")) for i in range(11)]
    chosen = chosen_cases(scores, 3)
    assert [(w, p.scan) for w, p in chosen] == [("worst", "s10"), ("median", "s5"), ("best", "s0")]
    assert len(chosen_cases(scores, 0)) == 0
    assert [w for w, _ in chosen_cases(scores[:1], 6)] == ["worst"]


COARSE = np.diag([2.0, 2.0, 2.0, 1.0]) + np.array([[0, 0, 0, 0.5]] * 3 + [[0] * 4])


def trunks(folder):
    """Two training CTs, and a test subject with an aligned MR on another grid and axis order."""
    lines = ["subject\tscan\tmodality\tunit\tframe\timage\tsplit"]
    for i in range(2):
        save(folder / f"ct{i}.nii.gz", ball_ct(SHAPE, 10 + i), np.eye(4))
        lines.append(f"p{i}\tct{i}\tCT\thu\t\tct{i}.nii.gz\ttrain")
    save(folder / "mr.nii.gz", (np.clip(ball_ct((20, 20, 15), 6), 0, None) * 3).astype(np.int16), COARSE)
    save(folder / "ct.nii.gz", ball_ct(SHAPE, 12), np.eye(4))
    lines += ["q\tmr\tMR\tarbitrary\tf\tmr.nii.gz\ttest", "q\tct\tCT\thu\tf\tct.nii.gz\ttest"]
    return imported(folder, lines, {})


def test_a_translation_is_measured_on_the_grid_of_the_ct(tmp_path):
    scans = trunks(tmp_path)
    rows = measured(tmp_path / "out", arm(tmp_path, task="translation", baseline="constant", structures=[]), scans)
    found = {(r["structure"], r["measure"]): r for r in rows}
    assert {r["scan"] for r in rows} == {"mr"}
    body = Cohort(scans).read("ct", "body") > 0
    assert int(found["body", "mae_hu"]["n"]) == pytest.approx(body.sum(), rel=0.02)
    assert float(found["body", "outline_dice"]["value"]) > 0.9
    assert found["bone", "mae_hu"]["status"] in ("ok", "absent")


def test_an_image_with_holes_in_its_numbers_fails(tmp_path):
    scans = trunks(tmp_path)
    image = np.full((20, 20, 15), 40, np.float32)
    image[10, 10, 7] = np.nan
    made = tmp_path / "made"
    save(made / "mr.nii.gz", image, COARSE)
    settings = arm(tmp_path, task="translation", predictions=str(made), structures=[])
    rows = measured(tmp_path / "out", settings, scans)
    assert {r["status"] for r in rows if r["measure"] == "mae_hu"} - {"absent"} == {"not_finite"}
    assert not any(r["value"] for r in rows)


def test_deviation_gives_coverage_and_samples_give_diversity(tmp_path):
    """An arm that states its deviation rightly covers 95 %; two equal samples have MS-SSIM 1."""
    from volforge.study.predictions import write_predictions
    from volforge.volume.folders import whole_folder

    lines = ["subject\tscan\tmodality\tunit\timage\tlabels\tlabel_source\tsplit"]
    generator = np.random.default_rng(0)
    image = ball_ct(SHAPE, 13)
    save(tmp_path / "a.nii.gz", image)
    save(tmp_path / "a_l.nii.gz", (image > -500).astype(np.uint8))
    lines.append("p\ta\tCT\thu\ta.nii.gz\ta_l.nii.gz\texpert\ttest")
    scans = imported(tmp_path, lines, {"ball": 1})
    settings = arm(tmp_path, task="semantic_synthesis", baseline="mean_painting", structures=[])
    truth = Cohort(scans).read("a", "image").astype(np.float32)
    with whole_folder(tmp_path / "out/predictions") as folder:
        save(folder / "x.nii.gz", truth + generator.normal(0, 20, SHAPE).astype(np.float32))
        save(folder / "sd.nii.gz", np.full(SHAPE, 20, np.float32))
        made = [Prediction("a", "p", "a", "expert", n, "x.nii.gz", deviation="sd.nii.gz") for n in (0, 1)]
        write_predictions(folder, made)
    rows = {(r["measure"], r["structure"], r["sample"]): r for r in measure(settings, scans, tmp_path / "out")}
    assert float(rows["coverage_95", "body", "0"]["value"]) == pytest.approx(0.95, abs=0.02)
    assert float(rows["diversity_ms_ssim", "body", "0"]["value"]) == pytest.approx(1)
    assert METRICS["range_hu"] == [-1024, 3000]


def test_what_a_model_learns_beside_is_no_row_of_the_study(scans, tmp_path):
    from volforge.study.predictions import by_structure, write_predictions

    cell = by_structure([("ball", "left", 0.5), ("other", "", 0.25)])
    folder = tmp_path / "predictions"
    folder.mkdir()
    write_predictions(folder, [Prediction("s2", "p2", "s2", "expert", cross_entropy_nats=cell)])
    rows = [r for r in measure(arm(tmp_path), scans, tmp_path) if r["measure"] == "cross_entropy_nats"]
    assert [(r["side"], r["structure"], float(r["value"])) for r in rows] == [("left", "ball", 0.5)]
