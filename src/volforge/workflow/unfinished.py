"""The page of a run that ended with failures: what is there, and why the rest is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volforge.whole_file import write_whole
from volforge.workflow.jobs import RESULTS, report_settings
from volforge.workflow.run import Run

MOST_LINES = 12


@dataclass(frozen=True)
class Left:
    """A job that a run needed and did not finish.

    Attributes:
        rule, wildcards: As the workflow names it.
        is_failed: Whether it failed itself; else it waits for one that did.
        log: Its log files.
    """

    rule: str
    wildcards: dict[str, str] = field(default_factory=dict)
    is_failed: bool = False
    log: Sequence[str] = ()


def reasons(run: Run, left: Sequence[Left], folder: Path = Path()) -> dict[str, dict[str, str]]:
    """Why cohorts, recipes and studies are not there, in words.

    Args:
        run: As resolved.
        left: Its jobs that are not done.
        folder: That the run was started in.

    Returns:
        `cohorts`, `recipes` (by `cohort/recipe`) and `studies`: name to reason; what is complete is left out.
    """
    found: dict[str, dict[str, str]] = {"cohorts": {}, "recipes": {}, "studies": {}}
    for name in run.cohorts:
        if _of(left, "collect_scans", cohort=name):
            failed = [j for j in left if j.is_failed and _is_before_table(j, name)]
            found["cohorts"][name] = _said(failed, folder) or "it was not finished"
        for recipe in run.recipes_of(name):
            if _of(left, "index_recipe", cohort=name, recipe=recipe):
                failed = [j for j in left if j.is_failed and j.wildcards == {"cohort": name, "recipe": recipe}]
                whole = _first_line(found["cohorts"].get(name, "it was not finished"))
                found["recipes"][f"{name}/{recipe}"] = _said(failed, folder) or f"cohort {name}: {whole}"
    for name, study in run.studies.items():
        jobs = [j for j in left if j.wildcards.get("study") == name]
        if not jobs:
            continue
        cohort = study.cohort.name
        cut = [r for r in run.recipes_of(cohort) if f"{cohort}/{r}" in found["recipes"]]
        if cohort in found["cohorts"]:
            why = f"its cohort {cohort}: {_first_line(found['cohorts'][cohort])}"
        elif any(j.is_failed for j in jobs):
            why = _said([j for j in jobs if j.is_failed], folder)
        elif cut:
            why = f"recipe {cut[0]} of its cohort {cohort}: {_first_line(found['recipes'][f'{cohort}/{cut[0]}'])}"
        else:
            why = "it waits for what failed elsewhere, or the run was ended before"
        found["studies"][name] = why
    return found


def page_so_far(run: Run, left: Sequence[Left], folder: Path = Path()) -> str:
    """Write the page of what is there, in a process of its own; the failed run keeps its exit code.

    Returns:
        What to tell the user.
    """
    request = folder / RESULTS / "unfinished.json"
    content: dict[str, Any] = {"request": json.loads(report_settings(run)), "left": reasons(run, left, folder)}
    write_whole(request, json.dumps(content, ensure_ascii=False) + "\n")
    page = f"{RESULTS}/report.html"
    words = ["study", "report-so-far", "--results", RESULTS, "--request", f"{RESULTS}/unfinished.json", "--out", page]
    command = [sys.executable, "-m", "volforge", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"The page of what is there could not be written: {done.stderr.strip()}"
    singular = {"cohorts": "cohort", "recipes": "recipe", "studies": "study"}
    parts = [(singular[kind], name, why) for kind, named in content["left"].items() for name, why in named.items()]
    lines = [f"{word} {name}: {_first_line(why)}" for word, name, why in parts]
    return "\n".join([f"{page} shows what is there. It lacks:", *(f"  {line}" for line in lines)])


def _of(left: Sequence[Left], rule: str, **wildcards: str) -> bool:
    return any(j.rule == rule and j.wildcards == wildcards for j in left)


def _is_before_table(job: Left, cohort: str) -> bool:
    """Whether a job is one that the table of a cohort's scans is made from, or that table itself."""
    return job.wildcards.get("cohort") == cohort and "recipe" not in job.wildcards


def _said(failed: Sequence[Left], folder: Path) -> str:
    """What failed jobs said in the end; empty where none failed."""
    found = []
    for job in failed[:3]:
        text = ""
        for name in job.log:
            path = folder / name
            if path.is_file():
                text = _message(path.read_text(encoding="utf-8", errors="replace"))
        words = ", ".join(f"{k} {v}" for k, v in job.wildcards.items() if k != "study")
        found.append(text or f"{job.rule} ({words}) failed without a message")
    more = [f"and {len(failed) - 3} more"] if len(failed) > 3 else []
    return "\n".join([*found, *more])


def _message(log: str) -> str:
    """The error that a log ends with, from its first line on; the last lines of a log without one."""
    lines = [t.rstrip() for t in log.splitlines() if t.strip()]
    begins = [i for i, t in enumerate(lines) if t.startswith("volforge: ")]
    chosen = lines[begins[-1] :][:MOST_LINES] if begins else lines[-MOST_LINES:]
    return "\n".join(chosen).removeprefix("volforge: ")


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0].rstrip(":")
