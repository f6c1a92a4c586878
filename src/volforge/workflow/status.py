"""Where a run stands: every step done, running, queued, waiting, failed or refused, while it goes on or after."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.training.attempt import kept_failure
from volforge.workflow.incomplete import is_incomplete
from volforge.workflow.jobs import RESULTS, report_settings
from volforge.workflow.leader import is_there
from volforge.workflow.run import Run
from volforge.workflow.steps import Step, steps
from volforge.workflow.study_jobs import checkpoint_folder

JOURNAL = Path(".snakemake/volforge/journal.jsonl")  # of the last run, written by the logger plugin
STATES = ("done", "running", "queued", "waiting", "failed", "refused")
LAST_LINES = 8
GO_ON = "start it again to go on (if the folder is locked, once with --unlock before)"


@dataclass
class Job:
    """A job of the run's journal.

    Attributes:
        rule, wildcards: As the workflow names it.
        state: running, finished or failed.
        since: When it came into this state, seconds since 1970.
        log: Log files of the rule.
        slurm: Job id on the cluster, with its log; empty on one machine.
        attempts: How many times it was started.
        message: What was said of its failure.
        began: When it was started last.
    """

    rule: str
    wildcards: dict[str, str]
    state: str
    since: float
    log: list[str] = field(default_factory=list)
    slurm: str = ""
    slurm_log: str = ""
    attempts: int = 1
    message: str = ""
    began: float = 0.0

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """As `Step.key`."""
        return self.rule, tuple(sorted(self.wildcards.items()))


@dataclass
class Journal:
    """What the journal of a run says.

    Attributes:
        jobs: The last state of each job.
        configfiles: Of the run.
        began, ended: Seconds since 1970; `ended` None while it goes on (or was ended from outside).
        pid, host: Of the process that leads the run.
        start: When that process began, in ticks of its machine; 0 where that is not known.
    """

    jobs: list[Job]
    configfiles: list[str]
    began: float
    ended: float | None
    pid: int
    host: str
    start: int = 0

    @property
    def is_alive(self) -> bool | None:
        """Whether the leading process runs; None where that cannot be seen from this machine."""
        if self.ended is not None:
            return False
        if self.host and self.host != socket.gethostname():
            return None
        return is_there(self.pid, self.start)


def read_journal(path: Path) -> Journal | None:
    """Read the journal of the last run, None where there is none; a line that is being written is left out."""
    if not path.exists():
        return None
    jobs: dict[int, Job] = {}
    head: dict[str, Any] = {}
    ended: float | None = None
    for line in path.read_text(encoding="utf-8").split("\n"):  # a message may hold U+2028: not `splitlines`
        try:
            event = json.loads(line)
        except ValueError:
            continue
        kind, number = event["event"], event.get("id", -1)
        if kind == "run":
            head = event
        elif kind == "end":
            ended = event["time"]
        elif kind == "start":
            old = jobs.get(number)
            attempts = old.attempts + 1 if old and old.state == "failed" else 1
            jobs[number] = Job(
                event["rule"],
                event["wildcards"],
                "running",
                event["time"],
                event["log"],
                attempts=attempts,
                began=event["time"],
            )
        elif number in jobs:
            job = jobs[number]
            if kind == "submit":
                job.slurm, job.slurm_log = event["slurm"], event["log"]
            else:
                job.state = {"finish": "finished", "fail": "failed"}[kind]
                job.since, job.message = event["time"], event.get("message", "")
    if not head:
        return None
    pid, host, start = int(head["pid"]), str(head["host"]), int(head.get("start", 0))
    return Journal(list(jobs.values()), head["configfiles"], head["time"], ended, pid, host, start)


@dataclass(frozen=True)
class Standing:
    """A step and its state.

    Attributes:
        step: The step.
        state: One of `STATES`.
        seconds: Since it runs or waits in the queue; 0 else.
        why: Of failed and refused steps: the reason, last lines of the log; of a training that is tried again: what
            its first try ended with.
        slurm: Job id on the cluster.
        attempts: How many times it was started in the last run.
    """

    step: Step
    state: str
    seconds: float = 0.0
    why: str = ""
    slurm: str = ""
    attempts: int = 0


def standings(run: Run, journal: Journal | None, folder: Path = Path()) -> list[Standing]:
    """The state of every step of a run.

    Args:
        run: As resolved.
        journal: Of its last run; None: only what lies on disk counts.
        folder: That the run is started in.
    """
    jobs = {job.key: job for job in journal.jobs} if journal else {}
    lives = journal is not None and journal.is_alive is not False
    queue = queue_states([j.slurm for j in jobs.values() if j.slurm and j.state == "running"]) if lives else {}
    refusals = Refusals(folder)
    found = []
    now = time.time()
    for step in steps(run):
        job = jobs.get(step.key)
        output = folder / step.output
        is_torn = output.exists() and is_incomplete(step.output, folder)  # made again by the next start
        if job is not None and job.state == "running" and lives:
            waits = job.slurm and queue.get(job.slurm, "") in ("PENDING", "CONFIGURING", "REQUEUED")
            state = "queued" if waits else "running"
            why = with_cause("", run, step, folder).rstrip() if job.attempts > 1 else ""
            found.append(Standing(step, state, now - job.since, why, job.slurm, job.attempts))
        elif job is not None and job.state == "failed" and not _is_newer(output, job.since):
            why = with_cause(why_failed(job, folder), run, step, folder)
            found.append(Standing(step, "failed", 0.0, why, job.slurm, job.attempts))
        elif output.exists() and not is_torn and (step.part != "report" or _is_of(run, folder)):
            reason = refusals.of(step) if step.scan else ""
            found.append(Standing(step, "refused" if reason else "done", why=reason))
        elif is_torn or (job is not None and job.state == "running"):
            text = f"the run was ended while it ran; {GO_ON}"
            slurm, attempts = (job.slurm, job.attempts) if job else ("", 0)
            found.append(Standing(step, "waiting", 0.0, text, slurm, attempts))
        else:  # of a run without a journal a training has kept what it failed by
            why = with_cause("", run, step, folder).rstrip()
            found.append(Standing(step, "failed" if why else "waiting", why=why))
    return found


def _is_of(run: Run, folder: Path) -> bool:
    """Whether the report in the folder was made of this configuration."""
    try:
        return (folder / RESULTS / "report.json").read_text(encoding="utf-8") == report_settings(run) + "\n"
    except OSError:
        return False


def _is_newer(path: Path, since: float) -> bool:
    """Whether a file was made after a time: by a later run that left no journal, say."""
    try:
        return path.stat().st_mtime > since
    except OSError:
        return False


class Refusals:
    """Why scans were refused: from the tables of their cohort, else from their records."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, dict[str, str]] = {}

    def of(self, step: Step) -> str:
        """The reason, empty for accepted scans."""
        if step.rule == "import_scan":
            table = self._table(step.wildcards["cohort"])
            if step.scan in table:
                return table[step.scan]
        return self._of_record(self._folder / step.output)

    def _table(self, cohort: str) -> dict[str, str]:
        if cohort not in self._tables:
            path = self._folder / f"results/cohorts/{cohort}/scans.tsv"
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t")
            self._tables[cohort] = {r["scan"]: r.get("reason") or "" for r in rows if r.get("scan")}
        return self._tables[cohort]

    @staticmethod
    def _of_record(path: Path) -> str:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # being written just now
            return ""
        if record.get("accepted", True):
            return ""
        refused = record.get("refused", record.get("reason", "refused"))
        return str(refused.get("reason", "refused") if isinstance(refused, Mapping) else refused)


