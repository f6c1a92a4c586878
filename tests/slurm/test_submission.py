"""What is wrong with one job costs no other one, and nothing that may still run is given up before it is cancelled."""

import asyncio
from types import SimpleNamespace

import pytest

import snakemake_executor_plugin_volforge_slurm as plugin
from snakemake_executor_plugin_volforge_slurm.states import State
from tests.slurm.test_executor import executor, job, poll  # noqa: F401
from volforge.errors import VolforgeError
from volforge.lasting import leave_marker
from volforge.workflow.fail_once import marker_of


@pytest.fixture
def cluster(executor, monkeypatch, tmp_path):  # noqa: F811
    """An executor whose sbatch refuses what `refused` says, and that notes what is submitted, cancelled and failed."""
    executor.submitted, executor.cancelled, executor.failed = [], [], {}
    executor.queue, executor.refused = "", lambda call: ""
    executor.slurm_logdir, executor.max_array_size = tmp_path, 100
    executor._job_submission_executor = SimpleNamespace(submit=lambda function, *given: function(*given))
    executor.format_job_exec = lambda job: f"run {job.jobid}"
    executor._report_job_error_threadsafe = lambda info, msg: executor.failed.setdefault(info.job.jobid, msg)
    executor._report_job_submission_threadsafe = lambda info: executor.submitted.append(
        (info.job.jobid, info.external_jobid)
    )
    executor._request = lambda job: f"sbatch --mem={job.resources['mem_mb']}"

    def run(call, **more):
        if call[0] == "squeue":
            return SimpleNamespace(returncode=0, stdout=executor.queue, stderr="")
        if call[0] == "scancel":
            executor.cancelled.append(call[1:])
            return SimpleNamespace(returncode=0, stdout="", stderr="")
        message = executor.refused(call)
        return SimpleNamespace(returncode=bool(message), stdout="" if message else "70\n", stderr=message)

    def single(self, job):
        message = self.refused(["sbatch", f"--mem={job.resources['mem_mb']}"])
        if message:
            self._report_job_error_threadsafe(SimpleNamespace(job=job), message)
        else:
            self._report_job_submission_threadsafe(SimpleNamespace(job=job, external_jobid=f"8{job.jobid}"))

    monkeypatch.setattr(plugin.subprocess, "run", run)
    monkeypatch.setattr(plugin.SlurmExecutor, "run_job", single)
    return executor


class Resources(dict):
    __getattr__ = dict.get


def task(number, mem_mb=1000, attempt=1, **resources):
    return SimpleNamespace(
        jobid=number, name="cut", attempt=attempt, wildcards=[],
        resources=Resources(mem_mb=mem_mb, **resources), is_group=lambda: False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "bad", [task(2, slurm_cluster="other"), task(2, slurm_extra="--job-name=x"), task(2, mem_mb=10**9)]
)
def test_one_bad_request_costs_no_other_job(cluster, bad):
    """It was: all jobs of the rule were reported as failed."""
    cluster.refused = lambda call: "Memory specification can not be satisfied" if f"--mem={10**9}" in call else ""
    cluster._submit_together([task(0), task(1), bad, task(3)])
    assert [n for n, _ in cluster.submitted] == [0, 1, 3]
    assert list(cluster.failed) == [2]
    assert any(w in cluster.failed[2] for w in ("several clusters", "job-name", "can not be satisfied"))


def test_an_array_that_is_refused_is_submitted_job_by_job(cluster):
    cluster.refused = lambda call: "Invalid job array specification" if "--array=1-3" in call else ""
    cluster._submit_together([task(0), task(1), task(2)])
    assert cluster.submitted == [(0, "80"), (1, "81"), (2, "82")]
    assert cluster.failed == {}
    assert any("one by one" in line and "array specification" in line for line in cluster.logger.lines)


def test_a_job_whose_command_cannot_be_written_fails_alone(cluster, monkeypatch):
    def write(job):
        if job.jobid == 1:
            raise KeyError("runtime")
        return "run"

    def single(self, job):
        self.format_job_exec(job)
        self._report_job_submission_threadsafe(SimpleNamespace(job=job, external_jobid=f"8{job.jobid}"))

    cluster.format_job_exec = write
    monkeypatch.setattr(plugin.SlurmExecutor, "run_job", single)
    cluster._submit_together([task(0), task(1), task(2)])
    assert [n for n, _ in cluster.submitted] == [0, 2]
    assert "runtime" in cluster.failed[1]


def test_an_array_that_was_taken_though_sbatch_said_no_is_cancelled_before_its_jobs_go_out_again(cluster):
    cluster.queue = "69|rule_other\n71|rule_cut\n"
    cluster.refused = lambda call: "Socket timed out on send/recv operation" if "--array=1-2" in call else ""
    cluster._submit_together([task(0), task(1)])
    assert cluster.cancelled == [["71"]]
    assert [n for n, _ in cluster.submitted] == [0, 1]


