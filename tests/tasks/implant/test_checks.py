"""Models of implants in the configuration: what they resolve to, and what is wrong before anything runs."""

import pytest
import yaml

from tests.conftest import ROOT
from volforge.errors import ProblemsError
from volforge.tasks.implant.settings import ImplantSettings
from volforge.workflow.run import load_run
from volforge.workflow.study_jobs import inputs_of_prediction, inputs_of_training
from volforge.workflow.study_settings import model_settings, table_settings

SKULL = {
    "sheet": str(ROOT / "config/examples/sheets/phantom_skull.tsv"),
    "phantom": {"kind": "skull", "seed": 1},
    "folds": 2,
}
AE = {"network": "cranial_autoencoder"}
UNET = {"network": "residual_unet"}
PATCH = {"training": {"patch": [64, 64, 64]}}
FINE = {**UNET, "needs": ["coarse"], "implant": {"sees": "windows"}, **PATCH}


def loaded(folder, models, defaults=None, cohort=None, **arm):
    content = {
        "cohorts": {"skull": {**SKULL, **(cohort or {})}},
        "studies": {
            "implants": {
                "task": "implant", "cohort": "skull", "folds": [0, 1], "defaults": defaults or {},
                "arms": {"own": {"models": models, **arm}},
            },
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_run([path], None)


def test_a_model_resolves_to_all_that_its_training_reads(tmp_path):
    gan = {**AE, "implant": {"adversary": {"network": {"name": "cranial_discriminator", "width": 8}}, "cap_mm": 90}}
    run = loaded(tmp_path, {"net": gan}, defaults={"implant": {"target": "skull"}, "training": {"steps": 9}})
    assert run.problems == []
    settings = ImplantSettings.of(model_settings(run.studies["implants"], "own", "net"))
    assert settings.patch == (128, 128, 64)
    assert (settings.implant["target"], settings.implant["cap_mm"]) == ("skull", 90)
    assert settings.implant["adversary"] == {"network": {"name": "cranial_discriminator", "width": 8}, "weight": 0.1}
    assert settings.loss == {"name": "value_mse"}
    assert settings.training["steps"] == 9
    assert settings.channels == 1
    assert settings.entry == "volforge.tasks.implant.train:train"


def test_a_fine_model_reads_the_coarse_one_of_its_own_arm(tmp_path):
    run = loaded(tmp_path, {"coarse": UNET, "fine": FINE})
    assert run.problems == []
    study = run.studies["implants"]
    fine = ImplantSettings.of(model_settings(study, "own", "fine"))
    assert fine.needs == ("coarse",)
    assert fine.channels == 3
    assert fine.loss == {"name": "dice_ce"}
    weights = {
        m: f"results/studies/implants/own/fold1/seed0/models/{m}/weights.safetensors" for m in ("coarse", "fine")
    }
    assert inputs_of_training(run.studies, study, "own", "fine", 1, 0) == {"coarse": weights["coarse"]}
    assert inputs_of_prediction(run.studies, study, "own", 1, 0) == weights
    assert '"budget":4000' in table_settings({}, study)  # both models: 1000 steps of 2 samples each


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"net": {}}, "a model needs a network"),
        ({"net": {**AE, "loss": "dice_ce"}}, "gives values"),
        ({"net": {**UNET, "loss": "value_mse"}}, "gives logits"),
        ({"net": {**UNET, "implant": {"threshold": 0}}}, "no threshold but one half"),
        ({"net": {"network": {"name": "cranial_autoencoder", "widht": 3}}}, "did you mean 'width'?"),
        ({"net": {**AE, "implant": {"sees": "patches"}}}, "needs the size of a patch"),
        ({"net": {**AE, **PATCH}}, "sees its whole grid"),
        ({"net": {**AE, "training": {"flip": ["x", "z"]}}}, "upside down"),
        ({"net": {**AE, "training": {"augmentation": "published"}}}, "without augmentation"),
        ({"net": {**AE, "training": {"centred_on": ["implant"]}}}, "no meaning for an implant"),
        ({"net": {**AE, "training": {"precision": "bf16-mixed"}}}, "not reproducible in 16 bit"),
        ({"net": {**AE, "structures": ["implant"]}}, "no meaning for an implant"),
        ({"net": {**AE, "implant": {"sees": "patches", "adversary": {}}, **PATCH}}, "sees whole caps"),
        ({"net": {**AE, "implant": {"resample": "spline", "defects": "both"}}}, "stretched caps"),
        ({"coarse": UNET, "fine": {**FINE, "implant": {"sees": "box", "defects": "both"}, "training": {}}}, "known defect"),
        ({"coarse": UNET, "fine": {**FINE, "implant": {"sees": "windows", "channels": ["coarse", "kriged"]}}}, "needs one fitted model"),
        ({"k": {"kriging": {}}, "fine": {**UNET, "needs": ["k"], "implant": {"sees": "windows", "channels": ["mirror"]}, **PATCH}}, "no channel"),
        ({"k": {"kriging": {}}, "cap": {**UNET, "needs": ["k"]}}, "reads no other model"),
        ({"k": {"kriging": {"evidence": True, "symmetric": False}}}, "which is off"),
        ({"k": {"kriging": {}, "network": "residual_unet"}}, "fitted and not trained"),
        ({"coarse": UNET, "fine": {**FINE, "implant": {"sees": "windows", "channels": ["mirror", "mirror"]}}}, "stands twice"),
        ({"coarse": UNET, "fine": {**FINE, "implant": {"sees": "windows", "cap_mm": 80}}}, "its cap_mm is another one"),
        ({"fine": {**UNET, "implant": {"sees": "box"}}}, "needs one coarse model"),
        ({"coarse": UNET, "fine": {**AE, "needs": ["coarse"]}}, "reads no other model"),
        ({"a": {**UNET, "implant": {"sees": "patches"}, **PATCH}, "b": {**FINE, "needs": ["a"]}}, "sees the whole cap"),
        ({"a": UNET, "b": UNET}, "one of its models gives the implant"),
        ({"net": {**AE, "implant": {"grid": [16, 16]}}}, "at least 3 items"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_named(tmp_path, models, words):
    try:
        found = "\n".join(str(p) for p in loaded(tmp_path, models).problems)
    except ProblemsError as error:
        found = str(error)
    assert words in found


def test_a_sheet_without_training_implants_is_named(tmp_path):
    lines = (ROOT / "config/examples/sheets/phantom_skull.tsv").read_text().splitlines()
    kept = [line.replace("subject\t", "split\tsubject\t") if line.startswith("subject") else line for line in lines]
    rows = [f"{'test' if k < 2 else 'train'}\t{line}" for k, line in enumerate(kept[2:])]
    bare = [r if k < 2 else "\t".join([*r.split("\t")[:5], "", "", *r.split("\t")[7:]]) for k, r in enumerate(rows)]
    (tmp_path / "skulls.tsv").write_text("\n".join([kept[1], *bare]) + "\n")

    def problems(defects):
        content = {
            "cohorts": {"skull": {**SKULL, "sheet": "skulls.tsv"}},
            "studies": {
                "i": {
                    "task": "implant", "cohort": "skull",
                    "arms": {"a": {"models": {"m": {**AE, "implant": {"defects": defects}}}}},
                }
            },
        }  # fmt: skip
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
        return "\n".join(map(str, load_run([tmp_path / "c.yaml"], None).problems))

    with pytest.raises(ProblemsError, match="no training scan has defective and implant"):
        problems("sheet")
    assert problems("on_line") == ""
