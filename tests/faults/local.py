"""Faults on one machine: within jobs, and at the process that leads the run; the next start goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.conftest import ROOT, hearing_ctrl_c
from tests.faults.disk import disk_of, fill
from tests.faults.project import KINDS, tables, write_project
from volforge.workflow.run import load_run
from volforge.workflow.status import read_journal, standings

WITHIN = ("kill", "term", "time limit", "full disk", "file limit", "memory", "unwritable", "clock", "lost")
LEADER = ("kill all", "kill leader", "ctrl-c", "terminate", "disk filled")
TARGETS = ("all", "export_png")
INJECTED = ROOT / "tests/faults/injected"


@dataclass
class Fault:
    """A fault as planned, and what became of it.

    Attributes:
        name: Of `WITHIN`, `LEADER` or of the cluster.
        kind: Rule that it hit; empty: the run as a whole.
        happened: Whether its moment came.
    """

    name: str
    kind: str = ""
    happened: bool = False


@dataclass
class Result:
    """What a disturbed run came to.

    Attributes:
        faults: All that were planned.
        starts: Of Snakemake, until it ended well.
        jobs: That were started beyond those of an undisturbed run.
        differing: Files whose bytes are not those of the undisturbed run.
        untrue: Claims of `volforge status` that did not hold.
        asked: How often that was asked.
        left: Scratch files and folders at the end, and files that nobody may write.
        said: The last lines of a run that did not end well.
    """

    faults: list[Fault] = field(default_factory=list)
    starts: int = 0
    jobs: int = 0
    differing: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    asked: int = 0
    left: list[str] = field(default_factory=list)
    said: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """For the page."""
        return asdict(self)


@dataclass
class Reference:
    """An undisturbed run: folder, bytes of its tables, number of its jobs, and how long its jobs are."""

    folder: Path
    tables: dict[str, str]
    jobs: int
    usual: dict[str, tuple[int, float]]
    judged: bool = True


def command(*more: str, targets: Sequence[str] = TARGETS) -> list[str]:
    """The call of Snakemake on the project in the working folder."""
    words = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(ROOT / "Snakefile")]
    return [*words, "--configfile", "c.yaml", *more]


LOCAL = ("--profile", str(ROOT / "profiles/local"), "--cores", "2")


def environment(faults: Path) -> dict[str, str]:
    """Of a run whose jobs look for faults in a folder."""
    paths = [str(INJECTED), str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "FAULTS": str(faults), "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"}


def undisturbed(folder: Path, *, judged: bool = True) -> Reference:
    """Run the project without a fault.

    Args:
        folder: To work in.
        judged: As of `write_project`.

    Raises:
        RuntimeError: It did not end well.
    """
    write_project(folder / "project", judged=judged)
    faults = folder / "faults"
    faults.mkdir()
    done = subprocess.run(
        command(*LOCAL), cwd=folder / "project", env=environment(faults), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=900,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the undisturbed run failed:\n{done.stderr[-5000:]}")
    usual: dict[str, tuple[int, float]] = {}
    for path in faults.glob("*.usual"):
        kind, changes, seconds = json.loads(path.read_text())
        most = usual.get(kind, (0, 0.0))
        usual[kind] = (max(changes, most[0]), max(seconds, most[1]))
    if set(usual) != set(KINDS) - ({"model train-judge"} if not judged else set()):
        raise RuntimeError(f"kinds of jobs that were not run or are not known: {set(usual) ^ set(KINDS)}")
    return Reference(folder / "project", tables(folder / "project"), started(folder / "project"), usual, judged)


def started(folder: Path) -> int:
    """Jobs that the last run in a folder started."""
    path = folder / ".snakemake/volforge/journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum('"event": "start"' in line for line in lines)


def planned(draw: random.Random, names: Sequence[str], kinds: Sequence[str] = tuple(KINDS)) -> list[dict[str, object]]:
    """A fault for each kind of job, drawn; as the plan that jobs read."""
    plan: list[dict[str, object]] = []
    order = list(names)
    for number, kind in enumerate(kinds):
        if number % len(order) == 0:
            draw.shuffle(order)
        plan.append(
            {
                "id": str(number), "kind": kind, "fault": order[number % len(order)], "share": draw.random(),
                "by": draw.choice(("changes", "changes", "time")), "bytes": draw.randrange(1, 4000),
            }
        )  # fmt: skip
    for fault in plan:
        if fault["fault"] in ("unwritable", "lost", "clock"):
            fault["by"] = "changes"  # they need the place, and the thread that works
        if fault["fault"] == "clock":
            fault["share"] = 0.0  # what was written before keeps its time
    return plan


@contextmanager
def watched(
    folder: Path, reference: Reference, result: Result, *more: str, env: dict[str, str] | None = None
) -> Iterator[None]:
    """Ask `volforge status` beside a run."""
    expected, said = folder.parent / "expected.json", folder.parent / "said.jsonl"
    expected.write_text(json.dumps(reference.tables))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.watch", str(expected), str(said), *more],
        cwd=folder, stdin=subprocess.PIPE, env=env or environment(folder.parent), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield
    finally:
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    if process.returncode:
        result.untrue.append(f"status could not be asked: {errors[-2000:]}")
    for line in said.read_text().splitlines() if said.exists() else []:
        content = json.loads(line)
        result.asked += content.get("asked", 0)
        if "wrong" in content:
            result.untrue.append(content["wrong"])


def disturbed(reference: Reference, folder: Path, seed: int, names: Sequence[str], leader: Sequence[str]) -> Result:
    """Run the project with a fault in a job of every kind, and with the leading process ended several times.

    Args:
        reference: The undisturbed run.
        folder: To work in.
        seed: Of kinds, moments and amounts.
        names: Faults within jobs, of `WITHIN`.
        leader: What happens to the leading process, once for each start, of `LEADER`.
    """
    draw = random.Random(seed)
    began = time.monotonic()
    project, faults = folder / "project", folder / "faults"
    faults.mkdir()
    with disk_of(project, "disk filled" in leader):
        return _disturbed(reference, project, faults, draw, names, leader, began)


def _disturbed(
    reference: Reference, project: Path, faults: Path, draw: random.Random, names: Sequence[str],
    leader: Sequence[str], began: float,
) -> Result:  # fmt: skip
    write_project(project, judged=reference.judged)
    plan = planned(draw, names, tuple(reference.usual)) if names else []
    (faults / "plan.json").write_text(json.dumps(plan))
    (faults / "usual.json").write_text(json.dumps(reference.usual))
    result = Result([Fault(n) for n in leader])
    moments = moments_of(len(leader), reference.jobs, draw)
    finished: set[object] = set()
    said_done: set[object] = set()
    with watched(project, reference, result):
        for _ in range(len(leader) + 6):
            end = next((f for f in result.faults if not f.happened), None)
            after = moments[result.faults.index(end)] if end else 0
            code, text = one_start(project, faults, end, draw, after - len(finished))
            result.starts += 1
            result.jobs += started(project)
            result.untrue += made_again(project, said_done)
            said_done = done_now(project)
            finished |= finished_in(project)
            if code == 0:
                break
            result.said = text[-6000:]
        else:
            result.differing.append(f"no good end after {result.starts} starts:\n{result.said}")
    wait_for_jobs(project)
    for fault in plan:
        happened = (faults / f"{fault['id']}.happened").exists()
        result.faults.append(Fault(str(fault["fault"]), KINDS[str(fault["kind"])], happened))
    result.jobs -= reference.jobs
    found = tables(project)
    result.differing += sorted(n for n in {*found, *reference.tables} if found.get(n) != reference.tables.get(n))
    result.left = sorted(p.relative_to(project).as_posix() for p in project.rglob(".*.partial*"))
    result.seconds = time.monotonic() - began
    return result


def moments_of(count: int, jobs: int, draw: random.Random) -> list[int]:
    """How many jobs have ended before each of some faults of the leading process: drawn, each in a stretch of its own.

    Moments are counted in jobs, since seconds differ from machine to machine: a run that is quicker than the seconds
    drawn has no such fault. The last tenth of the jobs is left, for a run must go on when the last fault comes.
    """
    stretch = 0.9 * jobs / max(1, count)
    return [int(stretch * (k + draw.random())) for k in range(count)]


def finished_in(project: Path) -> set[object]:
    """Jobs that have ended well in the last run in a folder."""
    journal = read_journal(project / ".snakemake/volforge/journal.jsonl")
    return {job.key for job in journal.jobs if job.state == "finished"} if journal else set()


def one_start(project: Path, faults: Path, end: Fault | None, draw: random.Random, after: int = 0) -> tuple[int, str]:
    """Start Snakemake once, and let the leading process meet its end when so many of its jobs have ended.

    Returns:
        Its exit code, and what it said.
    """
    unlock = [*command("--unlock"), "--cores", "1"]
    if (project / ".snakemake/locks").is_dir() and any((project / ".snakemake/locks").iterdir()):
        subprocess.run(unlock, cwd=project, env=environment(faults), capture_output=True, check=True)
    said = faults.parent / "snakemake.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            hearing_ctrl_c(*command(*LOCAL, "--retries", "1")[1:]), cwd=project, env=environment(faults), stdin=subprocess.DEVNULL,
            stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        if end is not None:
            meet(process, end, draw, project, after)
        process.wait(timeout=600)
    finally:
        with suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, said.read_text()


def meet(process: subprocess.Popen[bytes], end: Fault, draw: random.Random, project: Path, after: int) -> None:
    """Wait until so many jobs have ended and for a drawn time, then end the leading process in the way of the fault."""
    journal = project / ".snakemake/volforge/journal.jsonl"
    limit = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < limit:
        own = read_journal(journal)
        jobs = own.jobs if own is not None and own.pid == process.pid else []
        if jobs and sum(job.state == "finished" for job in jobs) >= after:
            break
        time.sleep(0.05)
    stop = time.monotonic() + draw.uniform(0, 1)
    while process.poll() is None and time.monotonic() < stop:
        time.sleep(0.05)
    if process.poll() is not None:
        return
    end.happened = True
    if end.name == "kill all":
        os.killpg(process.pid, signal.SIGKILL)
    elif end.name == "kill leader":
        process.kill()
    elif end.name == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    elif end.name == "disk filled":
        fill(project / "ballast")
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=draw.uniform(3, 10))
        (project / "ballast").unlink()
    else:
        process.terminate()


def done_now(project: Path) -> set[object]:
    """Steps that are said to be done where no run goes on."""
    return {s.step.key for s in standings_of(project) if s.state == "done"}


def standings_of(project: Path):
    """What `volforge status` says in a folder."""
    journal = read_journal(project / ".snakemake/volforge/journal.jsonl")
    with inside(project):
        return standings(load_run(["c.yaml"], check_files=False), journal)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Another working folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def made_again(project: Path, said_done: set[object]) -> list[str]:
    """What was said to be done between two runs, and was made again by the second, where nothing before it was."""
    journal = read_journal(project / ".snakemake/volforge/journal.jsonl")
    wrong, rank = [], {rule: k for k, rule in enumerate(KINDS.values())}
    jobs = journal.jobs if journal else []
    for job in jobs:
        before = [j for j in jobs if rank.get(j.rule, -1) < rank.get(job.rule, -1)]
        is_explained = any(all(job.wildcards.get(k, v) == v for k, v in j.wildcards.items()) for j in before)
        if job.key in said_done and not is_explained:
            wrong.append(f"said to be done, and made again: {job.key}")
    return wrong


def wait_for_jobs(project: Path, seconds: float = 60) -> None:
    """Until no job of the project runs any more: those whose run is gone go on for a while."""
    end = time.monotonic() + seconds
    while jobs_of(project) and time.monotonic() < end:
        time.sleep(0.2)
    for pid in jobs_of(project):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def jobs_of(project: Path) -> list[int]:
    """Processes of `volforge` whose working folder is the project, but for those that ask for its status."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if (folder / "cwd").readlink() == project and any(w.endswith(b"/volforge") for w in words):
                found.append(int(folder.name))
    return found
