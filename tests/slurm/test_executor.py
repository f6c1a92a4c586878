"""Parts of the executor that a healthy cluster does not show: silence, held jobs, strange answers, the end from outside."""

import asyncio
from types import SimpleNamespace

import pytest

import snakemake_executor_plugin_volforge_slurm as plugin
from snakemake_executor_plugin_volforge_slurm import Executor
from snakemake_executor_plugin_volforge_slurm.states import State


class Logger:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda text, **more: self.lines.append(text)


class Limiter:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None


@pytest.fixture
def executor(monkeypatch):
    """An executor without a workflow: only what the tested methods use."""
    one = Executor.__new__(Executor)
    one.logger, one.run_uuid, one.status_rate_limiter = Logger(), "run", Limiter()
    one._unknown_since, one._held, one._numbers, one._accounts = {}, set(), set(), {}
    one._warned_at, one._has_accounting, one._is_stopped = 0.0, True, False
    one.workflow = SimpleNamespace(executor_settings=SimpleNamespace(keep_successful_logs=False))
    one.ended = []
    one.report_job_success = lambda job: one.ended.append((job.external_jobid, "success"))
    one.report_job_error = lambda job, msg="", aux_logs=(): one.ended.append(
        (getattr(job, "external_jobid", None), msg)
    )
    one._report_job_error_threadsafe = lambda info, msg: one.ended.append((info.external_jobid, msg))
    one.clock = 0.0
    monkeypatch.setattr(plugin.time, "monotonic", lambda: one.clock)
    return one


def job(number="7"):
    return SimpleNamespace(
        external_jobid=number, aux={"slurm_logfile": "/nowhere.log"}, job=SimpleNamespace(resources={})
    )


def poll(executor, jobs, states, complete=True):
    async def answer():
        return {k: State(v) for k, v in states.items()}, complete

    executor._states = answer

    async def run():
        return [j async for j in executor.check_active_jobs(jobs)]

    return asyncio.run(run())


def test_an_outage_is_no_sign_that_jobs_are_gone(executor):
    jobs = [job()]
    for clock in range(0, 1000, 50):  # the controller is silent for a quarter of an hour
        executor.clock = clock
        assert poll(executor, jobs, {}, complete=False) == jobs
    executor.clock = 1001
    assert poll(executor, jobs, {}) == jobs  # the first answer that lacks it does not condemn it
    executor.clock = 1050
    assert poll(executor, jobs, {"7": "COMPLETED"}) == []
    assert executor.ended == [("7", "success")]


def test_a_job_that_nobody_knows_is_reported_after_a_while(executor):
    jobs = [job()]
    for clock in (0, 60, 119):
        executor.clock = clock
        assert poll(executor, jobs, {}) == jobs
    executor.clock = 121
    assert poll(executor, jobs, {}) == []
    assert "has not known job 7" in executor.ended[0][1]


def test_held_jobs_are_said_once_and_unknown_words_wait(executor):
    jobs = [job()]
    for _ in range(3):
        assert poll(executor, jobs, {"7": "REQUEUE_HOLD"}) == jobs
    assert sum("scontrol release" in line for line in executor.logger.lines) == 1
    assert poll(executor, jobs, {"7": "POWER_UP_NODE"}) == jobs
    assert executor.ended == []


@pytest.mark.parametrize("answer", ["host not found", "Connection refused"])
def test_only_a_missing_or_disabled_sacct_means_no_accounting(executor, monkeypatch, answer):
    async def output(command):
        return (None, answer) if command[0] == "sacct" else ("7|RUNNING\n", "")

    monkeypatch.setattr(plugin, "_output", output)
    states, complete = asyncio.run(Executor._states(executor))
    assert states["7"].is_alive
    assert not complete
    assert executor._has_accounting

    async def disabled(command):
        return (None, "Slurm accounting storage is disabled") if command[0] == "sacct" else ("7|RUNNING\n", "")

    monkeypatch.setattr(plugin, "_output", disabled)
    _, complete = asyncio.run(Executor._states(executor))
    assert complete
    assert not executor._has_accounting


def test_a_submission_that_raises_is_reported_whatever_the_job(executor, monkeypatch):
    def broken(self, job):
        raise AttributeError("a group has no rule")

    monkeypatch.setattr(plugin.SlurmExecutor, "run_job", broken)
    executor.run_job(SimpleNamespace(attempt=1, resources={}))
    assert "cannot be submitted: a group has no rule" in executor.ended[0][1]
    executor.run_job(SimpleNamespace(attempt=1, resources={"slurm_cluster": "other"}))
    assert "several clusters are not supported" in executor.ended[1][1]


def test_nothing_is_submitted_after_the_end_and_all_is_cancelled_by_name(executor, monkeypatch):
    called = []
    monkeypatch.setattr(
        plugin.subprocess, "run", lambda words, **more: called.append(words) or SimpleNamespace(returncode=0)
    )
    monkeypatch.setattr(plugin.SlurmExecutor, "cancel", lambda self: self.cancel_jobs([]))
    monkeypatch.setattr(plugin.SlurmExecutor, "run_job", lambda self, job: called.append("submitted"))
    executor.cancel()
    assert called == [["scancel", "--name", "run"]] * 2  # also those that were on their way
    executor.run_job(SimpleNamespace(attempt=1, resources={}))
    executor._submit_array("sbatch", [])
    assert "submitted" not in called
    assert executor.ended == []


def test_an_id_among_other_words_is_asked_from_the_queue(executor, monkeypatch):
    answers = SimpleNamespace(stdout="41|rule_other\n42|rule_short\n42|rule_short\n", returncode=0)
    monkeypatch.setattr(plugin.subprocess, "run", lambda words, **more: answers)
    assert executor._number_of("quota: 12 of 40\nSubmitted 42 (99 left)", "rule_short") == "42"
    assert executor._number_of("43\n", "rule_short") == "43"
