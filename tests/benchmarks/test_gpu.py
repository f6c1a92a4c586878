"""The benchmark of a GPU, tried out without one: every network takes a step, what hangs is ended, the page says so."""

import json
import os
import queue
import subprocess
import sys
import time
from functools import cache

import pytest
import torch
from benchmarks.gpu import page, ready, steps
from benchmarks.gpu.meter import VARIANTS, measure
from benchmarks.gpu.networks import NetworkTask, build, every_network

from tests.conftest import ROOT
from volforge.components import NAMES


@cache
def small():
    return {s.name: s for s in every_network(small=True)}


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    """A measurement sets torch up as a training does: other tests are not to see it."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    matmul = torch.get_float32_matmul_precision()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = cudnn
    torch.set_float32_matmul_precision(matmul)


@pytest.mark.parametrize("name", NAMES["network"])
def test_every_network_of_the_registry_takes_a_step(name):
    """A new one joins by itself; where its arguments are not known, the message says where to say them."""
    found = measure(NetworkTask(small()[name]), VARIANTS["plain"], "cpu", 0)
    assert found["steps"] == 1
    assert found["step_s"] > 0
    assert 0 < found["losses"][0]["loss"] < 100


def test_an_argument_that_is_not_known_is_asked_for(monkeypatch):
    one = NetworkTask(small()["monai_unet"])

    class Other(torch.nn.Module):
        def forward(self, image, t):
            return image

    with pytest.raises(ValueError, match=r"monai_unet takes 't': say what it is in benchmarks/gpu/networks\.py"):
        one.inputs(Other(), {"image": torch.zeros(1), "labels": torch.zeros(1)})


def test_networks_have_the_size_of_their_published_arm():
    found = {s.name: s for s in every_network()}
    assert list(found) == list(NAMES["network"])
    ours, vnet, generator = (found[n] for n in ("residual_unet", "vnet", "oasis_generator"))
    assert (ours.size, ours.batch, ours.classes, ours.loss["name"]) == ((128, 112, 80), 2, 4, "dice_boundary")
    assert (vnet.size, vnet.batch, vnet.origin) == ((144, 112, 64), 1, "negative_volume.yaml: tmj_segmentation/vnet_ce")
    assert (generator.size, generator.batch, generator.classes) == ((256, 256), 4, 37)
    assert found["monai_unet"].origin == "no published arm"
    with torch.device("meta"):
        assert sum(p.numel() for p in build(vnet).parameters()) == 65_191_134


def test_our_loop_begins_with_the_loss_of_the_plain_one():
    task = NetworkTask(small()["residual_unet"])
    first = [measure(task, VARIANTS[v], "cpu", 0)["losses"][0]["loss"] for v in ("plain", "tf32", "channels_last")]
    assert first[1] == pytest.approx(first[0], rel=1e-5)
    assert first[2] == pytest.approx(first[0], rel=VARIANTS["channels_last"].bound)
    assert first[2] != first[0]  # in half precision


class Answers:
    """A worker that says what it is told to; `None` is the end of its process, `...` a silence."""

    says: list

    def __init__(self, device, small, seconds, pairs):
        self.pairs, self.ended = list(pairs), False
        self.process = self

    def next(self, seconds):
        answer = self.says.pop(0)
        if answer is ...:
            raise queue.Empty
        return answer

    def wait(self):
        return -9

    def end(self):
        self.ended = True


def test_what_hangs_or_dies_costs_itself_alone(monkeypatch):
    done = {"state": "done", "step_s": 1.0}
    Answers.says = [done, ..., done, None, done]
    begun = []
    monkeypatch.setattr(steps, "Worker", lambda *given: begun.append(Answers(*given)) or begun[-1])
    pairs = [(n, "plain") for n in "abcde"]
    found = list(steps.supervise(pairs, "cpu", True, 0.0, 5.0, time.monotonic() + 1000))
    assert [(r["network"], r["state"]) for r in found] == [
        ("a", "done"), ("b", "skipped"), ("c", "done"), ("d", "failed"), ("e", "done"),
    ]  # fmt: skip
    assert "took longer than" in found[1]["reason"]
    assert "ended with -9" in found[3]["reason"]
    assert [w.pairs[0][0] for w in begun] == ["a", "c", "e"]
    assert all(w.ended for w in begun)


def test_what_there_is_no_time_for_is_said():
    found = list(steps.supervise([("a", "plain")], "cpu", True, 0.0, 5.0, time.monotonic()))
    assert found == [{"network": "a", "variant": "plain", "state": "skipped", "reason": "no time was left"}]


def test_all_that_may_have_to_be_installed_is_pinned_and_never_torch():
    every = {d for part in ready.PARTS.values() for d in part.values()}
    assert len(ready.pinned(sorted(every))) == len(every)
    assert not every & {"torch", "numpy"}
    assert all(not ready.absent(modules) for modules in ready.PARTS.values())  # all are here
    for lacking in ({"no_such_module": "pytest"}, {"pytest": "no-such-distribution"}):
        assert ready.absent(lacking) == lacking


def test_the_page_shows_what_is_wrong(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    about = {"date": "2026-01-01", "python": "3.11", "torch": "2.13", "cores": 16, "processor": "P", "commit": "abc"}
    gpu = {"gpu": "A GPU", "gpus": 1, "gpu_gib": 80.0, "cuda": "13", "cudnn": 9, "driver": "580"}
    (raw / "machine.json").write_text(json.dumps(about | gpu))
    (raw / "steps.log").write_text("first\nlast line of the log\n")
    row = {"network": "vnet", "state": "done", "steps": 3, "peak_gib": 10.0}
    rows = [
        {"about": "vnet", "spec": {}, "size": [8, 8, 8], "batch": 1, "origin": "paper.yaml: arm"},
        {**row, "variant": "plain", "step_s": 0.5, "losses": [{"loss": 1.0}], "bound": 0.0},
        {**row, "variant": "bf16", "step_s": 0.1, "losses": [{"loss": 1.2}], "bound": 0.05, "peak_gib": 6.0},
        {"network": "vnet", "variant": "compile", "state": "skipped", "reason": "no time was left"},
    ]
    lines = "\n".join(map(json.dumps, rows)) + '\n{"cut'
    (raw / "steps.jsonl").write_text(lines)
    test = {"test": "test_a.py::test_b", "seconds": 1, "found": {}}
    failed = {**test, "outcome": "failed", "reason": "def test_b():\nE   assert 1 == 2\n"}
    (raw / "tests.jsonl").write_text(
        json.dumps({**test, "outcome": "passed", "reason": ""}) + "\n" + json.dumps(failed) + "\n"
    )
    page.note(raw, ["steps", "137", "99", "90", str(raw / "steps.log")])
    page.note(raw, ["skipped", "walks", "this Python has no numba"])
    page.write(raw, tmp_path / "out")
    text = (tmp_path / "out/gpu.md").read_text()
    assert "| steps | cut after 90 s | 99 |" in text
    assert "last line of the log" in text
    assert "| walks | skipped | 0 | this Python has no numba |" in text
    assert "1 passed, 1 failed." in text
    assert "| `test_a.py::test_b` | failed | assert 1 == 2 |" in text
    assert "| `vnet` 8x8x8, batch 1 | 2 (1.00) | 10 (5.00) | – |" in text
    assert "| `vnet` | 10.00 | 6.00 | – |" in text
    assert "| `vnet` | 0 | **2.0e-01** | – |" in text
    assert "| `vnet` | + compiled | skipped | no time was left |" in text
    assert "at paper size" in text
    assert len(json.loads((tmp_path / "out/gpu.json").read_text())["steps"]) == 3
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def script(out, *words, **env):
    given = {k: v for k, v in os.environ.items() if k not in ("OUT", "TESTS", "STEPS", "BUDGET", "WHEELS")}
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks/gpu.sh"), *words],
        capture_output=True, text=True, check=False, timeout=500, env={**given, "OUT": str(out), **env},
    )  # fmt: skip


def test_a_dry_run_is_no_result():
    before = sorted((ROOT / "docs/results").iterdir())
    done = script(ROOT / "docs/results", "--dry")
    assert done.returncode == 2
    assert "a dry run is no result" in done.stderr
    assert sorted((ROOT / "docs/results").iterdir()) == before
    assert script(ROOT / "docs/results", "--other").returncode == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_it_says_what_it_looked_for(tmp_path):
    done = script(tmp_path / "out")
    assert done.returncode == 1
    assert "sees a GPU; tried: PYTHON" in done.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_all_parts_run_dry_on_a_processor(tmp_path):
    """With one test and two networks: what the whole of it takes is known, that its parts fit together is asked."""
    only = "--only monai_unet,wavelet_discriminator"
    done = script(tmp_path, "--dry", TESTS="find_the_same_ways", STEPS=only, PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "gpu.md").read_text()
    for part in ("setup", "walks", "tests", "compiled", "steps"):
        assert f"| {part} | done |" in text
    for title in ("## Tests of", "## Rays of a joint", "## One step of every network, small"):
        assert title in text
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {(r["network"], r["variant"], r["state"]) for r in found["steps"]} == {
        *(("monai_unet", v, "done") for v in (*steps.FIRST_IN_SMALL, *steps.LAST)),
        *(("wavelet_discriminator", v, "done") for v in steps.FIRST_IN_SMALL),
    }
    assert {r["outcome"] for r in found["tests"]} == {"passed"}
    assert [r["differ"] for r in found["walks"]] == [0]


@pytest.mark.slow
def test_a_budget_that_is_too_small_leaves_a_page_of_what_was_skipped(tmp_path):
    done = script(tmp_path, "--dry", BUDGET="15", PYTHON=sys.executable)
    assert done.returncode == 1
    text = (tmp_path / "gpu.md").read_text()
    assert "| steps | skipped | 0 | no time was left |" in text
