"""Trainings that end too early go on as if nothing had happened; what cannot go on says why."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import volforge
from tests.training.cohort import content, cut_cohort

pytestmark = pytest.mark.xdist_group("training")
LONG = {"steps": 60, "validate_every": 20}


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    return cut_cohort(tmp_path_factory.mktemp("cohort"))


def words(folder: Path, scans: Path, settings: dict, *more: str | Path, out: str = "model") -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.train.json").write_text(json.dumps(settings))
    return [
        "model", "train", "--settings", str(folder / "m.train.json"), "--scans", str(scans),
        "--checkpoints", str(folder / "checkpoints"), "--out", str(folder / out), *map(str, more),
    ]  # fmt: skip


def weights(folder: Path, out: str = "model") -> bytes:
    return (folder / out / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, scans) -> Path:
    """An uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    done = volforge(*words(folder, scans, content(training=LONG)))
    assert done.returncode == 0, done.stderr
    return folder


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "volforge", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    """Until a checkpoint of this step or a later one is on the disk."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        file = folder / "checkpoints" / "reached.json"
        if file.exists() and json.loads(file.read_text())["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of step {step}: {process.communicate()[1]}")


@pytest.mark.slow
def test_killed_at_a_random_step_and_resumed_equals_an_uninterrupted_run(tmp_path, scans, whole):
    step = random.randrange(2, LONG["steps"] - 5)
    arguments = words(tmp_path, scans, content(training=LONG), "--checkpoint-seconds", "0")
    process = start(arguments)
    wait_for_step(tmp_path, step, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "model").exists()
    done = volforge(*arguments)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr
    assert weights(tmp_path) == weights(whole), f"killed at step {step}"
    for name in ("history.tsv", "model.json"):
        assert (tmp_path / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_keeps_a_checkpoint_within_seconds(tmp_path, scans, whole, number):
    arguments = words(tmp_path, scans, content(training=LONG), "--checkpoint-seconds", "1")
    process = start(arguments)
    wait_for_step(tmp_path, 1, process)
    asked = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    assert process.returncode == 75
    assert f"stopped by signal {number.name}, at step" in said
    done = volforge(*arguments, "--attempt", "2")
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path) == weights(whole)


@pytest.mark.slow
def test_time_limit_ends_with_a_checkpoint_and_the_next_try_goes_on(tmp_path, scans, whole):
    arguments = words(tmp_path, scans, content(training=LONG))
    done = volforge(*arguments, "--minutes", "0")
    assert done.returncode == 75
    assert "stopped by the time limit, at step 1 of 60" in done.stderr
    assert not (tmp_path / "model").exists()
    for attempt in ("2", "3"):
        done = volforge(*arguments, "--attempt", attempt, *(["--minutes", "0"] if attempt == "2" else []))
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path) == weights(whole)


def test_a_retry_without_a_new_step_fails_at_once(tmp_path, scans):
    arguments = words(tmp_path, scans, content(training={"accelerator": "gpu"}))
    first = volforge(*arguments)
    assert first.returncode == 1
    assert "no GPU is visible" in first.stderr
    third = volforge(*arguments, "--attempt", "3", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "volforge.training.attempt" in third.stderr
    assert "torch" not in third.stderr  # nothing slow is imported
    assert third.returncode == 1
    assert "no GPU is visible" in volforge(*arguments, "--attempt", "2").stderr  # it has more memory: worth a try
    assert "made no new step (it began at step 0 too)" in third.stderr
    assert "no GPU is visible" in third.stderr  # the log of the first try is gone by then
    assert "no GPU is visible" in volforge(*arguments).stderr  # by hand it is tried again


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path, scans, whole):
    other = content(training={**LONG, "rate": 0.02}, loss={"name": "ce"})
    done = volforge(*words(tmp_path, scans, other, "--resume", whole / "checkpoints" / "last.pt"))
    assert done.returncode == 1
    assert "loss.name: 'dice_ce' there, 'ce' here" in done.stderr
    assert "training.rate: 0.01 there, 0.02 here" in done.stderr
    assert "seed" not in done.stderr.replace("--seed", "")
    done = volforge(*words(tmp_path, scans, content(training=LONG), "--resume", tmp_path / "absent.pt"))
    assert "no such checkpoint" in done.stderr
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"nothing")
    done = volforge(*words(tmp_path, scans, content(training=LONG), "--resume", broken))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr


@pytest.mark.slow
def test_seeds_and_loaders(tmp_path, scans):
    """One seed gives one result, whoever loads the samples; another seed another one."""
    for name, more in {"a": [], "b": ["--workers", "2"], "c": ["--seed", "1"]}.items():
        done = volforge(*words(tmp_path / name, scans, content(), *more))
        assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.slow
def test_two_processes_do_the_work_of_one_with_twice_the_batch(tmp_path, scans):
    from safetensors.numpy import load

    plain = {
        "network": {"name": "residual_unet", "width": 4, "levels": 2},
        "loss": {"name": "ce"},
    }
    training = {"augmentation": "none", "validation": 0, "optimizer": "sgd", "clip": 0, "ema": 0, "steps": 4}
    pairs = {"one": {"batch": 2}, "two": {"batch": 1, "devices": 2}}
    for name, more in pairs.items():
        done = volforge(*words(tmp_path / name, scans, content(training={**training, **more}, **plain)))
        assert done.returncode == 0, done.stderr
    one, two = (load(weights(tmp_path / n)) for n in pairs)
    assert one.keys() == two.keys()
    assert max(abs(one[k] - two[k]).max() for k in one) < 1e-4


def test_other_data_or_code_sets_the_checkpoint_aside(tmp_path, scans):
    """A finished checkpoint is no answer to corrected labels."""
    import shutil

    own = tmp_path / "cohort"
    shutil.copytree(scans.parents[3], own)
    mine = own / scans.relative_to(scans.parents[3])
    short = content(training={"steps": 3, "validation": 0})
    assert volforge(*words(tmp_path / "run", mine, short)).returncode == 0
    before = weights(tmp_path / "run")
    again = volforge(*words(tmp_path / "run", mine, short))
    assert again.returncode == 0
    assert "going on from step 3" in again.stderr
    assert weights(tmp_path / "run") == before
    code = volforge(*words(tmp_path / "run", mine, short, "--code", "other"))
    assert "set aside" in code.stderr
    assert "code: '' there, 'other' here" in code.stderr
    assert weights(tmp_path / "run") == before  # trained again, with the same result
    from volforge.config.models import RegionRecipe
    from volforge.volume.cut_scan import cut_scan

    recipe = {**short["recipe_settings"], "spacing_mm": [2.5, 2.5, 2.5]}
    for scan in ("s0", "s1", "s2"):
        cut_scan(mine.parent / "scans" / scan, RegionRecipe(**recipe), mine.parent / "recipes/whole" / scan)
    data = volforge(*words(tmp_path / "run", mine, short, "--code", "other"))
    assert data.returncode == 0, data.stderr
    assert "set aside" in data.stderr
    assert weights(tmp_path / "run") != before


@pytest.mark.slow
def test_two_processes_stop_keep_a_checkpoint_and_go_on(tmp_path, scans):
    """Processes have clocks of their own: a checkpoint that is due for one is made by all, or none."""
    training = {"devices": 2, "batch": 1, "steps": 24, "validate_every": 8, "augmentation": "none"}
    whole = volforge(*words(tmp_path / "whole", scans, content(training=training)))
    assert whole.returncode == 0, whole.stderr
    arguments = words(tmp_path / "parts", scans, content(training=training), "--checkpoint-seconds", "0.05")
    process = start(arguments)
    wait_for_step(tmp_path / "parts", 3, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 75, said
    for attempt in ("2", "3"):
        done = volforge(*arguments, "--attempt", attempt, *(["--minutes", "0"] if attempt == "2" else []))
        assert done.returncode == (75 if attempt == "2" else 0), done.stderr
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
