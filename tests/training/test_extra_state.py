"""A task's own state (a pool of earlier fakes, say) is in checkpoints, and a resumed training is as if never ended."""

import json
import random
import signal
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.training.pooled import BATCH, MOST, STEPS, Pooled, StopAt, digest, plan
from volforge.errors import VolforgeError
from volforge.training.loop import train
from volforge.training.stop import Stop

pytestmark = pytest.mark.xdist_group("training")


def program(*words):
    done = [sys.executable, "-m", "tests.training.pooled", *map(str, words)]
    return subprocess.run(done, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed training: its weights, pool, and how often the pool was drawn from."""
    task = Pooled()
    done = train(task, plan(), 0, tmp_path_factory.mktemp("whole"), Stop())
    assert task.returned > 5
    return digest(done), task.held()


def parted(folder, step, make=Pooled):
    """A training that was stopped after a step and gone on with."""
    assert train(make(), plan(), 0, folder, StopAt(step)).stopped
    task = make()
    done = train(task, plan(), 0, folder, Stop())
    assert done.steps == STEPS
    return digest(done), task.held()


def test_killed_at_a_random_step_and_resumed_has_the_same_weights_and_pool(tmp_path, whole):
    step = random.randrange(MOST // BATCH + 2, STEPS - 2)
    killed = program(tmp_path, "kill", step)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    task = Pooled()
    done = train(task, plan(), 0, tmp_path, Stop())
    assert (digest(done), task.held()) == whole, f"killed at step {step}"


@pytest.mark.parametrize("step", [1, 2, 11, STEPS - 1])
def test_stopped_at_any_step(tmp_path, whole, step):
    """With the pool empty at first, half full, full."""
    assert parted(tmp_path, step) == whole


def test_without_the_pool_in_checkpoints_another_training_comes_out(tmp_path, whole):
    """Else the tests above would show nothing."""
    found = parted(tmp_path, 11, lambda: Pooled(keeps=False))
    assert found[0] != whole[0]
    assert found[1] != whole[1]


def test_two_processes_have_a_pool_each(tmp_path):
    done = program(tmp_path, "two")
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1))
    for one in (first, second):
        assert one["parted"] == one["undisturbed"]
    assert first["parted"][0] != second["parted"][0]
    assert set(first["parted"][0]).isdisjoint(second["parted"][0])
    kept = torch.load(tmp_path / "parted" / "last.pt", weights_only=True)["extra"]
    assert [[f.numpy().tobytes().hex() for f in e["pool"]] for e in kept] == [first["parted"][0], second["parted"][0]]


def test_states_of_processes_may_differ_in_size(tmp_path, monkeypatch):
    """What one process sends is filled up to the longest, and cut to its own length again."""
    from lightning_fabric import Fabric

    from volforge.training import state

    tasks = [Pooled(), Pooled()]
    tasks[1].pool = [torch.arange(5.0), torch.arange(3, dtype=torch.uint8)]
    sent = [state._packed(t) for t in tasks]

    class Two(Fabric):
        world_size = 2

        def all_gather(self, value, **_):
            if value.dim() == 0:
                return torch.tensor([len(s) for s in sent])
            assert len(value) == max(map(len, sent))
            return torch.stack(
                [torch.frombuffer(bytearray(s.ljust(len(value), b"\1")), dtype=torch.uint8) for s in sent]
            )

    found = state.extra_of_all(tasks[0], Two(accelerator="cpu"))
    assert found[0] == {"pool": [], "returned": 0}
    assert [p.tolist() for p in found[1]["pool"]] == [[0.0, 1.0, 2.0, 3.0, 4.0], [0, 1, 2]]


def test_a_checkpoint_of_a_version_that_kept_none_is_gone_on_from(tmp_path):
    folder = tmp_path / "run"
    train(Pooled(), plan(), 0, folder, StopAt(4))
    content = torch.load(folder / "last.pt", weights_only=True)
    del content["extra"]
    torch.save(content, folder / "last.pt")
    task = Pooled()
    assert train(task, plan(), 0, folder, Stop()).steps == STEPS
    assert len(task.pool) == MOST


def test_a_checkpoint_of_another_number_of_processes_is_refused(tmp_path):
    train(Pooled(), plan(), 0, tmp_path / "run", StopAt(4))
    content = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    for name in ("rng", "extra"):
        content[name] = content[name] * 2
    torch.save(content, tmp_path / "run" / "last.pt")
    with pytest.raises(VolforgeError, match="kept by 2 processes, not by 1"):
        train(Pooled(), plan(), 0, tmp_path / "run", Stop())


def test_a_state_that_no_checkpoint_gives_back_is_refused_when_it_is_kept(tmp_path):
    class Odd(Pooled):
        def extra_state(self):
            return {"pool": self.settings, "odd": Stop}

    with pytest.raises(VolforgeError, match="cannot be kept in a checkpoint") as found:
        train(Odd(), plan(), 0, tmp_path, Stop())
    assert found.value.where == "Odd.extra_state"
    assert not (tmp_path / "last.pt").exists()


def test_a_state_that_is_not_taken_up_is_an_error(tmp_path):
    class Half(Pooled):
        load_extra = Pooled.__mro__[1].load_extra

    with pytest.raises(TypeError, match="no load_extra"):
        parted(tmp_path, 4, Half)


def test_a_task_says_how_samples_become_a_batch(tmp_path):
    seen = []

    class Own(Pooled):
        def collate(self, samples):
            seen.append(len(samples))
            return {k: torch.cat([s[k][None] for s in samples]) for k in samples[0]}

    done = train(Own(), plan(), 0, tmp_path / "own", Stop())
    assert seen == [BATCH] * STEPS
    assert digest(done) == digest(train(Pooled(), plan(), 0, tmp_path / "plain", Stop()))
