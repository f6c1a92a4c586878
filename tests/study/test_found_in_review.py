"""What an independent review of studies found."""

import numpy as np
import pytest

from tests.conftest import save
from tests.study.cohorts import AFFINE, SHAPE, arm, labelled_cohort, measure, predict
from tests.study.test_arm import COARSE, measured, trunks
from volforge.errors import VolforgeError
from volforge.metrics.measure import FAILURES, Measure, better, nothing
from volforge.report.published import COLUMNS, read_published
from volforge.study.case_picture import image_picture
from volforge.study.measure_arm import case_score
from volforge.study.outside import unmatched
from volforge.study.volumes import Volumes
from volforge.tasks.translation.task import TranslationStudy
from volforge.workflow.run import load_run


def test_a_missing_image_fails_in_every_row_that_the_others_have(tmp_path):
    """Otherwise an arm wins the rows in which its absence is not counted."""
    scans = trunks(tmp_path)
    names = {}
    for name in ("there", "missing"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "there":
            save(folder / "mr.nii.gz", np.full((20, 20, 15), 40, np.int16), COARSE)
        settings = arm(tmp_path, task="translation", predictions=str(folder), structures=[])
        rows = measured(tmp_path / f"out_{name}", settings, scans)
        names[name] = {(r["structure"], r["measure"]): r["status"] for r in rows}
    assert names["there"].keys() == names["missing"].keys()
    for row, status in names["missing"].items():  # what the true image does not show may be absent, and no failure
        assert status == "missing_prediction" or (status, names["there"][row]) == ("absent", "absent"), row
    assert list(names["missing"].values()).count("missing_prediction") > 20


def test_everything_that_is_wrong_with_files_of_others_is_named_at_once(tmp_path, capsys):
    scans = labelled_cohort(tmp_path)
    made = tmp_path / "made"
    save(made / "s2.nii.gz", np.ones(SHAPE, np.uint8)[:-1], AFFINE)
    save(made / "s3.nii.gz", np.full(SHAPE, 77, np.uint8), AFFINE)
    save(made / "s9_seg.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)
    with pytest.raises(VolforgeError) as error:
        predict(arm(tmp_path, predictions=str(made)), scans, 0, tmp_path / "out")
    text = str(error.value)
    assert "2 predictions cannot be used" in text
    assert "s2.nii.gz: not on the scan's grid" in text
    assert "s3.nii.gz: holds the ids [77], none of the study's structures" in text
    assert "s9_seg.nii.gz" in capsys.readouterr().err
    assert unmatched(str(made), {"s2", "s3"}) == ["s9_seg.nii.gz"]


def resolved(tmp_path, study):
    (tmp_path / "s.tsv").write_text(
        "subject\tscan\tmodality\timage\tlabels\tlabel_source\na\ta\tCT\ta.nii.gz\tl.nii.gz\texpert\n"
    )
    table = "structure\tid\tside\tgroup\nl1\t1\t\tvertebrae\nl2\t2\t\tvertebrae\nrib_left\t3\tleft\trib\nrib_right\t4\tright\trib\n"
    (tmp_path / "s.structures.tsv").write_text(table)
    (tmp_path / "c.yaml").write_text(f"cohorts: {{c: {{sheet: s.tsv}}}}\nstudies:\n  s: {study}\n")
    return load_run([tmp_path / "c.yaml"], check_files=False).studies["s"]


def test_structures_of_one_group_and_side_keep_their_own_names(tmp_path):
    study = resolved(tmp_path, "{task: segmentation, cohort: c, arms: {a: {baseline: mean_labels}}}")
    assert [(p["structure"], p["side"], p["id"]) for p in study.structures()] == [
        ("l1", "", 1), ("l2", "", 2), ("rib", "left", 3), ("rib", "right", 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{task: segmentation, cohort: x, arms: {a: {baseline: mean_labels}}}", "cohort is not defined"),
        ("{task: segmentation, cohort: c, folds: [9], arms: {a: {baseline: mean_labels}}}", "no such fold"),
        (
            "{task: segmentation, cohort: c, structures: [spleen], arms: {a: {baseline: mean_labels}}}",
            "no such structure",
        ),
        ("{task: segmentation, cohort: c, arms: {a: {baseline: mirror}}}", "not one of the task"),
        ("{task: implant, cohort: c, arms: {a: {baseline: mirror}}}", "has both `defective` and `implant`"),
        ("{task: segmentation, cohort: c, arms: {a: {}}}", "one of `models`, `baseline` and `predictions`"),
        (
            "{task: negative_volume, cohort: c, arms: {a: {}}}",
            "one of `models`, `baseline`, `predictions` and `inflation`",
        ),
        ("{task: translation, cohort: c, arms: {a: {baseline: constant}}}", "no scan of this modality"),
        ("{task: segmentation, cohort: c, arms: {shared: {baseline: mean_labels}}}", "serve all arms"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_anything_runs(tmp_path, change, message):
    with pytest.raises(VolforgeError, match=message) as error:
        resolved(tmp_path, change)
    assert "c.yaml:3" in str(error.value)


def test_translation_makes_another_image():
    arms = {"a": {"baseline": "constant"}}
    back = {"task": "translation", "cohort": "c", "source": {"modality": "CT"}, "target": {"modality": "MR"}}
    assert TranslationStudy.model_validate({**back, "arms": arms}).target.modality == "MR"
    with pytest.raises(ValueError, match="values of MR are percent"):
        TranslationStudy.model_validate({**back, "arms": arms, "metrics": {"range_hu": [0, 1]}})
    same = {"modality": "CT"}
    with pytest.raises(ValueError, match="source and target are the same"):
        TranslationStudy.model_validate(
            {"task": "translation", "cohort": "c", "source": same, "target": same, "arms": arms}
        )


def test_nothing_is_chosen_by_what_only_describes():
    for name in ("legacy_hd_voxels", "volume_error_percent", "frechet_slice_encoder_floor", "diversity_ms_ssim"):
        assert better(name) == "neither", name
    assert better("coverage_95") == "nominal"
    assert "not_finite" in FAILURES


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [("value", "91", "a share, 0 to 1"), ("value", "nan", "is no number"), ("unit", "cm", "unit of hd_mm is mm")],
)
def test_published_numbers_are_checked(tmp_path, cell, value, message):
    row = dict.fromkeys(COLUMNS, "x") | {"measure": "dice", "value": "0.9", "unit": "1", "n": "", "spread": ""}
    if cell == "unit":
        row |= {"measure": "hd_mm", "value": "3"}
    row[cell] = value
    (tmp_path / "p.tsv").write_text("\t".join(COLUMNS) + "\n" + "\t".join(row.values()) + "\n")
    with pytest.raises(VolforgeError, match=f"line 2: .*{message}"):
        read_published(tmp_path / "p.tsv")
    (tmp_path / "p.tsv").write_text("\t".join(COLUMNS) + "\n" + "\t".join(list(row.values())[:-2]) + "\n")
    with pytest.raises(VolforgeError, match="13 cells are needed"):
        read_published(tmp_path / "p.tsv")


def test_the_region_of_calibration_is_the_references(tmp_path):
    """A blob far away must not make an arm look better calibrated."""
    scans = labelled_cohort(tmp_path)
    counts = []
    for name in ("plain", "blob"):
        settings = arm(tmp_path, baseline="mean_labels")
        predict(settings, scans, 0, tmp_path / name / "predictions")
        if name == "blob":
            from volforge.volume.read import read_volume

            path = tmp_path / name / "predictions/s2.nii.gz"
            array = read_volume(path, labels=False).array.copy()
            array[0:3, 0:3, 0:3] = 1
            save(path, array, AFFINE)
        rows = measure(settings, scans, tmp_path / name)
        counts.append([r["n"] for r in rows if r["measure"] == "calibration_error"])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_picture_of_a_scan_of_one_slice_shows_that_slice(axis):
    shape = tuple(1 if a == axis else 60 for a in range(3))
    image = np.linspace(-1000, 1000, 3600, dtype=np.float32).reshape(shape)
    body = np.ones(shape, bool)
    volumes = Volumes(image, image, image, body, body, None, (2.0, 2.0, 2.0))
    picture = image_picture(volumes, None, is_hounsfield=True)
    assert picture.shape[0] > 100
    assert len(np.unique(picture[:, : picture.shape[1] // 4])) > 50


def test_cases_are_ranked_by_the_whole_body_and_not_by_tissues_that_some_lack():
    body, air = Measure("mae_hu", 120.0, "body", "ok", 9), nothing("mae_hu", "absent", "air")
    assert case_score("mae_hu", [body, air], ("body",)) == 120
    assert case_score("mae_hu", [body, air], ()) == np.inf
