"""Generators in the configuration: what they resolve to, and what is wrong before anything runs."""

import json

import pytest
import yaml

from tests.conftest import ROOT
from volforge.errors import ProblemsError
from volforge.tasks.semantic_synthesis.settings import SynthesisSettings
from volforge.workflow.run import load_run
from volforge.workflow.study_jobs import inputs_of_measures, inputs_of_prediction, recipe_of_model
from volforge.workflow.study_settings import judge_settings, measure_settings, model_settings

BODY = {
    "sheet": str(ROOT / "config/examples/sheets/phantom_body.tsv"),
    "structures": str(ROOT / "config/cohorts/body.structures.tsv"),
    "phantom": {"kind": "body", "seed": 1},
}
RECIPE = {"kind": "slices", "spacing_mm": 6, "size": [64, 64], "ct_window": {"kind": "hu", "low": -1024, "high": 1500}}


def loaded(folder, model=None, recipe=None, defaults=None, **arm):
    generator = {"network": "oasis_generator", "recipe": "r", **(model or {})}
    content = {
        "cohorts": {"body": BODY},
        "recipes": {"r": {**RECIPE, **(recipe or {})}},
        "studies": {
            "paint": {
                "task": "semantic_synthesis", "cohort": "body", "defaults": defaults or {},
                "arms": {"volforge": {"models": {"image": generator}, **arm}},
            },
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_run([path], None)


def test_a_generator_resolves_to_all_that_its_training_reads(tmp_path):
    run = loaded(
        tmp_path,
        {"synthesis": {"dark": ["lung"], "edge_hu": -393}},
        defaults={"training": {"steps": 9}, "synthesis": {"outline": 0.25, "dark": ["bowel_gas"]}},
        inference={"samples": 3},
    )
    assert run.problems == []
    study = run.studies["paint"]
    settings = SynthesisSettings.of(model_settings(study, "volforge", "image"))
    assert [c.structure for c in settings.classes][:2] == ["skin", "fat"]
    assert settings.channels == 10
    assert settings.mirrored == list(range(10))
    assert (settings.synthesis["outline"], settings.synthesis["dark"]) == (0.25, ["lung"])
    assert settings.synthesis["segmenter"] == {"name": "oasis_segmenter"}
    assert settings.window == (-1024, 1500)
    assert settings.edge == pytest.approx(-0.5)
    assert settings.training["steps"] == 9
    assert recipe_of_model(study, "volforge", "image") == ["results/cohorts/body/recipes/r/index.tsv"]
    weights = "results/studies/paint/volforge/fold0/seed0/models/image/weights.safetensors"
    assert inputs_of_prediction(run.studies, study, "volforge", 0, 0) == {"image": weights}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": {"network": "oasis_generater"}}, "did you mean"),
        ({"model": {"network": {"name": "oasis_generator", "widht": 3}}}, "did you mean 'width'?"),
        ({"model": {"synthesis": {"segmenter": "unet"}}}, "unet"),
        ({"model": {"synthesis": {"discriminator": None}}}, "nothing else sees real images"),
        ({"model": {"synthesis": {"mode": "semi"}}}, "`pairs` belongs to the mode `semi`"),
        ({"model": {"synthesis": {"moments": 5}}}, "`moments` compares a painted slice with its real one"),
        ({"model": {"network": {"name": "oasis_generator", "noise": 0}, "synthesis": {"variety": 1}}}, "has no noise"),
        ({"model": {"synthesis": {"dark": ["lungs"]}}}, "'lungs' is no structure of the cohort"),
        ({"model": {"loss": "ce"}}, "has no meaning for a generator"),
        ({"model": {"training": {"rate": 0.1}}}, "training.rate: has no meaning for a generator"),
        ({"model": {"training": {"which": 130}}}, "step 130 is none that is validated: a multiple of 250"),
        ({"model": {"training": {"which": "latest", "patience": 3}}}, "`patience` ends a training by its best weights"),
        ({"model": {"recipe": "q"}}, "recipe is not defined"),
        ({"inference": {"samples": 2, "vary": ["lungs"]}}, "inference.vary: 'lungs' is no structure of the cohort"),
        ({"inference": {"vary": ["lung"]}}, "`vary` needs `samples: 2` or more"),
        ({"inference": {"between": True}}, "`between` needs `samples: 2` or more"),
        ({"model": {"synthesis": {"label_mix": 3}}}, "nothing reads it: the mode `unpaired` does not read it"),
        ({"model": {"synthesis": {"outline": 0, "edge_hu": -300}}}, "there is no loss of the `outline`"),
        ({"model": {"synthesis": {"mode": "paired", "discriminator": None, "penalty": 5}}}, "there is no `discrimi"),
        ({"model": {"training": {"flip": ["y"]}}}, "not flipped upside down"),
        ({"model": {"network": "unet3d"}}, "a network for something else"),
        ({"model": {"synthesis": {"segmenter": "wavelet_discriminator"}}}, "a network for something else"),
        ({"inference": {"overlap": 0.3}}, "inference.overlap: has no meaning for a generator"),
        ({"recipe": {"size": None}}, "differ in size"),
        ({"recipe": {"size": [64, 96]}}, "a power of two from 16, not [64, 96]"),
        ({"recipe": {"size": [48, 48]}}, "a power of two from 16"),
        ({"recipe": {"ct_window": {"kind": "percentile"}}}, "no image in HU"),
        ({"models": {"a": {"network": "oasis_generator"}, "b": {"network": "oasis_generator"}}}, "has one model"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, options, words):
    with pytest.raises(ProblemsError) as error:
        loaded(tmp_path, **options)
    assert words in str(error.value)
    assert "config.yaml" in str(error.value)


def mr(folder, metrics=None, recipe=None):
    path = folder / "config.yaml"
    content = {
        "cohorts": {"body": BODY},
        "recipes": {"r": {"kind": "slices", "spacing_mm": 6, "size": [64, 64], **(recipe or {})}},
        "studies": {
            "paint": {
                "task": "semantic_synthesis", "cohort": "body", "target": {"modality": "MR"}, "metrics": metrics or {},
                "arms": {"volforge": {"models": {"image": {"network": "oasis_generator", "recipe": "r"}}}},
            },
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return load_run([path], None)


def test_images_of_mr_are_in_percent_of_their_own_window(tmp_path):
    study = mr(tmp_path).studies["paint"]
    settings = SynthesisSettings.of(model_settings(study, "volforge", "image"))
    assert settings.window == (0, 100)
    assert settings.edge == pytest.approx(-0.9)
    metrics = json.loads(measure_settings(study, "volforge", {}))["metrics"]
    assert metrics["range_hu"] == metrics["window_hu"] == [0, 100]
    assert json.loads(judge_settings(study))["metrics"]["window_hu"] == [0, 100]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": {"window_hu": [0, 400]}}, "leave out window_hu"),
        ({"recipe": {"mr_window": {"kind": "percentile", "low": 1, "high": 99}}}, "leave out the recipe's `mr_window`"),
    ],
)
def test_another_window_of_mr_is_refused(tmp_path, options, words):
    with pytest.raises(ProblemsError) as error:
        mr(tmp_path, **options)
    assert words in str(error.value)


def test_no_segmenter_is_trained_where_none_is_wanted(tmp_path):
    assert set(inputs_of_measures(mr(tmp_path).studies["paint"], 0)) == {"slice_encoder", "judging_segmenter"}
    study = mr(tmp_path, {"segmenter_steps": 0}).studies["paint"]
    assert set(inputs_of_measures(study, 0)) == {"slice_encoder"}
    assert "segmenter_steps" not in json.loads(judge_settings(study))["metrics"]
