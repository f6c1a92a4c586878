"""Every published way to train implants, and ours, two steps each: what is left behind, resumed, and predicted with."""

import csv
import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from tests.study.cohorts import arm, measure, predict
from tests.tasks.implant.made import ARM, NEEDS, PRESETS, settings, skulls
from volforge.errors import VolforgeError
from volforge.study.jobs import TrainJob
from volforge.tasks.implant.train import train_model

pytestmark = pytest.mark.xdist_group("implants")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return skulls(tmp_path_factory.mktemp("skulls"))


def train(scans, folder, name="ae_mse", needs=None, minutes=None, **more):
    """Train a preset; returns why it stopped. Models lie in `<folder>/<name>`."""
    found = {n: folder / n for n in needs or []}
    job = TrainJob(scans, 0, 0, folder / f"checkpoints-{name}", folder / name, minutes=minutes, needs=found)
    return train_model(settings(name, **more), job)


@pytest.fixture(scope="module")
def trained(scans, tmp_path_factory):
    """Folder of a trained preset, with those that it needs beside; made when it is first asked for."""
    folder = tmp_path_factory.mktemp("models")

    def get(name):
        if not (folder / name).exists():
            needed = [NEEDS[name]] if NEEDS[name] else []
            for other in needed:
                get(other)
            assert train(scans, folder, name, needed) == ""
        return folder / name

    return get


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_and_predicts(trained, scans, tmp_path, name):
    folder = trained(name)
    about = json.loads((folder / "model.json").read_text())
    assert about["step"] >= 1
    assert about["steps"] == 2
    assert 0 <= about["expected"]["score"] <= 1
    assert set(about["subjects"]["training"]).isdisjoint(about["subjects"]["validation"])
    assert not {"p3", "p4"} & {*about["subjects"]["training"], *about["subjects"]["validation"]}
    assert about["parameters"] > 0
    assert about["multiply_adds"] > 0
    for file in ("history.tsv", "cost.json", "weights.safetensors"):
        assert (folder / file).exists()
    models = {name: folder} | ({NEEDS[name]: folder.parent / NEEDS[name]} if NEEDS[name] else {})
    own = arm(tmp_path, **ARM)
    assert predict(own, scans, 0, tmp_path / "predictions", models=models) == 2
    for scan in ("s3", "s4"):
        source = nib.load(scans.parents[3] / f"{scan}_defective.nii.gz")
        made, sure = (nib.load(tmp_path / "predictions" / f"{scan}{end}.nii.gz") for end in ("", ".confidence"))
        assert made.shape == sure.shape == source.shape
        np.testing.assert_allclose(made.affine, source.affine, atol=1e-5)
        implant, bone = (np.asanyarray(v.dataobj) > 0 for v in (made, source))
        assert not (implant & bone).any()
        p = np.asanyarray(sure.dataobj)
        assert not implant.any() or np.median(p[implant]) > 0.5  # cavities that were filled are less sure
        assert (p[bone] == 1).all()
        assert p.min() >= 0
        assert p.max() <= 1
    assert measure(own, scans, tmp_path)


@pytest.mark.parametrize("name", ["gan", "our_coarse"])
def test_a_resumed_training_is_as_an_uninterrupted_one(trained, scans, tmp_path, name):
    stopped = train(scans, tmp_path, name, minutes=0)
    assert "step 1 of 2" in stopped
    assert train(scans, tmp_path, name) == ""
    for file in ("weights.safetensors", "history.tsv"):
        assert (tmp_path / name / file).read_bytes() == (trained(name) / file).read_bytes()


def test_the_same_seed_gives_the_same_weights_and_another_one_others(trained, scans, tmp_path):
    assert train(scans, tmp_path) == ""
    weights = (tmp_path / "ae_mse" / "weights.safetensors").read_bytes()
    assert weights == (trained("ae_mse") / "weights.safetensors").read_bytes()
    job = TrainJob(scans, 0, 1, tmp_path / "c1", tmp_path / "m1")
    train_model(settings("ae_mse"), job)
    assert (tmp_path / "m1" / "weights.safetensors").read_bytes() != weights


def test_a_network_learns_what_is_missing(scans, tmp_path):
    """Enough steps for a small network to find the holes of the two skulls that it is shown."""
    network = {"name": "residual_unet", "width": 4, "levels": 3, "blocks": [1]}
    options = {"steps": 40, "rate": 1e-2, "validate_every": 10, "optimizer": "adamw", "batch": 1}
    more = {"network": network, "loss": {"name": "dice_ce"}, "training": options}
    assert train(scans, tmp_path, "ae_mse", **more) == ""
    with (tmp_path / "ae_mse" / "history.tsv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file, delimiter="\t")]
    assert losses[-1] < 0.65 * losses[0], losses


def test_loss_and_network_must_speak_the_same_language(scans, tmp_path):
    with pytest.raises(VolforgeError, match="gives values"):
        train(scans, tmp_path, "ae_mse", loss={"name": "dice_ce"})
    with pytest.raises(VolforgeError, match="gives logits"):
        train(scans, tmp_path, "coarse", loss={"name": "value_mse"})


def test_a_grid_that_does_not_fit_is_refused_before_anything_is_computed(scans, tmp_path):
    with pytest.raises(VolforgeError, match="multiples of 16"):
        train(scans, tmp_path, "ae_mse", implant={"grid": [24, 32, 16]})


def test_a_missing_coarse_model_is_named(scans, tmp_path):
    with pytest.raises(VolforgeError, match="coarse is not there"):
        train(scans, tmp_path, "fine")


def test_a_cohort_without_training_implants_is_refused(scans, tmp_path):
    job = TrainJob(scans, 0, 0, tmp_path / "c", tmp_path / "m")
    other = dataclasses.replace(settings("ae_mse"), by_fold=True)
    lines = scans.read_text().splitlines()
    alone = scans.parent / "alone.tsv"
    alone.write_text(
        "\n".join([lines[0], *(line for line in lines[1:] if "\ts3\t" in line or line.startswith("s3"))]) + "\n"
    )
    with pytest.raises(VolforgeError, match="no training scan"):
        train_model(other, dataclasses.replace(job, scans=alone, fold=int(fold_of(alone, "s3"))))


def fold_of(scans, scan):
    head, *rows = (line.split("\t") for line in scans.read_text().splitlines())
    return next(r[head.index("fold")] for r in rows if r[head.index("scan")] == scan)
