"""Configurations of papers plan on a generated layout of their cohort."""

import re
import shutil

import numpy as np
import pytest
import torch

from tests.conftest import ROOT, snakemake
from volforge.workflow.run import load_run


def jaw_joints(folder, subjects=10):
    shutil.copytree(ROOT / "config/papers", folder / "papers")
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source"]
    for i in range(subjects):
        for name in ("ct", "bones"):
            (folder / f"papers/{i}_{name}.nii.gz").write_bytes(b"")
        lines.append(f"patient {i}\tp{i}\tCT\t{i}_ct.nii.gz\t{i}_bones.nii.gz\texpert")
    (folder / "papers/negative_volume.tsv").write_text("\n".join(lines) + "\n")
    return folder / "papers/negative_volume.yaml"


def test_negative_volume_plans_the_whole_table(tmp_path):
    config = jaw_joints(tmp_path)
    plan = snakemake("-n", "--configfile", config, cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr[-3000:]
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout + plan.stderr, re.MULTILINE))
    # 5 arms x 3 structures x 5 folds, ours and the localiser once a fold
    assert counts["train_model"] == str(75 + 5 + 5)
    assert counts["predict"] == counts["measure"] == str(8 * 5 + 6 * 5)  # label maps, and negative volumes of them
    assert counts["make_distances"] == "1"


def test_negative_volume_has_the_published_arms_structures_and_sizes(tmp_path):
    from volforge.report.published import read_published
    from volforge.workflow.study_settings import model_settings

    config = jaw_joints(tmp_path)
    study = load_run([config], None, check_files=True).studies["tmj_segmentation"]
    numbers = [
        p for p in read_published(config.parent / "published/negative_volume.tsv").numbers if p.study == "segmentation"
    ]
    arms = {p.arm for p in numbers}
    assert arms <= set(study.settings.arms)
    assert {p.structure for p in numbers} <= {s["structure"] for s in study.structures()}
    for arm in arms:
        assert set(study.models_of(arm)) == {"condyle", "temporal_bone", "negative_volume"}
        for name in study.models_of(arm):
            settings = model_settings(study, arm, name)
            assert [c["structure"] for c in settings["classes"]] == [name]
            assert (settings["training"]["optimizer"], settings["training"]["rate"]) == ("adam", 1e-4)
            assert settings["training"]["steps"] == 8000
    ours = model_settings(study, "volforge", "joint")
    assert len(ours["classes"]) == 3
    derived = {s["structure"] for s in study.structures() if s.get("label_source") == "derived"}
    assert derived == {"negative_volume"}


def autopet(folder, subjects=10):
    shutil.copytree(ROOT / "config/papers", folder / "papers")
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source"]
    for i in range(subjects):
        for name in ("ct", "moose"):
            (folder / f"papers/{i}_{name}.nii.gz").write_bytes(b"")
        lines.append(f"patient {i}\tp{i}\tCT\t{i}_ct.nii.gz\t{i}_moose.nii.gz\tpredicted")
    (folder / "papers/semantic_synthesis.tsv").write_text("\n".join(lines) + "\n")
    return folder / "papers/semantic_synthesis.yaml"


def test_semantic_synthesis_plans_its_ablations_with_three_seeds(tmp_path):
    plan = snakemake("-n", "--configfile", autopet(tmp_path), cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr[-3000:]
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout + plan.stderr, re.MULTILINE))
    assert counts["train_model"] == str((6 + 4) * 3)
    assert counts["train_judging_segmenter"] == counts["train_slice_encoder"] == "2"
    assert counts["predict"] == counts["measure"] == str(4 + (6 + 4) * 3)  # controls have one seed


