"""Networks that judge each other, in two processes and in mixed precision: both were seen to fail under plain DDP."""

import json
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.tasks.semantic_synthesis.test_training import task
from volforge.training.loop import train
from volforge.training.stop import Stop
from volforge.training.task import Plan

pytestmark = pytest.mark.xdist_group("training")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "precision"), [("unpaired", "32-true"), ("paired", "bf16-mixed"), ("semi", "bf16-mixed")]
)
def test_two_processes_hold_the_same_weights_after_every_step(tmp_path, mode, precision):
    words = [sys.executable, "-m", "tests.training.two_ranks", str(tmp_path), mode, precision]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1))
    assert first == second
    assert first["steps"] == 5
    assert len(set(first["weights"])) == 5  # they move


@pytest.mark.parametrize("mode", ["unpaired", "paired", "semi"])
def test_mixed_precision_trains_and_stays_near_32_bit(tmp_path, mode):
    """A penalty every step: its second derivatives are taken in 32 bit, whatever the precision."""
    found = []
    for precision in ("32-true", "bf16-mixed"):
        one = task(mode, penalty_every=1)
        plan = Plan(4, 4, ema={"generator": 0.5}, validate_every=4, precision=precision)
        done = train(one, plan, 0, tmp_path / precision, Stop())
        assert all(torch.isfinite(v).all() for w in done.weights.values() for v in w.values())
        found.append(done.history[-1])
    plain, mixed = found
    assert plain.keys() == mixed.keys()
    assert plain != mixed  # it was in use
    for name, value in plain.items():
        assert mixed[name] == pytest.approx(value, rel=0.05, abs=0.02), name