def test_a_single_job_that_was_taken_though_sbatch_said_no_is_cancelled(cluster, monkeypatch):
    del cluster._report_job_error_threadsafe
    seen = []
    monkeypatch.setattr(
        plugin.SlurmExecutor, "_report_job_error_threadsafe", lambda self, info, msg: seen.append(list(self.cancelled))
    )
    cluster._numbers = {"71"}
    cluster.queue = "71|rule_cut\n72|rule_cut\n73|rule_cut_wildcards_a\n"
    cluster.refused = lambda call: "Socket timed out on send/recv operation"
    cluster.run_job(task(0))
    assert seen == [[["72"]]]  # before it was reported, and no job that is known


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((None, "scancel: error: Kill job error on job id 7_3: Invalid job id specified"), "it is cancelled"),
        (("", ""), "it is cancelled"),
        ((None, "Unable to contact slurm controller"), "could not be cancelled (Unable to contact"),
    ],
)
def test_a_lost_job_is_cancelled_before_it_is_reported(executor, monkeypatch, answer, said):  # noqa: F811
    """It was reported while it could come back, and then wrote the checkpoints of its retry."""
    called = []

    async def output(command):
        assert executor.ended == []
        called.append(command)
        return answer

    monkeypatch.setattr(plugin, "_output", output)
    jobs = [job("7_3")]
    for clock in (0, 121):
        executor.clock = clock
        left = poll(executor, jobs, {})
    assert left == []
    assert called == [["scancel", "--signal=KILL", "--full", "7_3"], ["scancel", "7_3"]]
    assert said in executor.ended[0][1]


@pytest.mark.parametrize(("state", "cancels"), [("NODE_FAIL", True), ("PREEMPTED", True), ("FAILED", False)])
def test_ends_after_which_slurm_starts_a_job_again_are_cancelled_too(executor, monkeypatch, state, cancels):  # noqa: F811
    called = []

    async def output(command):
        called.append(command[-1])
        return "", ""

    monkeypatch.setattr(plugin, "_output", output)
    assert poll(executor, [job()], {"7": state}) == []
    assert called == (["7", "7"] if cancels else [])
    assert f"ended as {state}" in executor.ended[0][1]


def test_the_loop_waits_for_no_cancelled_job(executor, monkeypatch):  # noqa: F811
    async def never(command):
        await asyncio.sleep(0)
        return None, "no answer within 60 s"

    monkeypatch.setattr(plugin, "_output", never)
    assert poll(executor, [job(), job("8")], {"7": "NODE_FAIL", "8": "COMPLETED"}) == []
    assert executor.ended[1] == ("8", "success")


def test_a_further_attempt_at_what_lasts_is_reported_and_never_queued(cluster, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    leave_marker(marker_of(7).absolute(), VolforgeError("no scan can be used", "c", "look at the split"))
    said = {}
    monkeypatch.setattr(
        plugin.SlurmExecutor, "_report_job_error_threadsafe", lambda self, info, msg: said.update({info.job.jobid: msg})
    )
    lasting = task(1, attempt=2, failure_key=7)
    others = [task(0, attempt=2, failure_key=8), task(2, attempt=2), task(3, failure_key=7)]  # the last: a new start
    cluster._submit_together([others[0], lasting, *others[1:]])
    assert [n for n, _ in cluster.submitted] == [0, 2, 3]
    cluster.submitted.clear()
    for one in (lasting, *others):
        cluster.run_job(one)
    assert [n for n, _ in cluster.submitted] == [0, 2, 3]
    assert list(said) == [1]
    assert said[1].startswith("not submitted again: volforge: c: no scan can be used\n  remedy: look at the split")
    assert cluster.failed == {}


@pytest.mark.parametrize(
    ("reason", "ends", "words"),
    [
        ("PartitionTimeLimit", True, "more than the cluster gives (9000 MB, 5000 minutes), and can never start"),
        ("BadConstraints", False, "may never start (BadConstraints)"),
        ("Priority", False, ""),
    ],
)
def test_a_job_that_can_never_start_is_not_waited_for(executor, monkeypatch, tmp_path, reason, ends, words):  # noqa: F811
    """It was: PENDING for ever, where its partition is too short for what a retry asks."""
    monkeypatch.chdir(tmp_path)
    cancelled = []

    async def output(command):
        cancelled.append(command[-1])
        return "", ""

    async def states():
        return {"7": State("PENDING", reason)}, True

    monkeypatch.setattr(plugin, "_output", output)
    executor._states = states
    one = job()
    one.job = SimpleNamespace(
        is_group=lambda: False, resources=Resources(mem_mb=9000, runtime=5000, failure_key=11), attempt=2
    )

    async def look():
        return [j async for j in executor.check_active_jobs([one])]

    for _ in range(2):
        left = asyncio.run(look())
        assert left == ([] if ends else [one])
        if ends:
            break
    said = [m for _, m in executor.ended] if ends else executor.logger.lines
    assert len(said) == (1 if words else 0)  # once, however often it is looked at
    assert all(words in m for m in said)
    assert bool(cancelled) == ends
    assert marker_of(11).exists() == ends  # no further attempt asks for still more


def test_what_sbatch_refuses_for_its_size_is_not_sent_again(cluster, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    del cluster._report_job_error_threadsafe
    said = []
    monkeypatch.setattr(plugin.SlurmExecutor, "_report_job_error_threadsafe", lambda self, info, msg: said.append(msg))
    cluster.refused = lambda call: "Batch job submission failed: Requested node configuration is not available"
    cluster.run_job(task(1, mem_mb=10**9, failure_key=7))
    assert "can never start: sbatch refuses it" in said[0]
    assert "Requested node configuration" in said[0]
    cluster.refused = lambda call: ""
    cluster.run_job(task(1, mem_mb=2 * 10**9, attempt=2, failure_key=7))
    assert said[1].startswith("not submitted again: volforge: it asks for more than the cluster gives (1000000000 MB)")
    assert cluster.submitted == []
