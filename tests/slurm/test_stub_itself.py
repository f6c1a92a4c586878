"""The stand-in for SLURM keeps its word: jobs submitted at once are two jobs, states can always be read, none runs for ever."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STUB = Path(__file__).parent / "stub" / "slurm_stub.py"
# What a busy machine does at times: a pause between two steps of one command. Files are not written at once.
SLOW = """
import json, pathlib, time
dumps = json.dumps
def slow_dumps(*given, **more):
    time.sleep(0.3)
    return dumps(*given, **more)
def slow_write(self, text, *given, **more):
    with open(self, "w") as file:
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            time.sleep(0.1)
            file.write(half)
            file.flush()
json.dumps, pathlib.Path.write_text = slow_dumps, slow_write
"""


@pytest.fixture
def cluster(tmp_path):
    """Commands of the stand-in, and their environment on a slow machine."""
    (tmp_path / "state").mkdir()
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/sitecustomize.py").write_text(SLOW)
    for name in ("sbatch", "squeue", "sacct", "scancel"):
        (tmp_path / name).symlink_to(STUB)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CLUSTER_STUB": str(tmp_path / "state"), "PYTHONPATH": str(tmp_path / "slow")}


def call(cluster, name, *arguments):
    command = [Path(cluster["CLUSTER_STUB"]).parent / name, *arguments]
    return subprocess.Popen(
        command, env=cluster, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def answer(cluster, name, *arguments):
    process = call(cluster, name, *arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def states(cluster, name="squeue"):
    lines = answer(cluster, name, "--format=JobID,State").splitlines()
    return dict(line.split("|") for line in lines)


def ended(cluster):
    """States when no job runs any more."""
    for _ in range(100):
        found = states(cluster)
        if found and "RUNNING" not in found.values():
            return found
        time.sleep(0.1)
    raise AssertionError(f"still running: {found}")


def test_jobs_that_are_submitted_at_once_are_two_jobs_and_both_run(cluster, tmp_path):
    """It was: one number and one script for both, and at times a state file of two contents, which no command read again."""
    commands = [f"--wrap=echo {k * 'x'} > {tmp_path}/made_{k}" for k in (1, 400, 800)]
    waiting = [call(cluster, "sbatch", "-J", "run", command) for command in commands]
    numbers = []
    for process in waiting:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        numbers.append(out.strip())
    assert len(set(numbers)) == 3
    assert ended(cluster) == dict.fromkeys(numbers, "COMPLETED")
    assert states(cluster, "sacct") == states(cluster)
    assert sorted(len((tmp_path / f"made_{k}").read_text()) for k in (1, 400, 800)) == [2, 401, 801]


def test_states_are_read_while_a_job_is_submitted(cluster, tmp_path):
    process = call(cluster, "sbatch", "-J", "run", "--array=1-3", "--wrap=true")
    while process.poll() is None:
        assert set(states(cluster).values()) <= {"RUNNING", "COMPLETED"}
    assert set(ended(cluster)) == {"1_1", "1_2", "1_3"}


def test_a_job_that_hangs_ends_at_its_limit_and_says_where_it_was(cluster, tmp_path):
    """It was: RUNNING for ever, and a test that waited for it as long."""
    code = "import time\ndef waits_for_nothing():\n    time.sleep(600)\nwaits_for_nothing()\n"
    (tmp_path / "hang.py").write_text(code)
    limited = {**cluster, "CLUSTER_STUB_LIMIT_S": "2"}
    command = f"--wrap=python {tmp_path}/hang.py"
    number = answer(limited, "sbatch", "-J", "run", f"--output={tmp_path}/log_%j", command).strip()
    assert ended(cluster) == {number: "TIMEOUT"}
    assert "waits_for_nothing" in (tmp_path / f"log_{number}").read_text()


def test_a_job_whose_processes_are_killed_has_ended(cluster, tmp_path):
    number = answer(cluster, "sbatch", "-J", "run", "--wrap=sleep 600").strip()
    assert states(cluster) == {number: "RUNNING"}
    session = int((tmp_path / f"state/{number}.pid").read_text())
    for pid in (int(p.name) for p in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
    assert ended(cluster) == {number: "NODE_FAIL"}


@pytest.mark.parametrize("by", ["number", "name"])
def test_a_cancelled_job_runs_no_more(cluster, tmp_path, by):
    started = tmp_path / "started"
    number = answer(
        cluster, "sbatch", "-J", "mine", f"--wrap=touch {started}; sleep 600; touch {tmp_path}/late"
    ).strip()
    other = answer(cluster, "sbatch", "-J", "other", "--wrap=true").strip()
    while not started.exists():
        time.sleep(0.05)
    pid = int((tmp_path / f"state/{number}.pid").read_text())
    answer(cluster, "scancel", *([number] if by == "number" else ["--name", "mine"]))
    assert ended(cluster) == {number: "CANCELLED", other: "COMPLETED"}
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