def test_the_ablation_on_the_phantom_plans_two_backgrounds_two_generators_two_losses_three_seeds(tmp_path):
    plan = snakemake("-n", "--configfile", ROOT / "config/examples/body_synthesis_ablation.yaml", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr[-3000:]
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout + plan.stderr, re.MULTILINE))
    assert counts["train_model"] == counts["predict"] == counts["measure"] == str(2 * 2 * 2 * 3)
    run = load_run([ROOT / "config/examples/body_synthesis_ablation.yaml"], None)
    assert run.problems == []
    assert {c.settings.background for c in run.cohorts.values()} == {"air", "keep"}


def test_semantic_synthesis_has_the_published_networks_and_rates(tmp_path):
    from volforge import components
    from volforge.tasks.semantic_synthesis.settings import SynthesisSettings
    from volforge.workflow.study_settings import model_settings

    study = load_run([autopet(tmp_path)], None, check_files=True).studies["semantic_synthesis"]
    published = {"oasis_generator": 71.1e6, "wavelet_generator": 54.2e6, "volforge": 71.1e6}
    for arm, wanted in published.items():
        settings = SynthesisSettings.of(model_settings(study, arm, "image"))
        assert settings.channels == 37
        with torch.device("meta"):
            network = components.build("network", settings.network, classes=settings.channels, channels=1)
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(wanted, rel=0.01)
        assert settings.synthesis["rates"] == {"generator": 4e-4, "segmenter": 4e-4, "discriminator": 2e-3}
        assert settings.synthesis["mode"] == "unpaired"
    masks = {
        a: model_settings(study, a, "image")["synthesis"]["outline"] for a in study.settings.arms if "generator" in a
    }
    assert [a for a, weight in masks.items() if weight] == ["oasis_generator_mask", "wavelet_generator_mask"]


