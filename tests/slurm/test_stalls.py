"""Nothing waits for ever without anybody knowing: errors in threads end the run, and so does Ctrl-C, whatever is silent."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import snakemake_executor_plugin_volforge_slurm as plugin
from snakemake_executor_plugin_volforge_slurm import Executor
from tests.conftest import ROOT, snakemake
from tests.slurm.test_executor import executor  # noqa: F401
from tests.slurm.test_stub import QUICK, cluster  # noqa: F401

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


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_ctrl_c_ends_a_run_whose_cluster_is_silent(tmp_path, cluster):  # noqa: F811
    """It was: up to a minute for each query that was on its way."""
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: expand("out/{n}", n=range(3))\n'
        'rule short:\n    output: "out/{n}"\n    shell: "sleep 300; touch {output}"\n'
    )
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *QUICK]
    process = subprocess.Popen(
        [*command, "--volforge-slurm-array-jobs", "short"], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, **cluster, "CLUSTER_STUB_SLOW": "squeue"},
    )  # fmt: skip
    calls = tmp_path / "state/calls.jsonl"
    try:
        for _ in range(600):
            time.sleep(0.1)
            if calls.exists() and '["squeue"' in calls.read_text():
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=45)
    finally:
        process.kill()
    assert '["squeue"' in calls.read_text()
    assert process.returncode == 1, said
    assert {p.name for p in (tmp_path / "state").glob("*.cancelled")} == {f"1_{n}.cancelled" for n in (1, 2, 3)}
    assert not (tmp_path / "out").exists()


def test_a_run_that_does_not_end_shows_where_it_was(tmp_path, cluster):  # noqa: F811
    (tmp_path / "c.yaml").write_text("cohorts:\n  c: {sheet: c.tsv, phantom: {kind: skull}}\n")
    (tmp_path / "c.tsv").write_text("subject\tscan\tmodality\timage\ns\ts\tmask\ts.nii.gz\n")
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    silent = {**cluster, "CLUSTER_STUB_SLOW": "sbatch"}
    with pytest.raises(pytest.fail.Exception, match=r"no end within 10 s(.|\n)*most recent call first"):
        snakemake("--profile", "profiles/slurm", "--configfile", "c.yaml", cwd=tmp_path, env=silent, timeout=10)
