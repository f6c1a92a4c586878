"""Lasting failures fail once: where a job's marker lies, and what becomes of the attempts that Snakemake has left.

A command that fails for good leaves a marker (`volforge.lasting`). Then Snakemake is told that the job has no attempt
left. Where it is not told (the marker came late over a network, hooks are switched off, another Snakemake), a further
attempt prints the marker and ends: of a cluster, before it is submitted; else in the job's shell, before Python starts.

The marker's name is made of the job, the settings, the code and the files that it reads: what was mended meanwhile has
another name. A run forgets the markers of earlier ones.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.lasting import VARIABLE

if TYPE_CHECKING:
    from volforge.tasks.resolved import ResolvedCohort

FOLDER = Path(".snakemake/volforge_lasting")
RESOURCE = "failure_key"
DIGITS = 12  # of hexadecimal: a whole number below 2**48, as resources that may be added up have to be
PACKAGE = Path(__file__).parents[1]

Stamp = tuple[int, int] | None


def stamp(path: str | Path) -> Stamp:
    """Size and time of a file, None where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def keys_of(
    configfiles: Iterable[str | Path], cohorts: Iterable[ResolvedCohort], own_files: Iterable[str | Path] = ()
) -> Callable[..., int]:
    """The resource `failure_key` of rules: what a lasting failure of a job is kept under.

    Args:
        configfiles: Of the run.
        cohorts: Of the run; their sheets count.
        own_files: Python files of the user that jobs run.

    Returns:
        A function of a job's wildcards, input files, attempt (from 1) and rule. Its number is another one after any
        edit of what the job is made of; the first attempt counts settings and code as this process has read them,
        others as they are now.
    """
    files = [*configfiles, *(cohort.sheet for cohort in cohorts), *own_files]
    at_start = _stamps(files)

    def failure_key(wildcards: Any, input: Iterable[str], attempt: int, rulename: str) -> int:
        read = [(str(path), stamp(path)) for path in input]
        made_of = rulename, sorted(wildcards.items()), read, at_start if attempt <= 1 else _stamps(files)
        return int(hashlib.sha256(repr(made_of).encode()).hexdigest()[:DIGITS], 16)

    return failure_key


def _stamps(settings: list[str | Path]) -> list[Stamp]:
    """Stamps of the settings and of all modules of the package."""
    return [stamp(path) for path in [*settings, *sorted(PACKAGE.rglob("*.py"))]]


def marker_of(key: int) -> Path:
    """The marker of a job, from the folder that the run was started in."""
    return FOLDER / str(key)


def shell_guard() -> str:
    """A function for the shell commands of rules: `unless_lasting KEY LOG` ends a job whose marker stands.

    What the marker says is printed and put into the log, which Snakemake empties before each attempt. Else the
    command that follows is told of the marker. Braces are doubled: `shell.prefix` of Snakemake fills in single ones.
    """
    return (
        f"unless_lasting() {{{{ {VARIABLE}={FOLDER}/$1; "
        f'if [ -s "${VARIABLE}" ] && tee -- "$2" < "${VARIABLE}" >&2; then exit 1; fi; export {VARIABLE}; }}}}; '
    )


def standing(job: Any) -> str:
    """What the marker of a job of Snakemake says; empty where none stands, and of groups: their other members go on."""
    key = None if job.is_group() else job.resources.get(RESOURCE)
    if not isinstance(key, int):
        return ""
    try:
        return marker_of(key).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # there is none
        return ""


def forget() -> None:
    """Remove the markers of earlier runs.

    Raises:
        VolforgeError: They cannot be removed: jobs that were mended would not be tried.
    """
    try:
        shutil.rmtree(FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"what earlier runs failed by cannot be removed: {error.strerror or error}"
        raise VolforgeError(text, str(FOLDER), "remove the folder") from error


def end_attempts(scheduler: Any) -> None:
    """Let a job that failed for good have no attempt left.

    Snakemake counts attempts per rule, and hands a failed job to its executor before it looks whether one is left
    (`_handle_error` of 9.27): there the job is said to be at its last. Without these executors nothing is changed, and
    further attempts end as said above.
    """
    for executor in _executors(scheduler):
        executor.handle_job_error = _ending(executor.handle_job_error)


def _executors(scheduler: Any) -> Iterator[Any]:
    for name in ("_executor", "_local_executor"):
        executor = getattr(scheduler, name, None)
        if hasattr(executor, "handle_job_error"):
            yield executor


def _ending(handle: Callable[[Any], None]) -> Callable[[Any], None]:
    def handle_job_error(job: Any) -> None:
        if standing(job):
            job.attempt = max(job.attempt, job.restart_times + 1)
        handle(job)

    return handle_job_error
