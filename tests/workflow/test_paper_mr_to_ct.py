"""The configuration of the paper of MR to CT, and all its arms on the phantom: plans, networks, losses as published."""

import re
import shutil

import pytest
import torch

from tests.conftest import ROOT, snakemake
from volforge import components
from volforge.tasks.translation.settings import TranslationSettings
from volforge.workflow.run import load_run
from volforge.workflow.study_settings import model_settings

GENERATOR, JUDGE, EXTRACTOR = 11_365_633, 2_762_689, 13_394_177  # the extractor sees one channel, not three


@pytest.fixture
def config(tmp_path):
    shutil.copytree(ROOT / "config/papers", tmp_path / "papers")
    lines = ["subject\tscan\tmodality\tunit\tframe\timage\tsplit"]
    for i in range(8):
        split = "test" if i > 5 else "train"
        for modality in ("MR", "CT") if i > 5 else (("MR", "CT")[i % 2],):
            (tmp_path / f"papers/{i}_{modality}.nii.gz").write_bytes(b"")
            unit, frame = ("hu" if modality == "CT" else "arbitrary"), ("f" if i > 5 else "")
            lines.append(f"p{i}\ts{i}-{modality}\t{modality}\t{unit}\t{frame}\t{i}_{modality}.nii.gz\t{split}")
    (tmp_path / "papers/mr_to_ct.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "papers/mr_to_ct.yaml"


def test_the_paper_plans_its_ablation_with_three_seeds(config, tmp_path):
    plan = snakemake("-n", "--configfile", config, cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr[-3000:]
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout + plan.stderr, re.MULTILINE))
    run = load_run([config], None)
    study = run.studies["mr_to_ct"]
    models = sum(len(study.models_of(a)) for a in study.settings.arms)
    assert counts["train_model"] == str(3 * (models + 1))  # and the shape extractor
    trained = sum(bool(study.models_of(a)) for a in study.settings.arms)
    assert counts["predict"] == counts["measure"] == str(3 * trained + len(study.settings.arms) - trained)


def test_networks_and_weights_are_those_of_the_paper(config):
    study = load_run([config], None).studies["mr_to_ct"]
    for arm in study.settings.arms:
        for model in study.models_of(arm):
            made = TranslationSettings.of(model_settings(study, arm, model))
            with torch.device("meta"):
                network = components.build("network", made.network, channels=made.channels, outputs=1)
            if arm != "volforge":
                assert sum(p.numel() for p in network.parameters()) == GENERATOR
                assert made.window == (-1000, 1400)
                assert made.training["rate"] == 2e-4
                assert made.training["schedule"] == "late_epochs"
                own = made.translation
                assert (own["beta1"], own["pool"]) == (0.5, 0 if made.method == "contrast" else 50)
                if made.method == "cycle":
                    assert (own["cycle"], own["identity"]) == (10, 5)
                with torch.device("meta"):
                    judge = components.build("network", own["discriminator"], channels=1)
                assert sum(p.numel() for p in judge.parameters()) == JUDGE
    both = TranslationSettings.of(model_settings(study, "cyclegan_correlation_shape", "axial")).translation
    assert (both["correlation"], both["shape"]) == (2, 10)
    outline = TranslationSettings.of(model_settings(study, "shared", "outline"))
    with torch.device("meta"):
        extractor = components.build("network", outline.network, channels=1)
    assert sum(p.numel() for p in extractor.parameters()) == EXTRACTOR
    tuned = TranslationSettings.of(model_settings(study, "cyclegan_then_shape", "axial"))
    assert tuned.translation["start"] == "mr_to_ct/cyclegan_half/axial"
    assert study.task.budget(study, "cyclegan_then_shape") == study.task.budget(study, "cyclegan") == 1_500_000
    others = {study.task.budget(study, a) for a in study.settings.arms if study.models_of(a)}
    assert others == {1_500_000, 750_000}  # the half is there to be gone on from


def test_all_arms_on_the_phantom_have_equal_budgets_but_for_what_says_otherwise():
    run = load_run([ROOT / "config/examples/translation_arms.yaml"], None)
    assert run.problems == []
    unpaired, paired = run.studies["body_translation"], run.studies["body_translation_pairs"]
    budgets = {
        arm: study.task.budget(study, arm)
        for study in (unpaired, paired)
        for arm in study.settings.arms
        if study.models_of(arm)
    }
    assert set(budgets.values()) == {1200}
    methods = {TranslationSettings.of(model_settings(unpaired, a, m)).method for a, m in unpaired.trained()}
    assert methods == {"cycle", "one_way", "contrast", "painted"}
    assert {"paired_ceiling", "pix2pix"} <= set(paired.settings.arms)
