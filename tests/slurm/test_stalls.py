"""Nothing waits for ever without anybody knowing: errors in threads end the run, and so does Ctrl-C, whatever is silent."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import snakemake_executor_plugin_volforge_slurm as plugin
from snakemake_executor_plugin_volforge_slurm import Executor, earlier, ending
from snakemake_executor_plugin_volforge_slurm.ending import commands_ended
from tests.conftest import ROOT, hearing_ctrl_c, snakemake
from tests.slurm.test_executor import Logger, executor  # noqa: F401
from tests.slurm.test_stub import QUICK, calls, cluster  # noqa: F401
from volforge.workflow.leader import began_of

CLOCK = time.monotonic


@pytest.fixture
def told(executor, monkeypatch):  # noqa: F811
    """What the scheduler of an executor is told."""
    told = []
    executor.workflow.scheduler = SimpleNamespace(executor_error_callback=told.append)
    executor.array_jobs, executor.run_job_pre = {"cut"}, lambda job: None
    executor._job_submission_executor = SimpleNamespace(submit=lambda function, *given: function(*given))
    return told


def task(rule="cut"):
    return SimpleNamespace(is_group=lambda: False, rule=SimpleNamespace(name=rule), name=rule)


@pytest.mark.parametrize(("rule", "method"), [("cut", "_submit_together"), ("single", "run_job")])
def test_an_error_in_a_submitting_thread_ends_the_run(executor, told, monkeypatch, rule, method):  # noqa: F811
    """It was: kept by the thread, and the job, of which nobody knew, was waited for for ever."""
    error = RuntimeError("dictionary changed size during iteration")

    def broken(given):
        raise error

    monkeypatch.setattr(executor, method, broken)
    executor.run_jobs([task(rule)])
    assert told == [error]
    with pytest.raises(plugin.WorkflowError, match="changed size"):
        executor.run_jobs([task(rule)])


def test_the_thread_that_looks_for_states_does_not_end_in_silence(executor, told):  # noqa: F811
    """A cancelled query is no `Exception`: the thread ended and jobs were waited for for ever."""

    async def cancelled():
        raise asyncio.CancelledError

    executor._wait_for_jobs = cancelled
    executor._wait_thread()
    assert len(told) == 1
    assert "CancelledError" in str(told[0])


def test_that_thread_may_end_before_there_is_a_scheduler(executor, told):  # noqa: F811
    async def broken():
        raise OSError("too many open files")

    executor.workflow.scheduler = None
    executor._wait_for_jobs = broken
    executor._wait_thread()
    with pytest.raises(plugin.WorkflowError, match="too many open files"):
        executor.run_jobs([task()])


@pytest.mark.parametrize("lost", [None, OSError()])
def test_jobs_that_nobody_looks_after_are_cancelled_at_the_end(executor, monkeypatch, lost):  # noqa: F811
    called = []
    monkeypatch.setattr(plugin.SlurmExecutor, "shutdown", lambda self: called.append("threads"))
    monkeypatch.setattr(executor, "_cancel_all", lambda: called.append("jobs"))
    executor._lost = lost
    executor.shutdown()
    assert called == (["threads", "jobs"] if lost else ["threads"])


def test_the_end_of_a_run_is_not_slept_through(executor, monkeypatch):  # noqa: F811
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        executor.wait = len(slept) < 3

    monkeypatch.setattr(plugin.asyncio, "sleep", sleep)
    executor.wait, executor._next_seconds_between_status_checks = True, 3600
    asyncio.run(Executor.sleep(executor))
    assert len(slept) == 3
    assert max(slept) <= 0.5


def test_silent_commands_are_not_waited_for_after_the_end(executor, monkeypatch):  # noqa: F811
    asked = []

    async def silent(command):
        asked.append(command[0])
        executor._is_stopped = True
        await asyncio.sleep(3600)

    monkeypatch.setattr(plugin, "_output", silent)
    monkeypatch.setattr(plugin.time, "monotonic", CLOCK)  # that of the loop too
    states, is_complete = asyncio.run(Executor._states(executor))
    assert asked == ["squeue"]
    assert (states, is_complete) == ({}, False)
    assert executor.logger.lines == []


# Snakemake with less patience for `scancel` at the end, to keep this test short
IMPATIENT = (
    "import sys, snakemake_executor_plugin_volforge_slurm as plugin; plugin.Executor._scancel_s = 6.0; "
    "from snakemake.cli import main; main(sys.argv[1:])"
)


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("slow", ["squeue", "sbatch", "sacct", "scancel"])
def test_ctrl_c_ends_a_run_whose_cluster_is_silent(tmp_path, cluster, slow):  # noqa: F811
    """It was: never, while `sbatch` was on its way or `sacct` was asked for an account; two minutes for `scancel`."""
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: expand("out/{n}", n=range(3))\n'
        'rule short:\n    output: "out/{n}"\n    shell: "sleep 300; touch {output}"\n'
    )
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    command = hearing_ctrl_c("-c", IMPATIENT, "--profile", "profiles/slurm", *QUICK)
    process = subprocess.Popen(
        [*command, "--volforge-slurm-array-jobs", "short"], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, **cluster, "CLUSTER_STUB_SLOW": slow},
    )  # fmt: skip
    calls = tmp_path / "state/calls.jsonl"
    awaited = f'["{"squeue" if slow == "scancel" else slow}"'
    try:
        for _ in range(600):
            time.sleep(0.1)
            if calls.exists() and awaited in calls.read_text():
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=45)
    finally:
        process.kill()
    assert awaited in calls.read_text()
    assert process.returncode == 1, said
    cancelled = {p.name for p in (tmp_path / "state").glob("*.cancelled")}
    assert cancelled == ({f"1_{n}.cancelled" for n in (1, 2, 3)} if slow == "squeue" else set())
    assert ("To cancel them: scancel --name" in said) == (slow == "scancel")
    assert not list((tmp_path / "state").glob("*.job")) or slow in ("squeue", "scancel")
    assert not list((tmp_path / "out").glob("*"))
    for path in (tmp_path / "state").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(path.read_text()), signal.SIGKILL)


def test_only_commands_of_slurm_below_a_process_are_ended(tmp_path):
    (tmp_path / "sbatch").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "sbatch").chmod(0o755)
    other = subprocess.Popen(["sleep", "60"])
    submitting = subprocess.Popen(["sh", "-c", f"{tmp_path}/sbatch --parsable; true"])
    began = CLOCK()
    try:
        with commands_ended(0.5):
            submitting.wait(timeout=20)
        assert 0.5 <= CLOCK() - began < 15
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        submitting.kill()


def test_jobs_that_could_not_be_cancelled_are_named_and_that_is_tried_once(executor, monkeypatch):  # noqa: F811
    called = []

    def silent(call, timeout, **more):
        called.append((call, timeout))
        raise subprocess.TimeoutExpired(call, timeout)

    monkeypatch.setattr(ending.subprocess, "run", silent)
    monkeypatch.setattr(plugin.SlurmExecutor, "cancel", lambda self: self.cancel_jobs([]))
    executor.cancel()
    assert called == [(["scancel", "--name", "run"], 40.0)]
    assert len(executor.logger.lines) == 1
    assert "no answer within 40 s). To cancel them: scancel --name run" in executor.logger.lines[0]


def test_a_job_that_may_come_back_is_not_waited_for_after_the_end(executor, monkeypatch):  # noqa: F811
    async def silent(command):
        executor._is_stopped = True
        await asyncio.sleep(3600)

    monkeypatch.setattr(plugin, "_output", silent)
    monkeypatch.setattr(plugin.time, "monotonic", CLOCK)
    assert "the run was ended" in asyncio.run(Executor._cancel(executor, "7"))


def test_a_run_that_does_not_end_shows_where_it_was(tmp_path, cluster):  # noqa: F811
    (tmp_path / "c.yaml").write_text("cohorts:\n  c: {sheet: c.tsv, phantom: {kind: skull}}\n")
    (tmp_path / "c.tsv").write_text("subject\tscan\tmodality\timage\ns\ts\tmask\ts.nii.gz\n")
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    silent = {**cluster, "CLUSTER_STUB_SLOW": "sbatch"}
    with pytest.raises(pytest.fail.Exception, match=r"no end within 10 s(.|\n)*most recent call first"):
        snakemake("--profile", "profiles/slurm", "--configfile", "c.yaml", cwd=tmp_path, env=silent, timeout=10)


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_jobs_of_a_killed_run_are_cancelled_by_the_next_one_in_the_folder(tmp_path, cluster):  # noqa: F811
    """They went on, or waited in the queue, and removed and made what the next run had made meanwhile."""
    (tmp_path / "Snakefile").write_text(
        'rule a:\n    output: "out/a"\n    shell: "if [ -e begun ]; then touch {output}; else touch begun; sleep 300; fi"\n'
    )
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *QUICK]
    environment = {**os.environ, **cluster}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(600):
            time.sleep(0.1)
            if (tmp_path / "begun").exists():
                break
    finally:
        process.kill()
        process.wait()
    assert os.getpgid(int((tmp_path / "state/1.pid").read_text()))
    subprocess.run([*command, "--unlock"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert not (tmp_path / "state/1.cancelled").exists()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "state/1.cancelled").exists()
    assert "An earlier run in this folder was killed" in done.stderr
    made = calls(cluster, "sbatch"), calls(cluster, "scancel")
    assert [len(c) for c in made] == [2, 2]
    assert "--signal=KILL" in made[1][0], "a job that is asked to end writes once more"
    assert not (tmp_path / ".snakemake/volforge/slurm_run.json").exists()


@pytest.mark.parametrize(
    ("host", "alive", "patience", "holds", "words"),
    [
        ("", False, 1.0, False, "its jobs (old) are cancelled"),
        ("", False, 0.0, True, None),  # scancel has said why
        ("", True, 1.0, True, None),
        ("elsewhere", False, 1.0, True, "scancel --name old"),
    ],
)
def test_only_a_run_whose_process_is_gone_loses_its_jobs(tmp_path, monkeypatch, host, alive, patience, holds, words):
    """What may still write stays in the note, for the next start."""
    called = []

    def cancel(run, patience_s, logger, *options):
        called.append((run, *options))
        return patience

    monkeypatch.setattr(earlier, "cancel_by_name", cancel)
    monkeypatch.setattr(earlier, "is_empty", lambda run: host == "" and len(called) > 1)
    logger, note = Logger(), tmp_path / "a/note.json"
    pid, began = os.getpid(), began_of(os.getpid())
    note.parent.mkdir()
    old = {"run": "old", "host": host or socket.gethostname(), "pid": pid, "began": began + (not alive)}
    note.write_text(json.dumps([old]))
    earlier.begin("new", logger, note)
    tried = not host and not alive
    assert called == ([("old", "--signal=KILL", "--full"), ("old",)][: 2 if patience else 1] if tried else [])
    assert [words in line for line in logger.lines] == ([True] if words else [])
    new = {"run": "new", "host": socket.gethostname(), "pid": pid, "began": began}
    assert json.loads(note.read_text()) == ([old, new] if holds else [new])
    earlier.end("new", note)
    assert note.exists() == holds
    note.write_text("{")  # torn by a full disk, say
    earlier.begin("new", logger, note)
    assert [r["run"] for r in json.loads(note.read_text())] == ["new"]
    earlier.end("new", note)
    assert not note.exists()
