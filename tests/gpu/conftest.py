"""Tests that need a GPU: skipped, with the reason, where torch sees none.

`VOLFORGE_GPU_DEVICE=cpu` runs the same bodies on the CPU, so that the tests themselves are known to run.
`VOLFORGE_GPU_REPORT=FILE` writes a line of JSON per test as it ends: a run that is cut leaves what it found.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.gpu.made import Cohorts

DEVICE = os.environ.get("VOLFORGE_GPU_DEVICE", "")
REPORT = os.environ.get("VOLFORGE_GPU_REPORT", "")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    said_at_call = report.when == "call" or not report.passed  # a skip or an error comes with the setup
    if not REPORT or not said_at_call:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")
    row = {
        "test": report.nodeid.split("/")[-1],
        "outcome": report.outcome,
        "seconds": round(report.duration, 2),
        "reason": reason[-1500:],
        "found": dict(report.user_properties),
    }
    with Path(REPORT).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda`, or `cpu` where these tests are tried out."""
    if DEVICE not in ("", "cpu", "cuda"):
        raise pytest.UsageError(f"VOLFORGE_GPU_DEVICE is '{DEVICE}': cpu or cuda")
    if DEVICE == "cpu":
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU is visible to torch (VOLFORGE_GPU_DEVICE=cpu tries these tests on the CPU)")
    return "cuda"


@pytest.fixture(scope="session")
def cohorts(device: str, tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    """Small cohorts, each made when it is first asked for."""
    return Cohorts(tmp_path_factory.mktemp("cohorts"))


@pytest.fixture(autouse=True)
def _left_as_it_was(device: str) -> Iterator[None]:
    """Each test begins with torch as it comes, and leaves no memory behind."""
    import torch

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    threads = torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    torch._dynamo.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


@pytest.fixture
def whole_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 bit without TF32, also where a training asks for it: only then GPU and CPU can be held against each other."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)


@pytest.fixture
def compiles(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU networks are traced and run as they are traced: no compiler is asked, which takes minutes there."""
    import torch

    if device == "cpu":
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
