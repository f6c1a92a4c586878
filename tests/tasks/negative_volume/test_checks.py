"""Negative volumes in the configuration: what is wrong is said with its place before anything runs."""

import pytest
import yaml

from tests.conftest import ROOT
from volforge.errors import ProblemsError
from volforge.tasks.negative_volume.checks import joint_content
from volforge.workflow.run import load_run
from volforge.workflow.study_jobs import inputs_of_measures, inputs_of_prediction
from volforge.workflow.study_settings import model_settings


def loaded(folder, joint=None, arms=None, segmentation=None, recipes=None):
    content = {
        "recipes": recipes or {},
        "cohorts": {"tmj": {"sheet": str(ROOT / "config/cohorts/tmj.tsv"), "phantom": {"kind": "tmj"}, "folds": 2}},
        "studies": {
            "seg": {
                "task": "segmentation", "cohort": "tmj", "folds": [0, 1], "structures": ["condyle", "temporal_bone"],
                "arms": {"threshold": {"baseline": "threshold_components"}}, **(segmentation or {}),
            },
            "nv": {
                "task": "negative_volume", "cohort": "tmj", "folds": [0], "joint": joint or {},
                "arms": {"labels": {"inflation": {"labels_from": "labels"}}, **(arms or {})},
            },
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_run([path], None)


def test_ids_by_side_come_from_the_table_of_structures(tmp_path):
    run = loaded(
        tmp_path, {"others": ["mandible"]}, {"seg": {"inflation": {"labels_from": "seg/threshold", "method": "mesh"}}}
    )
    study = run.studies["nv"]
    content = joint_content(study, "seg")
    assert content["sides"]["left"] == {"condyle": [1], "barrier": [3], "others": [5], "drawn": []}
    assert content["sides"]["right"]["condyle"] == [2]
    assert content["inflation"]["method"] == "mesh"
    assert inputs_of_prediction(run.studies, study, "labels", 0, 0) == {}
    source = "results/studies/seg/threshold/fold0/seed0/predictions/predictions.tsv"
    assert inputs_of_prediction(run.studies, study, "seg", 0, 0) == {"labels": source}
    reference = "results/studies/nv/labels/fold0/seed0/predictions/predictions.tsv"
    assert inputs_of_measures(study, 0) == {"reference": reference}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"joint": {"condyle": "jaw"}}, "no left and no right structure of the group 'jaw'"),
        ({"joint": {"derive": {"mandible": "jaw", "skull": "temporal_bone"}}}, "no such structure or group"),
        ({"joint": {"r_max_mm": 0}}, "greater than 0"),
        ({"joint": {"step_mm": 0.001}}, "greater than or equal to 0.1"),
        ({"joint": {"barrier": "condyle"}}, "share labels"),
        (
            {"joint": {"derive": {"mandible": "mandible", "skull": "temporal_bone"}, "condyle": "jaw"}},
            "nothing reads it: `derive` makes condyle and barrier",
        ),
        ({"arms": {"a": {"inflation": {"labels_from": "seg/none"}}}}, "no such arm of another study"),
        ({"arms": {"a": {"inflation": {"labels_from": "nv/labels"}}}}, "that study makes no label maps"),
        ({"arms": {"a": {"baseline": "mean_labels"}}}, "needs `inflation`"),
        ({"arms": {"a": {"inflation": {"labels_from": "labels", "method": "direct"}}}}, "needs it"),
        (
            {"arms": {"a": {"inflation": {"labels_from": "labels", "method": "direct", "structure": "ball"}}}},
            "no left and no right structure of this group",
        ),
        (
            {"segmentation": {"folds": [1]}, "arms": {"a": {"inflation": {"labels_from": "seg/threshold"}}}},
            "same folds",
        ),
        (
            {
                "segmentation": {"structures": ["condyle"]},
                "arms": {"a": {"inflation": {"labels_from": "seg/threshold"}}},
            },
            "does not predict all of temporal_bone",
        ),
        (
            {"arms": {"labels": {"inflation": {"labels_from": "labels", "method": "mesh"}}}},
            "inflate the scans' own labels",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, options, words):
    with pytest.raises(ProblemsError) as error:
        loaded(tmp_path, **options)
    assert words in str(error.value)
    assert "config.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("segmentation", "key"),
    [
        ({"arms": {"a": {"inflation": {"labels_from": "labels"}}}}, "arms.a.inflation"),
        ({"joint": {"condyle": "condyle"}}, "joint"),
    ],
)
def test_inflation_belongs_to_negative_volumes(tmp_path, segmentation, key):
    with pytest.raises(ProblemsError, match=f"studies.seg.{key}: unknown key"):
        loaded(tmp_path, segmentation=segmentation)


def test_structures_may_be_predicted_by_their_own_names(tmp_path):
    names = ["condyle_left", "condyle_right", "temporal_bone_left", "temporal_bone_right"]
    run = loaded(tmp_path, None, {"a": {"inflation": {"labels_from": "seg/threshold"}}}, {"structures": names})
    assert run.problems == []


def test_an_arm_may_learn_bone_that_its_study_does_not_measure(tmp_path):
    model = {
        "network": "unet3d", "recipe": "r", "structures": ["condyle", "temporal_bone", "mandible"],
        "region": {"around": "condyle", "size": [32, 32, 32]}, "needs": ["shared/localiser"],
    }  # fmt: skip
    segmentation = {
        "arms": {"a": {"models": {"joint": model}}, "threshold": {"baseline": "threshold_components"}},
        "shared": {"localiser": {"kind": "localiser", "network": "unet3d", "recipe": "r", "structures": ["condyle"]}},
    }
    run = loaded(
        tmp_path,
        {"others": ["mandible"]},
        {"seg": {"inflation": {"labels_from": "seg/a"}}, "base": {"inflation": {"labels_from": "seg/threshold"}}},
        segmentation,
        {"r": {"kind": "region", "around": "image", "margin_mm": 0}},
    )
    assert run.problems == []  # of a threshold nobody can ask for more
    study = run.studies["seg"]
    assert {s["structure"] for s in study.structures()} == {"condyle", "temporal_bone"}
    settings = model_settings(study, "a", "joint")
    assert [c["structure"] for c in settings["classes"]] == ["condyle", "temporal_bone", "mandible"]
    model["structures"] = ["condyle", "tooth"]
    with pytest.raises(ProblemsError, match="no structure or group 'tooth'"):
        loaded(tmp_path, {}, {}, segmentation, {"r": {"kind": "region", "around": "image", "margin_mm": 0}})


def test_bone_that_the_network_does_not_know_is_a_warning(tmp_path):
    learnt = {"arms": {"elsewhere": {"predictions": str(tmp_path)}}}
    run = loaded(tmp_path, {"others": ["mandible"]}, {"a": {"inflation": {"labels_from": "seg/elsewhere"}}}, learnt)
    assert [p.level for p in run.problems] == ["warning"]
    assert "mandible" in run.problems[0].message
