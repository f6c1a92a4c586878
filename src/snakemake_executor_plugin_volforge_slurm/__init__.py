"""Snakemake executor `volforge-slurm`: the SLURM plugin of Snakemake, with arrays and states that can be trusted.

Submission, partitions, accounts and cancellation are those of snakemake-executor-plugin-slurm. What is ours, because
version 2.8.0 was seen to hang or lose outputs there (docs/cluster.md says how):

- arrays: jobs of one rule that ask for the same go out as one job array as soon as they are ready. Each task runs
  what its job would run alone, and nothing else is asked of the others. What is wrong with one job is said of that job;
  an array that sbatch refuses is submitted job by job.
- nothing is waited for without anybody knowing: an error in a thread that submits or looks ends the run and its jobs.
- states: from squeue and, where there is accounting, sacct together: array tasks by their own id, cancelled jobs
  reported, jobs that SLURM no longer knows cancelled and reported, clusters without accounting served. Nothing that
  may still run, or run again, is reported as failed before it was cancelled: its retry would write the same files.
- lasting failures: a further attempt at what no attempt changes is reported as failed, and never queued.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings
from snakemake_executor_plugin_slurm import common_settings as slurm_common_settings
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import get_job_wildcards, set_gres_string
from snakemake_executor_plugin_slurm.validation import validate_or_get_slurm_job_id, validate_slurm_extra
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from snakemake_executor_plugin_volforge_slurm import earlier
from snakemake_executor_plugin_volforge_slurm.arrays import array_script
from snakemake_executor_plugin_volforge_slurm.asking import MISSING
from snakemake_executor_plugin_volforge_slurm.asking import output as _output
from snakemake_executor_plugin_volforge_slurm.ending import SCANCEL_S, cancel_by_name, commands_ended
from snakemake_executor_plugin_volforge_slurm.requests import DOUBTFUL, give_up, never_fits, refuse_clusters
from snakemake_executor_plugin_volforge_slurm.states import State, merged, parse_states, queries
from volforge.workflow.fail_once import standing

common_settings = slurm_common_settings
LOST_AFTER_S = 120.0
MAY_RETURN = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL")
"""Ended states after which SLURM may put a job into the queue again by itself."""


@dataclass
class ExecutorSettings(SlurmSettings):
    """The settings of the SLURM plugin, under `--volforge-slurm-...`; `status-command` is not used."""


class Executor(SlurmExecutor):
    """Submits single jobs as the SLURM plugin does, and arrays and states as said above."""

    _submitting = threading.Lock()
    _is_stopped = False  # the thread that looks for states starts before `__post_init__`
    _lost: BaseException | None = None
    _scancel_s = SCANCEL_S  # left for cancelling at the end

    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        earlier.begin(self.run_uuid, self.logger)
        self._accounts: dict[str, str] = {}
        self._unknown_since: dict[str, float] = {}
        self._numbers: set[str] = set()
        self._held: set[str] = set()
        self._warned_at = 0.0
        self._has_accounting = True

    # --- submission

    def run_job(self, job: Any) -> None:
        """Submit one job; whatever goes wrong is reported, or the run would wait for it for ever."""
        if self._is_stopped:
            return
        try:
            if self._is_ended(job):
                return
            refuse_clusters(job)
            super().run_job(job)
        except Exception as error:
            self._report_all([job], f"cannot be submitted: {error}")

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Submit jobs that are ready: those of the array rules together, others one by one; none waits."""
        if self._lost is not None:
            raise WorkflowError(f"The SLURM executor has stopped: {self._lost!r}") from self._lost
        by_rule: dict[str, list[Any]] = {}
        for job in jobs:
            if not job.is_group() and ("all" in self.array_jobs or job.rule.name in self.array_jobs):
                by_rule.setdefault(job.rule.name, []).append(job)
            else:
                self._hand_over(self.run_job, [job], job)
        for members in by_rule.values():
            self._hand_over(self._submit_together, members, members)

    def _is_ended(self, job: Any) -> bool:
        """Whether a further attempt would end as the one before: it is reported as failed, and never queued."""
        said = standing(job) if job.attempt > 1 else ""
        if said:
            super()._report_job_error_threadsafe(SubmittedJobInfo(job), f"not submitted again: {said}\n")
        return bool(said)

    def _hand_over(self, function: Callable[[Any], None], jobs: Sequence[Any], given: Any) -> None:
        """Let another thread submit. What it raises would be kept there, and the run would wait for ever."""

        def submit() -> None:
            try:
                function(given)
            except BaseException as error:
                self._end_run(error)

        for job in jobs:
            self.run_job_pre(job)
        self._job_submission_executor.submit(submit)

    def _wait_thread(self) -> None:
        """Look for states until the end of the run; it ends too if that is not possible any more."""
        try:
            asyncio.run(self._wait_for_jobs())
        except BaseException as error:
            self._end_run(error)

    def _end_run(self, error: BaseException) -> None:
        """Let the scheduler end the run for an error in a thread of ours; where there is none yet, `run_jobs` does."""
        self._lost = error
        self._is_stopped = True
        if self.workflow.scheduler is not None:
            known = (
                error if isinstance(error, Exception) else WorkflowError(f"The SLURM executor has stopped: {error!r}")
            )
            self.workflow.scheduler.executor_error_callback(known)

    def shutdown(self) -> None:
        """End the threads; after an error in one of them also the jobs, since nobody looks after them any more."""
        with commands_ended() if self._is_stopped else contextlib.nullcontext():
            super().shutdown()
        if self._lost is not None:
            self._cancel_all()
        if self._scancel_s > 0:
            earlier.end(self.run_uuid)

    def _submit_together(self, jobs: Sequence[Any]) -> None:
        """Jobs of one rule: one array for all that ask for the same, a single job where there is but one."""
        alike: dict[str, list[Any]] = {}
        for job in jobs:
            if self._is_stopped:
                return
            try:
                if self._is_ended(job):
                    continue
                refuse_clusters(job)
                validate_slurm_extra(job)
                alike.setdefault(self._request(job), []).append(job)
            except Exception as error:  # the job must hear of it, or the run would wait for ever
                self._report_all([job], f"cannot be submitted: {error}")
        for request, members in alike.items():
            for start in range(0, len(members), self.max_array_size):
                chunk = members[start : start + self.max_array_size]
                if len(chunk) == 1:
                    self.run_job(chunk[0])
                else:
                    self._submit_array(request, chunk)

    def _request(self, job: Any) -> str:
        """The sbatch call without what differs between tasks: equal for jobs that may share an array."""
        folder = self.slurm_logdir / f"rule_{job.name}"
        parameters = {
            "run_uuid": self.run_uuid,
            "slurm_logfile": folder / "%A_%a.log",
            "comment_str": f"rule_{job.name}",
            "account": next(self.get_account_arg(job)),
            "partition": self.get_partition_arg(job),
            "workdir": self.workflow.workdir_init,
        }
        call = get_submit_command(
            job, parameters, settings=self.workflow.executor_settings, failed_nodes=self._failed_nodes
        )
        return str(call + set_gres_string(job))

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """The account as an argument; each is looked up once, not for every job."""
        if self._is_stopped:
            raise WorkflowError("the run was ended")
        key = str(job.resources.get("slurm_account") or "")
        if key not in self._accounts:
            self._accounts[key] = next(super().get_account_arg(job))
        yield self._accounts[key]

    def _submit_array(self, request: str, jobs: Sequence[Any]) -> None:
        if self._is_stopped:
            return
        comment = f"rule_{jobs[0].name}"
        try:
            folder: Path = self.slurm_logdir / comment
            folder.mkdir(parents=True, exist_ok=True)
            call = [*shlex.split(request), f"--array=1-{len(jobs)}", "/dev/stdin"]
            script = array_script([self.format_job_exec(job) for job in jobs])
            with self._submitting:  # so that a new job in the queue is this one
                done = subprocess.run(call, input=script, capture_output=True, text=True, check=False)
                if done.returncode or "submission failed" in done.stderr:
                    raise WorkflowError(done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")
                number = self._number_of(done.stdout, comment)
        except Exception as error:  # of one of them, or of the array as such (its size, limits of the account)
            if self._is_stopped:
                return
            self.logger.warning(f"An array of {len(jobs)} jobs was refused, they are submitted one by one: {error}")
            self._cancel_strays(comment)
            for job in jobs:
                self.run_job(job)
            return
        for task, job in enumerate(jobs, start=1):
            log = folder / f"{number}_{task}.log"
            self.logger.info(f"Job {job.jobid} has been submitted with SLURM jobid {number}_{task} (log: {log}).")
            self._report_job_submission_threadsafe(
                SubmittedJobInfo(job, external_jobid=f"{number}_{task}", aux={"slurm_logfile": log})
            )

    def _number_of(self, output: str, comment: str) -> str:
        """The job id that sbatch printed; where it printed more than that, the queue is asked for the new job."""
        try:
            number = str(validate_or_get_slurm_job_id(output.strip().split(";")[0], output))
        except WorkflowError:
            new = self._unnamed(comment, "all")
            if len(new) != 1:
                raise
            number = new[0]
        self._numbers.add(number)
        return number

    def _unnamed(self, comment: str, states: str) -> list[str]:
        """Jobs of the run with this comment that the queue holds in these states and whose id was not told."""
        call = ["squeue", "--noheader", f"--states={states}", "--format=%F|%k", "--name", self.run_uuid]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        found = {line.split("|")[0] for line in done.stdout.splitlines() if line.endswith(f"|{comment}")}
        return sorted((n for n in found - self._numbers if n.isdigit()), key=int)

    def _cancel_strays(self, comment: str) -> None:
        """Cancel what sbatch put into the queue although it said otherwise (a time-out), or gave no id of."""
        if self._is_stopped:  # then all jobs of the run are cancelled
            return
        try:
            for number in self._unnamed(comment, "PENDING,CONFIGURING,RUNNING"):
                self._numbers.add(number)
                subprocess.run(["scancel", number], capture_output=True, text=True, timeout=60, check=False)
                self.logger.warning(
                    f"SLURM job {number} ({comment}) was submitted without an answer, and is cancelled."
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.logger.warning(f"Cannot look for jobs that were submitted without an answer ({comment}): {error}")

    def _report_job_submission_threadsafe(self, job_info: SubmittedJobInfo) -> None:
        self._numbers.add(str(job_info.external_jobid).split("_")[0])
        super()._report_job_submission_threadsafe(job_info)

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        """A submission failed: nothing of it may stay in the queue."""
        if never_fits(msg):
            msg = f"{msg}\n{give_up(job_info.job, 'sbatch refuses it')}"
        wildcards = get_job_wildcards(job_info.job)
        kind = "group" if job_info.job.is_group() else "rule"
        self._cancel_strays(f"{kind}_{job_info.job.name}" + (f"_wildcards_{wildcards}" if wildcards else ""))
        super()._report_job_error_threadsafe(job_info, msg)

    # --- the end of a run from outside

    def cancel(self) -> None:
        """Cancel every job of the run, also those on their way; within a minute, also where SLURM does not answer."""
        self._is_stopped = True
        super().cancel()
        self._cancel_all()

    def cancel_jobs(self, active_jobs: list[Any]) -> None:
        """Cancel by the run's name: the list may be empty while states are asked for."""
        self._cancel_all()

    def _cancel_all(self) -> None:
        if self._scancel_s > 0:
            self._scancel_s = cancel_by_name(self.run_uuid, self._scancel_s, self.logger)

    def _report_all(self, jobs: Sequence[Any], message: str) -> None:
        for job in jobs:
            self._report_job_error_threadsafe(SubmittedJobInfo(job), message)

    # --- states

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncGenerator[Any, None]:
        """Report the jobs that ended; yield those that wait or run."""
        if not active_jobs:
            return
        async with self.status_rate_limiter:
            states, is_complete = await self._states()
        now = time.monotonic()
        for job in active_jobs:
            state = states.get(job.external_jobid)
            if state is None:
                # silence is no sign: only complete answers count, from the first that lacks the job
                if not is_complete:
                    self._unknown_since.pop(job.external_jobid, None)
                since = self._unknown_since.setdefault(job.external_jobid, now) if is_complete else now
                if now - since > LOST_AFTER_S:
                    said = await self._cancel(job.external_jobid)
                    self._fail(job, f"SLURM has not known job {job.external_jobid} for {LOST_AFTER_S:.0f} s{said}")
                else:
                    yield job
                continue
            self._unknown_since.pop(job.external_jobid, None)
            if state.is_held and job.external_jobid not in self._held:
                self._held.add(job.external_jobid)
                self.logger.warning(
                    f"SLURM job {job.external_jobid} is held ({state.text}): it waits for `scontrol release`"
                )
            if state.name == "PENDING" and never_fits(state.reason):
                said = give_up(job.job, state.reason)
                self._fail(job, f"SLURM job {job.external_jobid}: {said}{await self._cancel(job.external_jobid)}")
                continue
            if state.reason in DOUBTFUL and job.external_jobid not in self._held:
                self._held.add(job.external_jobid)
                self.logger.warning(f"SLURM job {job.external_jobid} waits, and may never start ({state.reason})")
            if state.is_alive:
                yield job
            elif state.is_success:
                self.report_job_success(job)
                self._remove_log(job)
            else:
                said = await self._cancel(job.external_jobid) if state.name.startswith(MAY_RETURN) else ""
                self._fail(job, f"SLURM job {job.external_jobid} ended as {state.text}{self._reason(job, state)}{said}")

    async def _states(self) -> tuple[dict[str, State], bool]:
        """States by job id, and whether all who should have answered did."""
        answers: list[dict[str, State] | None] = []
        for name, command in queries(self.run_uuid).items():
            if name == "sacct" and not self._has_accounting:
                answers.append(None)
                continue
            text, error = await self._unless_stopped(_output(command))
            if name == "sacct" and text is None and ("accounting storage is disabled" in error or error == MISSING):
                self._has_accounting = False
                self.logger.info("No accounting on this cluster: states come from squeue alone.")
            elif text is None and not self._is_stopped and time.monotonic() - self._warned_at > 600:
                self._warned_at = time.monotonic()
                self.logger.warning(f"{name} does not answer ({error}); running jobs are waited for.")
            answers.append(None if text is None else parse_states(text))
        queue, accounts = answers
        return merged(queue, accounts), queue is not None and (accounts is not None or not self._has_accounting)

    async def _unless_stopped(self, asking: Coroutine[Any, Any, tuple[str | None, str]]) -> tuple[str | None, str]:
        """An answer, or none once the run is ended: Ctrl-C waits for no silent accounting."""
        task = asyncio.ensure_future(asking)
        while not self._is_stopped and not (await asyncio.wait({task}, timeout=0.2))[0]:
            pass
        if not task.done():
            task.cancel()
            return None, "the run was ended"
        return task.result()

    async def sleep(self) -> None:
        """Wait for the next look at states, but not beyond the end of the run."""
        end = time.monotonic() + self.next_seconds_between_status_checks
        while self.wait and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.5))

    async def _cancel(self, number: str) -> str:
        """End a job that may come back; what is left to say of it. Killed first: a job that is asked to end keeps a
        checkpoint, into the folder of its retry."""
        errors = []
        for options in (["--signal=KILL", "--full"], []):
            text, error = await self._unless_stopped(_output(["scancel", *options, number]))
            if text is None and not any(known in error for known in ("Invalid job id", "already complet")):
                errors.append(error)
        if not errors:
            return ", and it is cancelled"
        return f", and it could not be cancelled ({errors[-1]}): if it runs, it writes the same files as its retry"

    def _fail(self, job: Any, message: str) -> None:
        log = job.aux.get("slurm_logfile")
        self.report_job_error(job, msg=f"{message}. ", aux_logs=[str(log)] if log and Path(log).exists() else [])

    def _reason(self, job: Any, state: State) -> str:
        """Why a job ended, from its own log, where the state alone does not say."""
        text = ""
        with contextlib.suppress(OSError):  # it helps, and may not be there yet
            text = Path(job.aux.get("slurm_logfile") or "").read_text(errors="replace")[-20000:]
        if state.name == "OUT_OF_MEMORY" or "exceeded memory limit" in text or "oom-kill" in text.lower():
            return f": it used more than the {job.job.resources.get('mem_mb', '?')} MB that it asked for"
        if state.name == "TIMEOUT" or "DUE TO TIME LIMIT" in text:
            return f": it took more than the {job.job.resources.get('runtime', '?')} minutes that it asked for"
        return ""

    def _remove_log(self, job: Any) -> None:
        if not self.workflow.executor_settings.keep_successful_logs:
            with contextlib.suppress(OSError):  # a log that stays does no harm; a network disk may refuse
                Path(job.aux["slurm_logfile"]).unlink(missing_ok=True)
