"""A trained model by hand: any scan, and the MONAI bundle that others run."""

import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import volforge
from tests.training.cohort import content, cut_cohort
from tests.training.test_resume import words
from volforge.metrics.overlap import count

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cohort, and a model of it that has learnt something."""
    folder = tmp_path_factory.mktemp("trained")
    scans = cut_cohort(folder)
    network = {"name": "residual_unet", "width": 8, "levels": 2, "blocks": [1]}
    training = {"steps": 40, "augmentation": "none", "rate": 0.02, "ema": 0, "validate_every": 40, "batch": 1}
    done = volforge(*words(folder, scans, content(network=network, training=training)))
    assert done.returncode == 0, done.stderr
    return folder


def test_what_a_training_leaves(trained):
    assert {p.name for p in (trained / "model").iterdir()} == {
        ".volforge", "weights.safetensors", "model.json", "history.tsv", "cost.json",
    }  # fmt: skip
    about = json.loads((trained / "model/model.json").read_text())
    assert about["parameters"] > 1000
    assert about["multiply_adds"] > about["parameters"]
    assert about["expected"]["score"] > 0.5
    assert about["import"] == {"background": "air", "body_mask": {}, "modality": "CT", "unit": "hu"}
    assert set(about["subjects"]["training"]).isdisjoint(about["subjects"]["validation"])
    assert not {"p3", "p4"} & {s for part in about["subjects"].values() for s in part}  # the split `test`
    history = (trained / "model/history.tsv").read_text().splitlines()
    assert history[0].startswith("step\tloss\tvalidation_score")
    cost = json.loads((trained / "model/cost.json").read_text())
    assert cost["peak_memory_gib"] > 0.1
    assert cost["device"] == "CPU"
    assert list((trained / "checkpoints/tensorboard").glob("events*"))


def test_any_scan_is_segmented_on_its_own_grid(trained, tmp_path):
    image = trained / "s4.nii.gz"
    done = volforge(
        "model", "predict", "--image", image, "--weights", trained / "model", "--out", tmp_path / "o.nii.gz",
        "--confidence", tmp_path / "c.nii.gz", "--flips", "y",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made, sure, source = (nib.load(p) for p in (tmp_path / "o.nii.gz", tmp_path / "c.nii.gz", image))
    assert np.array_equal(made.affine, source.affine)
    assert made.shape == source.shape == sure.shape
    truth = np.asanyarray(nib.load(trained / "s4_l.nii.gz").dataobj)
    assert count(np.asanyarray(made.dataobj) > 0, truth > 0).dice > 0.6
    assert float(np.asanyarray(sure.dataobj)[np.asanyarray(made.dataobj) > 0].min()) > 0.3
    twice = volforge(
        "model", "predict", "--image", image, "--weights", trained / "model", "--weights", trained / "model",
        "--out", tmp_path / "twice.nii.gz", "--flips", "y",
    )  # fmt: skip
    assert twice.returncode == 0, twice.stderr  # an ensemble of a model with itself is that model
    again = np.asanyarray(nib.load(tmp_path / "twice.nii.gz").dataobj)
    assert (again == np.asanyarray(made.dataobj)).mean() > 0.999


def test_errors_say_what_to_do(trained, tmp_path):
    image = trained / "s4.nii.gz"
    out = ["--out", tmp_path / "o.nii.gz"]
    assert "pass --weights" in volforge("model", "predict", "--image", image, *out).stderr
    assert "--settings and --scans" in volforge("model", "predict", *out).stderr
    absent = volforge("model", "predict", "--image", image, "--weights", tmp_path, *out)
    assert absent.returncode == 1
    assert "file not found" in absent.stderr
    broken = tmp_path / "broken"
    shutil.copytree(trained / "model", broken)
    (broken / "weights.safetensors").write_bytes(b"other")
    damaged = volforge("model", "predict", "--image", image, "--weights", broken, *out)
    assert "not those that model.json describes" in damaged.stderr
    assert not (tmp_path / "o.nii.gz").exists()


@pytest.mark.slow
def test_a_bundle_runs_in_monai_and_says_what_we_say(trained, tmp_path):
    done = volforge("model", "export", "--weights", trained / "model", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "bundle"
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    assert outputs["channel_def"] == {"0": "background", "1": "ball_left", "2": "ball_right"}
    (bundle / "images").mkdir()
    shutil.copy(trained / "s4.nii.gz", bundle / "images")
    # without the package: MONAI alone must do
    code = "import monai.bundle as b; b.run(config_file='configs/inference.json', bundle_root='.')"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['volforge'] = None; {code}"],
        cwd=bundle, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    theirs = nib.load(next((bundle / "eval").rglob("*labels.nii.gz")))
    ours = volforge(
        "model",
        "predict",
        "--image",
        trained / "s4.nii.gz",
        "--weights",
        trained / "model",
        "--out",
        tmp_path / "o.nii.gz",
    )
    assert ours.returncode == 0, ours.stderr
    made = nib.load(tmp_path / "o.nii.gz")
    assert np.allclose(theirs.affine, made.affine, atol=1e-4)
    a, b = (np.asanyarray(x.dataobj).astype(int) for x in (theirs, made))
    for identifier in (1, 2):
        assert count(a == identifier, b == identifier).dice > 0.95


def test_what_has_no_bundle_is_refused(trained, tmp_path):
    folder = tmp_path / "boxes"
    shutil.copytree(trained / "model", folder)
    about = json.loads((folder / "model.json").read_text())
    about["kind"] = "localiser"
    about["classes"] = about["classes"][:1]
    (folder / "model.json").write_text(json.dumps(about))
    done = volforge("model", "export", "--weights", folder, "--out", tmp_path / "b")
    assert done.returncode == 1
    assert "has no localiser" in done.stderr or "do not fit" in done.stderr


def test_a_loss_that_reads_distances(trained, tmp_path):
    """Distance maps are made once; a boundary loss without them says how."""
    from volforge.study.distances import signed_distance
    from volforge.volume.store import SliceStore, open_array

    scans = trained / "results/cohorts/c/scans.tsv"
    done = volforge(
        "model", "distances", "--scans", scans, "--recipe", "whole", "--ids", "[1, 2]", "--out", tmp_path / "maps"
    )
    assert done.returncode == 0, done.stderr
    maps = np.asarray(open_array(tmp_path / "maps/s0.b2nd")[:])
    store = SliceStore(scans.parent / "recipes/whole/s0")
    labels = np.asarray(store["labels"][:])
    assert maps.shape == (2, *labels.shape)
    assert (maps[0][labels == 1] < 0).all()
    assert (maps[0][labels != 1] > 0).all()
    assert np.allclose(maps[1], signed_distance(labels == 2, store.geometry["spacing_mm"]), atol=0.02)
    settings = content(loss={"name": "dice_boundary", "start": 0}, training={"steps": 2, "validation": 0})
    without = volforge(*words(tmp_path / "a", scans, settings))
    assert without.returncode == 1
    assert "needs distance maps" in without.stderr
    having = volforge(*words(tmp_path / "b", scans, settings, "--distances", tmp_path / "maps"))
    assert having.returncode == 0, having.stderr
