"""A training that begins with the weights of another model: at step 0, by its own settings, and never across folds."""

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.training.cohort import content, cut_cohort
from volforge.cli.model import app
from volforge.errors import VolforgeError
from volforge.study.jobs import TrainJob
from volforge.study.start import checked_start
from volforge.tasks import registry
from volforge.training.start import Start, begin_with, read_start

pytestmark = pytest.mark.xdist_group("training")
STILL = {"rate": 1e-12, "ema": 0.0, "which": "latest", "steps": 2, "validate_every": 2}
NETWORK = {"name": "vnet", "width": 1, "levels": 2}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return cut_cohort(tmp_path_factory.mktemp("cohort"))


def run(folder, scans, settings, *more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.train.json").write_text(json.dumps(settings))
    words = ["train", "--settings", folder / "m.train.json", "--scans", scans, "--checkpoints", folder / "c"]
    return CliRunner().invoke(app, [*map(str, words), "--out", str(folder / "model"), *map(str, more)])


@pytest.fixture(scope="module")
def first(tmp_path_factory, scans):
    folder = tmp_path_factory.mktemp("first")
    done = run(folder, scans, content(network=NETWORK, training={"steps": 3, "which": "latest", "ema": 0.0}))
    assert done.exit_code == 0, done.output
    return folder / "model"


def about(folder):
    return json.loads((folder / "model.json").read_text())


def test_it_begins_where_the_other_ended_at_step_0_and_says_so(tmp_path, scans, first):
    done = run(tmp_path, scans, content(network=NETWORK, training=STILL), "--from", first, "--seed", 5)
    assert done.exit_code == 0, done.output
    before, after = load_file(first / "weights.safetensors"), load_file(tmp_path / "model/weights.safetensors")
    assert all(torch.allclose(after[k], v, atol=1e-6) for k, v in before.items())
    made = about(tmp_path / "model")
    assert made["step"] == made["steps"] == STILL["steps"]
    assert made["started_from"]["sha256"] == about(first)["sha256"]
    assert "started_from" not in about(first)


def test_without_it_nothing_is_begun_with(tmp_path, scans, first):
    done = run(tmp_path, scans, content(network=NETWORK, training=STILL), "--seed", 5)
    assert done.exit_code == 0, done.output
    before, after = load_file(first / "weights.safetensors"), load_file(tmp_path / "model/weights.safetensors")
    assert not all(torch.allclose(after[k], v, atol=1e-3) for k, v in before.items())
    assert "started_from" not in about(tmp_path / "model")


def test_another_network_is_refused_by_the_names_of_its_weights(tmp_path, scans, first):
    done = run(tmp_path, scans, content(network={**NETWORK, "width": 2}, training=STILL), "--from", first)
    assert isinstance(done.exception, VolforgeError)
    assert "first.0.weight is (1, 1, 5, 5, 5), not (2, 1, 5, 5, 5)" in str(done.exception)
    assert not (tmp_path / "model").exists()


def test_subjects_that_are_tested_are_no_beginning(scans, first, tmp_path):
    settings = content(network=NETWORK)
    assert checked_start(first, settings, scans, 0).about["cohort"] == "c"
    seen = about(first)["subjects"]["training"][0]
    rows = scans.read_text().split("\n")
    columns = rows[0].split("\t")
    other = tmp_path / "scans.tsv"
    own = [dict(zip(columns, r.split("\t"), strict=True)) for r in rows[1:] if r]
    for row in own:
        row["split"] = "test" if row["subject"] == seen else "train"
    other.write_text("\n".join(["\t".join(columns), *("\t".join(r.values()) for r in own)]) + "\n")
    with pytest.raises(VolforgeError, match=f"saw 1 of the subjects that are tested: {seen}"):
        checked_start(first, settings, other, 0)
    assert checked_start(first, {**settings, "cohort": "another"}, other, 0)


def test_a_checkpoint_of_other_beginnings_is_none(first, tmp_path):
    plain = TrainJob(tmp_path, 0, 0, tmp_path, tmp_path)
    begun = TrainJob(tmp_path, 0, 0, tmp_path, tmp_path, start=first)
    assert plain.needed() == {}
    assert begun.needed() == {"--from": about(first)["sha256"]}


def test_folders_that_are_no_model_are_refused(first, tmp_path):
    with pytest.raises(VolforgeError, match=r"model\.json"):
        read_start(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**about(first), "sha256": "other"}))
    with pytest.raises(VolforgeError, match=r"no weights\.safetensors"):
        read_start(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes((first / "weights.safetensors").read_bytes())
    with pytest.raises(VolforgeError, match="are not those that model"):
        read_start(tmp_path)
    with pytest.raises(VolforgeError, match=r"are missing: weight, bias; \d+ have no place"):
        begin_with(Start(first / "weights.safetensors", {}), torch.nn.Linear(2, 2))


OWN = """
from pathlib import Path
from volforge.tasks.protocol import Task

class Own(Task):
    train = ":train"

def train(path, job):
    Path("trained").touch()
    return ""
"""


def test_a_task_that_does_not_begin_with_weights_is_told_so_before_it_trains(tmp_path, monkeypatch, scans, first):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setenv("VOLFORGE_OWN_CODE", "own.py")
    done = run(tmp_path, scans, content(task="own.py:Own", entry="own.py:train", network=None), "--from", first)
    assert isinstance(done.exception, VolforgeError), done.output
    assert "does not begin with other weights" in str(done.exception)
    assert "own.py:Own" in done.exception.where
    assert not (tmp_path / "trained").exists()


def test_tasks_say_whether_their_trainings_begin_with_weights():
    trained = {name for name in registry.TASKS if registry.task(name).train}
    assert trained == {name for name in registry.TASKS if registry.task(name).begins_with_weights}
