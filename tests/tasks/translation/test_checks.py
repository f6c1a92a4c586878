"""Models of translation in the configuration: what they resolve to, and what is wrong before anything runs."""

import json

import pytest
import yaml

from tests.conftest import ROOT
from volforge.config.models import SliceRecipe
from volforge.errors import ProblemsError
from volforge.tasks.translation.settings import TranslationSettings
from volforge.workflow.run import load_run
from volforge.workflow.study_jobs import inputs_of_prediction, inputs_of_training, recipe_of_model
from volforge.workflow.study_settings import model_settings, predict_settings, table_settings

BODY = {
    "sheet": str(ROOT / "config/examples/sheets/phantom_body.tsv"),
    "structures": str(ROOT / "config/cohorts/body.structures.tsv"),
    "phantom": {"kind": "body", "seed": 1},
}
RECIPE = {"kind": "slices", "spacing_mm": 6, "size": [64, 64], "ct_window": {"kind": "hu", "low": -1000, "high": 1400}}
OUTLINE = {"outline": {"learns": "outline", "network": "shape_unet", "recipe": "r"}}


def loaded(folder, model=None, recipe=None, shared=None, more=None, **study):
    own = {"network": "resnet_generator", "recipe": "r", **(model or {})}
    content = {
        "cohorts": {"body": BODY},
        "recipes": {"r": {**RECIPE, **(recipe or {})}},
        "studies": {
            "mr": {
                "task": "translation", "cohort": "body", "shared": shared or {},
                "arms": {"volforge": {"models": {"axial": own, **(more or {})}}}, **study,
            },
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_run([path], None)


def texts(*given, **more):
    try:
        return [p.message for p in loaded(*given, **more).problems]
    except ProblemsError as error:
        return [p.message for p in error.problems]


def test_a_model_resolves_to_all_that_its_training_reads(tmp_path):
    run = loaded(tmp_path, {"translation": {"method": "cycle", "correlation": 2}})
    assert run.problems == []
    study = run.studies["mr"]
    made = TranslationSettings.of(model_settings(study, "volforge", "axial"))
    assert made.method == "cycle"
    assert made.window == (-1000, 1400)
    assert (made.channels, made.view, made.is_hounsfield) == (1, "axial", True)
    assert made.translation["discriminator"] == {"name": "patch_discriminator"}
    assert made.recipe_settings == SliceRecipe(**RECIPE).model_dump(mode="json")
    assert recipe_of_model(study, "volforge", "axial") == ["results/cohorts/body/recipes/r/index.tsv"]
    weights = "results/studies/mr/volforge/fold0/seed0/models/axial/weights.safetensors"
    assert inputs_of_prediction(run.studies, study, "volforge", 0, 0) == {"axial": weights}
    assert json.loads(predict_settings(study, "volforge"))["fuse"] == "median"


def test_the_shape_extractor_is_needed_in_training_alone(tmp_path):
    run = loaded(
        tmp_path,
        {"translation": {"method": "cycle", "shape": 10}, "needs": ["shared/outline"]},
        shared=OUTLINE,
    )
    assert run.problems == []
    study = run.studies["mr"]
    weights = "results/studies/mr/shared/fold0/seed0/models/outline/weights.safetensors"
    assert inputs_of_training(run.studies, study, "volforge", "axial", 0, 0) == {"shared/outline": weights}
    made = TranslationSettings.of(model_settings(study, "shared", "outline"))
    assert made.kind == "shape_extractor"


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ({"network": None}, "a model needs a network"),
        ({"recipe": None}, "needs a recipe of the kind `slices`"),
        ({"recipe": "rr"}, "recipe is not defined"),
        ({"loss": "dice"}, "has no meaning for translation"),
        ({"training": {"optimizer": "sgd"}}, "has no meaning for translation"),
        ({"training": {"flip": ["z"]}}, "bodies are not flipped"),
        ({"translation": {"method": "cycle", "shape": 10}}, "a loss of shape needs one shape extractor"),
        ({"translation": {"method": "cycle", "select": "painted"}}, "only `painted` paints"),
        ({"translation": {"method": "cycle", "pairs": 3}}, "others see none"),
        ({"translation": {"method": "paired", "targets": 3}}, "learns from pairs alone"),
        ({"translation": {"correlation": 2}}, "belongs to adversarial methods"),
        ({"translation": {"position": 0.1}}, "draw slices of both domains"),
        ({"translation": {"method": "one_way", "adversarial": 0}}, "the discriminator alone sees real targets"),
        ({"translation": {"also": ["opposed"]}}, "stand beside one that the study's `source` names"),
        ({"translation": {"start": "x/y/z"}}, "`start` names 'x/y/z', which `needs` does not hold"),
        ({"network": {"name": "resnet_generator", "wide": 3}}, "has no keyword 'wide'"),
        ({"learns": "outline"}, "the shape extractor serves all arms"),
        ({"translation": {"select": "painted"}, "training": {"which": "latest"}}, "`which: latest` keeps others"),
        (
            {"translation": {"method": "cycle", "select": "pairs"}, "training": {"validation": 0, "which": "best"}},
            "`pairs` chooses by validation subjects, and `training: {validation: 0}` holds none back",
        ),
        ({"translation": {"structure": {"term": "mind"}}}, "belongs to adversarial methods: others have an answer"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_before_anything_runs(tmp_path, model, wrong):
    found = texts(tmp_path, model)
    assert any(wrong in t for t in found), found


@pytest.mark.parametrize(
    ("own", "note"),
    [
        ({"method": "cycle"}, ""),
        ({"method": "cycle", "select": "structure"}, "unpaired, selected by inner structure with pairs of the"),
        ({"method": "contrast", "select": "pairs"}, "unpaired, selected by the error on pairs of the validation"),
        ({"method": "painted", "select": "painted"}, "unpaired, selected by MR painted from CT of the validation"),
        ({"method": "painted", "pairs": 3}, "learnt from registered pairs of 3 subjects too"),
        ({"method": "paired", "select": "pairs"}, "learnt from registered pairs; selected by the error on pairs"),
    ],
)
def test_the_table_says_what_an_arm_saw_of_pairs(tmp_path, own, note):
    study = loaded(tmp_path, {"translation": own}).studies["mr"]
    said = json.loads(table_settings({"mr": study}, study))["arms"]["volforge"]["note"]
    assert said.startswith(note)
    assert bool(said) == bool(note)


def test_the_table_says_what_an_arm_s_start_saw(tmp_path):
    needs = ["mr/base/axial"]
    own = {"translation": {"method": "cycle", "start": needs[0]}, "needs": needs}
    for first, note in (
        ({"method": "cycle"}, ""),
        (
            {"method": "cycle", "select": "pairs"},
            "begun with a model that was unpaired, selected by the error on pairs",
        ),
        ({"method": "painted", "pairs": 2}, "begun with a model that was learnt from registered pairs of 2 subjects"),
    ):
        base = {"network": "resnet_generator", "recipe": "r", "translation": first}
        arms = {
            "base": {"models": {"axial": base}},
            "volforge": {"models": {"axial": {"network": "resnet_generator", "recipe": "r", **own}}},
        }
        study = loaded(tmp_path, arms=arms).studies["mr"]
        assert json.loads(table_settings({"mr": study}, study))["arms"]["volforge"]["note"].startswith(note)
        assert bool(json.loads(table_settings({"mr": study}, study))["arms"]["volforge"]["note"]) == bool(note)


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ({"translation": {"method": "cycle", "bone": 1}}, "the method `cycle` does not read it"),
        ({"translation": {"method": "one_way", "painting": {"fluid": False}}}, "it belongs to painted"),
        ({"translation": {"cycle": 5}}, "the method `painted` does not read it"),
        ({"translation": {"method": "cycle", "contrast": 2}}, "it belongs to contrast"),
        ({"translation": {"pool": 3}}, "it belongs to cycle, one_way, contrast"),
        ({"translation": {"flip_equivariance": True}}, "it belongs to cycle, one_way, contrast"),
        ({"translation": {"method": "cycle", "correlation_in": "body"}}, "there is no weight of `correlation`"),
        ({"translation": {"method": "paired", "adversarial": 0.01}}, "no `discriminator` is named"),
        ({"training": {"which": "best"}}, "the last weights are taken, since nothing chooses"),
        ({"training": {"patience": 3}}, "the last weights are taken, since nothing chooses"),
        ({"network": "vnet"}, "a network for something else"),
        ({"translation": {"method": "cycle", "discriminator": "resnet_generator"}}, "a network for something else"),
        ({"translation": {"method": "contrast"}, "network": "image_unet"}, "this one shows none"),
    ],
)
def test_what_nothing_would_read_is_said(tmp_path, model, wrong):
    found = texts(tmp_path, model)
    assert any(wrong in t for t in found), found


def test_what_the_study_says_for_some_models_is_no_fault_of_others(tmp_path):
    defaults = {"translation": {"cycle": 5, "bone": 1, "discriminator": "patch_discriminator"}}
    assert texts(tmp_path, {"translation": {"method": "painted"}}, defaults=defaults) == []
    assert texts(tmp_path, {"translation": {"method": "paired"}}, defaults=defaults) == []


def test_arms_say_nothing_that_translation_does_not_read(tmp_path):
    axial = {"network": "resnet_generator", "recipe": "r"}
    arms = {
        "volforge": {"models": {"axial": axial}, "inference": {"overlap": 0.9, "flips": ["x"]}},
        "constant": {"baseline": "constant", "doubt": {"flips": True}},
    }
    found = texts(tmp_path, arms=arms, shown_scan="nope")
    assert len(found) == 3, found
    assert "has no meaning for translation" in found[0] + found[1] + found[2]
    assert any("only models are in doubt" in t for t in found)
    assert any("no scan of the cohort is called so" in t for t in found)


def test_discriminators_see_earlier_fakes_but_those_of_patches(tmp_path):
    for own, pool in (
        ({"method": "cycle"}, 50),
        ({"method": "contrast"}, 0),
        ({"method": "contrast", "pool": 7}, 7),
        ({"method": "one_way", "pool": 0}, 0),
    ):
        study = loaded(tmp_path, {"translation": own}).studies["mr"]
        assert model_settings(study, "volforge", "axial")["translation"]["pool"] == pool


def test_recipes_must_give_images_in_hu(tmp_path):
    found = texts(tmp_path, recipe={"ct_window": {"kind": "percentile"}, "size": None})
    assert any("no image in HU can be made of them" in t for t in found)
    assert any("differ in size from scan to scan" in t for t in found)


def test_mr_is_painted_in_the_window_of_percentiles(tmp_path):
    fixed = {"mr_window": {"kind": "hu", "low": 0, "high": 400}}
    assert any("painted in the window of percentiles" in t for t in texts(tmp_path, recipe=fixed))
    assert texts(tmp_path, {"translation": {"method": "cycle"}}, recipe=fixed) == []


def test_baselines_that_make_hu_are_refused_where_the_target_is_mr(tmp_path):
    back = {"source": {"modality": "CT"}, "target": {"modality": "MR"}}
    arms = {"depth": {"baseline": "depth_profile"}, "other": {"baseline": "other_subject"}}
    found = texts(tmp_path, **back, arms=arms)
    assert len(found) == 1
    assert "this baseline makes HU, and the target is MR" in found[0]


def test_a_judge_of_the_defaults_has_no_part_in_what_is_painted(tmp_path):
    defaults = {"translation": {"discriminator": {"name": "patch_discriminator", "width": 8}}}
    run = loaded(tmp_path, defaults=defaults)
    made = TranslationSettings.of(model_settings(run.studies["mr"], "volforge", "axial"))
    assert made.translation["discriminator"] is None


def test_an_arm_has_one_model_or_one_for_each_view(tmp_path):
    again = {"network": "resnet_generator", "recipe": "r"}
    found = texts(tmp_path, more={"twice": again})
    assert any("see the same axis: axial" in t for t in found)


def test_a_doubt_of_nothing_is_named(tmp_path):
    arms = {
        "volforge": {
            "models": {"axial": {"network": "resnet_generator", "recipe": "r"}},
            "doubt": {"flips": False, "jitters": 0},
        }
    }
    assert any("would be 0 everywhere" in t for t in texts(tmp_path, arms=arms))


def test_a_shared_model_must_find_outlines(tmp_path):
    begun = {"outline": {**OUTLINE["outline"], "translation": {"start": "shared/other"}}}
    assert any("begins with weights of its own" in t for t in texts(tmp_path, shared=begun))
    found = texts(tmp_path, shared={"outline": {"network": "shape_unet", "recipe": "r"}})
    assert any("a model under `shared` finds outlines" in t for t in found)


def test_mr_is_painted_from_ct_alone(tmp_path):
    back = {"source": {"modality": "CT"}, "target": {"modality": "MR"}}
    assert any("MR is painted from CT" in t for t in texts(tmp_path, **back))
    assert texts(tmp_path, {"translation": {"method": "cycle"}}, **back) == []
    ranged = texts(tmp_path, {"translation": {"method": "cycle"}}, **back, metrics={"range_hu": [0, 1]})
    assert any("leave out range_hu" in t for t in ranged)


def test_a_model_that_nothing_reads_is_named(tmp_path):
    found = texts(tmp_path, {"translation": {"method": "cycle"}, "needs": ["shared/outline"]}, shared=OUTLINE)
    assert any("no loss of it reads a shape extractor" in t for t in found)
