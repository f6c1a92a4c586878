"""What trainings, predictions and commands leave to look at; the commands of docs/implant_features.md as printed."""

import csv
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.study.cohorts import arm, measure, predict
from tests.tasks.implant.made import ARM, settings, skulls
from volforge.cli import main
from volforge.report.more_pictures import pictures_of
from volforge.study.jobs import TrainJob
from volforge.study.pictures import read_pictures
from volforge.tasks.implant.train import train_model

pytestmark = pytest.mark.xdist_group("implants")
PAGE = (ROOT / "docs/implant_features.md").read_text(encoding="utf-8")
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("volforge ")]


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def train(scans, folder, name, seed=0, **more):
    out = folder / f"models/{name}{seed}"
    job = TrainJob(scans, 0, seed, folder / f"checkpoints/{name}{seed}", out)
    assert train_model(settings(name, **more), job) == ""
    return out


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return skulls(tmp_path_factory.mktemp("skulls"))


@pytest.fixture(scope="module")
def models(scans, tmp_path_factory):
    """Two seeds of a cap, and patches: two steps each."""
    folder = tmp_path_factory.mktemp("models")
    made = {f"seed{s}": train(scans, folder, "ae_mse", s, implant={"progress": True}) for s in (0, 1)}
    return made | {"patches": train(scans, folder, "ae_patch")}


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, scans, models):
    """The command line in a folder that has scans.tsv with its scans, and models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans.tsv").symlink_to(scans)
    (tmp_path / "scans").symlink_to(scans.parent / "scans")
    (tmp_path / "models").mkdir()
    for name, folder in models.items():
        (tmp_path / "models" / name).symlink_to(folder)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["volforge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def test_every_command_of_the_page_works_as_printed(run, tmp_path):
    assert len(COMMANDS) == 7
    for line in COMMANDS:
        status, printed, errors = run(*shlex.split(line)[1:])
        assert status == 0, (line, errors, printed)
    found = rows(tmp_path / "features/scores.tsv")
    assert {r["model"] for r in found} == {"seed0", "seed1"}
    assert all(-1 <= float(r[k]) <= 1 for r in found for k in ("shape", "hole") if r[k])
    for r in found:
        if r["shape"]:
            assert r["class"] == ("hole" if float(r["hole"]) > float(r["shape"]) else "shape")
    assert {r["across"] for r in rows(tmp_path / "features/stability.tsv")} == {"models, paired", "models, as numbered"}
    assert {r["across"] for r in rows(tmp_path / "projections/stability.tsv")} == {"cases"}
    maps = load_file(tmp_path / "projections/seed0/s4/maps.safetensors")
    assert {k: v.shape for k, v in maps.items()}["encoder1"] == (2, 16, 8), "y is gone of (2, 16, 16, 8)"
    page = (tmp_path / "features/index.html").read_text()
    for picture in (tmp_path / "features").rglob("*.png"):
        assert f"src='{picture.relative_to(tmp_path / 'features')}'" in page
    assert [p.name for p in (tmp_path / "one_layer/seed0/s4").glob("down*.png")] == ["down.0.conv.png"]
    assert sorted(p.name for p in (tmp_path / "distances").glob("*.png")) == ["s3.png", "s4.png"]
    assert Image.open(tmp_path / "scan_of_patches/s3.gif").is_animated
    assert (tmp_path / "scan_of_patches/patch_rule.tsv").exists()


def test_the_same_call_writes_the_same_bytes(run, tmp_path):
    for out in ("a", "b"):
        assert run("implant", "features", "models/seed0", out, "--scans", "scans.tsv")[0] == 0
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("features models/seed0 out --scans scans.tsv --scan s9", "no accepted scan 's9'"),
        ("features models/seed0 out --scans scans.tsv --how median", "unknown projection"),
        ("features models/seed0 models/seed0 out --scans scans.tsv", "named twice"),
        ("features models/seed0 out --scans scans.tsv --layer up.7", "no layer 'up.7'"),
        ("boundary out --scans scans.tsv --units cm", "unknown units"),
        ("patches models/seed0 out --scans scans.tsv", "it sees `cap`"),
        ("keras models/seed0/model.json out --variant unet", "unknown variant"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(run, tmp_path, command, words):
    status, _, errors = run("implant", *shlex.split(command))
    assert status == 1
    assert words in errors
    assert not (tmp_path / "out").exists()


def test_progress_changes_no_result_and_shows_every_validation(scans, models, tmp_path):
    plain = train(scans, tmp_path, "ae_mse")
    for file in ("weights.safetensors", "history.tsv"):
        assert (plain / file).read_bytes() == (models["seed0"] / file).read_bytes()
    assert not (plain / "pictures").exists()
    shown = models["seed0"] / "pictures"
    steps = [int(float(r["step"])) for r in rows(models["seed0"] / "history.tsv")]
    assert sorted(int(p.stem) for p in (shown / "progress").glob("*.png")) == steps == [1, 2]
    (one,) = read_pictures(shown)
    assert one.file == "progress.png"
    assert "1, 2 steps" in one.caption
    assert Image.open(shown / "progress.png").width > 2 * 130


def test_a_study_leaves_feature_maps_and_patches_for_its_page(scans, models, tmp_path):
    part = tmp_path / "a/fold0/seed0"
    part.mkdir(parents=True)
    own = arm(part, **ARM, features=True, patch_scan=True)
    assert predict(own, scans, 0, part / "predictions", models={"patches": models["patches"]}) == 2
    measured = {(r["scan"], r["measure"]): r for r in measure(own, scans, part)}
    counts = {r["scan"]: r for r in rows(part / "predictions/patch_rule.tsv")}
    for scan in ("s3", "s4"):
        for name, part_of, of in (("false_implant", "false_implant", "whole"), ("missed", "missed", "defective")):
            row = measured[scan, f"patch_{name}_share"]
            assert int(row["n"]) == int(counts[scan][of]) > 0
            assert float(row["value"]) == pytest.approx(int(counts[scan][part_of]) / int(counts[scan][of]))
    found = pictures_of(tmp_path, [["a", 0, 0]])
    assert list(found) == ["Feature maps", "The patches at work"]
    assert len(found["Feature maps"]) == 1 + 9
    assert found["The patches at work"][0].uri.startswith("data:image/gif;base64,")
    assert found["Feature maps"][0].uri.startswith("data:image/webp;base64,")


def test_an_arm_that_is_asked_for_nothing_leaves_nothing(scans, models, tmp_path):
    own = arm(tmp_path, **ARM)
    predict(own, scans, 0, tmp_path / "predictions", models={"cap": models["seed0"]})
    assert not (tmp_path / "predictions/pictures").exists()
    assert not (tmp_path / "predictions/patch_rule.tsv").exists()


def test_the_page_shows_what_a_model_left(models, tmp_path):
    folder = tmp_path / "a/fold0/seed0/models"
    folder.mkdir(parents=True)
    (folder / "cap").symlink_to(models["seed0"])
    (tmp_path / "a/fold1/seed0/models").mkdir(parents=True)
    (tmp_path / "a/fold1/seed0/models/cap").symlink_to(models["seed1"])
    found = pictures_of(tmp_path, [["a", 0, 0], ["a", 1, 0], ["b", 0, 0]])
    assert list(found) == ["Convergence"]
    (shown,) = found["Convergence"]
    assert shown.caption.startswith("a: model ae_mse, the first validation skull")


def test_tiles_of_channels_are_framed_by_their_class():
    from volforge.tasks.implant.features.sheets import FRAMES, sheet, tile

    flat = np.zeros((4, 8))
    flat[0, 0] = 1
    seen = tile(flat, "hole")
    assert tuple(seen[0, 0]) == FRAMES["hole"]
    assert seen.shape[0] > seen.shape[1], "x across, y up"
    bright = np.argwhere(seen[2:-2, 2:-2].sum(axis=2) > 400).mean(axis=0) / seen.shape[:2]
    assert (bright > 0.5).all(), "the first voxel of x and y lies at the right below: the patient's left is there"
    assert sheet(np.zeros((5, 8, 8)), [""] * 5).ndim == 3