def queue_states(ids: Iterable[str]) -> dict[str, str]:
    """States of SLURM jobs by squeue; empty where there is no squeue, or it does not answer."""
    wanted = sorted({i.split("_")[0] for i in ids})
    if not wanted:
        return {}
    command = ["squeue", "-h", "--array", "-t", "all", "-o", "%i|%T", "-j", ",".join(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition("|") for line in done.stdout.splitlines())
    return {job: state for job, _, state in pairs}


def why_failed(job: Job, folder: Path, lines: int = LAST_LINES) -> str:
    """What was said of a failure, and the last lines of the rule's log, else of the cluster's."""
    reason = job.message.split("\n")[0].removeprefix("None").strip()
    for name in [*job.log, job.slurm_log]:
        path = folder / name if name else None
        if path is not None and path.is_file() and path.stat().st_mtime >= job.began - 1:  # not that of an earlier run
            text = [t.rstrip() for t in path.read_text(errors="replace").splitlines() if t.strip()]
            if text:
                return "\n".join([f"{name}:", *text[-lines:]])
    return reason or "no log was written"


def with_cause(why: str, run: Run, step: Step, folder: Path) -> str:
    """The same after the cause that a training has kept of its first failure, where the log does not say it."""
    if step.rule != "train_model":
        return why
    w = step.wildcards
    study = run.studies[w["study"]]
    kept = kept_failure(folder / checkpoint_folder(study, w["arm"], w["model"], w["fold"], w["seed"]))
    if kept is None or kept.message in why:
        return why
    cause = VolforgeError(kept.message, kept.where, kept.remedy)
    return f"attempt {kept.attempt} failed: {cause}\n{why}"


def counts(found: Iterable[Standing]) -> dict[str, dict[str, int]]:
    """Number of steps in each state, by part."""
    table: dict[str, dict[str, int]] = {}
    for standing in found:
        row = table.setdefault(standing.step.part, dict.fromkeys(STATES, 0))
        row[standing.state] += 1
    return table