class PaperSlices:
    """One slice of 256 x 256 pixels with all 36 structures, made here."""

    shows_sides, size = False, (256, 256)

    def __init__(self, wants):
        y, x = np.mgrid[:256, :256]
        body = np.hypot(y - 128, (x - 128) / 1.2) < 90
        labels = np.where(body, 1 + (y // 16 * 16 + x // 16) % 36, 0).astype(np.uint8)
        image = np.where(body, np.sin(labels) * 0.5, -1).astype(np.float32)
        found = {"labels": labels[None], "body": body[None].astype(np.uint8), "image": image[None]}
        self.content = {k: found[k] for k in wants}

    def __len__(self):
        return 1

    def item(self, k):
        return self.content


class SteppingHands:
    """Hands that move weights at once."""

    device, progress = torch.device("cpu"), 0.0

    def __init__(self, optimizers):
        self.optimizers = optimizers

    def backward(self, loss):
        loss.backward()

    def bare(self, network):
        return network

    def update(self, name):
        optimizer, _ = self.optimizers.pop(name)  # its moments are not needed again, and large
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["oasis_generator_mask", "wavelet_generator_mask"])
def test_networks_of_paper_size_take_one_real_step(tmp_path, arm):
    from volforge.tasks.semantic_synthesis.settings import SynthesisSettings
    from volforge.tasks.semantic_synthesis.train import synthesis_plan
    from volforge.tasks.semantic_synthesis.training import SemanticTask
    from volforge.training.slice_augment import SliceAugmentation
    from volforge.workflow.study_settings import model_settings

    study = load_run([autopet(tmp_path)], None, check_files=True).studies["semantic_synthesis"]
    plan = synthesis_plan(SynthesisSettings.of(model_settings(study, arm, "image")))
    labelled, images = PaperSlices(("labels", "body")), PaperSlices(("image",))
    task = SemanticTask(plan, 0, labelled, images, None, 1, SliceAugmentation(), {})
    torch.manual_seed(0)
    networks = task.networks()
    optimizers = task.optimizers(networks)
    before = {n: next(m.parameters()).detach().clone() for n, m in networks.items()}
    hands = SteppingHands(optimizers)
    batch = {k: v[None] for k, v in task.sample(0).items()}
    logged = task.step(networks, batch, 0, hands)
    assert set(logged) == {"segment", "adversarial", "outline", "discriminator"}
    assert all(torch.isfinite(v).all() for v in logged.values())
    for name, network in networks.items():
        assert all(torch.isfinite(p).all() for p in network.parameters()), name
        assert not torch.equal(before[name], next(network.parameters())), name


SKULLS = {"skullfix": (100, 1), "skullbreak": (114, 5)}


def cranial_implant(folder):
    """Sheets of SkullFix and of SkullBreak, five defects of each skull, without volumes in their files."""
    shutil.copytree(ROOT / "config/papers", folder / "papers")
    for name, (subjects, defects) in SKULLS.items():
        lines = ["subject\tscan\tmodality\timage\tdefective\timplant"]
        for i in range(subjects):
            for k in range(defects):
                files = [f"{name}_{i}_{k}_{part}.nrrd" for part in ("complete", "defective", "implant")]
                for file in files:
                    (folder / "papers" / file).write_bytes(b"")
                lines.append("\t".join([f"{name} {i}", f"{name}-{i}-{k}", "mask", *files]))
        (folder / "papers" / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder / "papers/cranial_implant.yaml"


@pytest.fixture(scope="module")
def implants(tmp_path_factory):
    return load_run([cranial_implant(tmp_path_factory.mktemp("implants"))], None, check_files=True)


def test_cranial_implants_have_the_published_splits_by_skull(implants):
    from volforge.cohort.splits import assign_rows

    assert [p for p in implants.problems if p.level == "error"] == []
    wanted = {"skullfix_mia85": (75, 10, 15), "skullfix_pcdiff": (65, 10, 25), "skullbreak_pcdiff": (77, 9, 28)}
    for name, (train, val, test) in wanted.items():
        cohort = implants.cohorts[name]
        own = cohort.settings
        where = assign_rows(cohort.rows.values(), seed=own.seed, folds=own.folds, shares=own.splits.model_dump())
        counts = [sum(a.split == s for a in where.values()) for s in ("train", "val", "test")]
        assert counts == [train, val, test], name


def test_cranial_implants_have_the_published_networks_losses_and_rates(implants):
    from volforge import components
    from volforge.tasks.implant.apply import make_network
    from volforge.tasks.implant.settings import ImplantSettings
    from volforge.workflow.study_settings import model_settings

    parameters = {"cranial_autoencoder": 22_864_193, "c2f_n1": 82_076_616, "c2f_n2": 646_816}
    for study in implants.studies.values():
        published = [a for a in study.settings.arms if a.startswith(("ae_", "gan", "c2f"))]
        assert len(published) == 10
        for arm in published:
            for model in study.models_of(arm):
                settings = ImplantSettings.of(model_settings(study, arm, model))
                with torch.device("meta"):
                    network = make_network(settings)
                assert sum(p.numel() for p in network.parameters()) == parameters[settings.network["name"]]
                own = settings.training
                is_pair = arm == "c2f_n1_n2"
                assert (own["optimizer"], own["rate"]) == ("adam", 1e-4 if is_pair else 2e-4)
                assert settings.implant["beta1"] == (0.3 if is_pair else 0.5)
                samples = {"ae_patch": 48000, "ae_patch_blended": 48000, "c2f_n1_n2": 10000}.get(arm, 12000)
                assert own["steps"] * own["batch"] == samples
                loss = components.build("loss", settings.loss)
                if getattr(loss, "needs_distance", False):
                    assert (loss.units, loss.clip) == ("voxels", 0)
        caps = ImplantSettings.of(model_settings(study, "gan", "cap"))
        assert caps.patch == (128, 128, 64)
        assert caps.implant["adversary"] == {"network": {"name": "cranial_discriminator"}, "weight": 0.1}
        assert ImplantSettings.of(model_settings(study, "ae_boundary", "cap")).implant["threshold"] == 0
        box = ImplantSettings.of(model_settings(study, "c2f_n1_n2", "fine"))
        assert (box.patch, box.needs) == ((256, 256, 128), ("coarse",))
