"""The page of faults: what was tried, how often, and what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

WORDS = {
    "kill": "the job's process is killed (SIGKILL)",
    "term": "the job's process is told to end (SIGTERM)",
    "time limit": "told to end, and killed soon after: what a time limit does",
    "full disk": "from one moment on the disk takes nothing of the job (ENOSPC, and EFBIG below Python)",
    "file limit": "no file may grow beyond some bytes (EFBIG)",
    "memory": "no more memory than at that moment (RLIMIT_AS)",
    "unwritable": "the folder that is written into forbids it",
    "clock": "the clock jumps by two days, forwards or back, and the times of files with it",
    "lost": "the job counts as failed while it lives, and goes on beside its retry",
    "kill all": "the leading process and all its jobs are killed: the machine goes down",
    "kill leader": "the leading process alone is killed, its jobs go on",
    "ctrl-c": "Ctrl-C",
    "terminate": "the leading process is told to end (SIGTERM)",
    "disk filled": "the disk is full for some seconds, for the leading process too (a small tmpfs)",
    "cancelled": "`scancel` by hand",
    "killed": "the processes of a SLURM job are killed",
    "memory limit": "SLURM ends the job for its memory",
    "put back": "`scontrol requeue`: what preemption does",
    "node lost": "the node and its jobs are gone, and the node comes back",
    "node out of reach": "the node is gone for SLURM, its jobs go on; then it comes back",
    "controller restarted": "slurmctld is killed, and comes back after some seconds",
    "leader killed": "the leading process is killed, its jobs stay on the cluster",
}
HEAD = """# Faults, and what they cost

Every table below is of runs that were disturbed on purpose, by `make faults` (`python -m tests.faults`): a project that has a
job of every kind (volumes of 24 x 24 x 24, networks of two steps) is run, faults happen to it at seeded moments, and Snakemake
is started again until it ends well. Then all tables, measures, weights and volumes must have the bytes of an undisturbed
run. Beside each run `volforge status` is asked about twice a second, and held against what can be seen otherwise: files, their
bytes, processes, and what the next start makes again. This page is written by that command; nothing in it is by hand.

```bash
make faults ARGS="--minutes 60 --seed 100"     # as root on Debian with SLURM also on a cluster of one node
```

"""
TAIL = """
## How to read it

- A fault *happened* when its moment came: some jobs end before theirs, and a limit that is not reached harms nobody.
- *Other bytes* counts runs that had the fault and did not come out the same; *untrue* those in which `volforge status` said
  something that did not hold. Runs have many faults each, so one run that goes wrong counts in many rows.
- *Started again* are jobs beyond those of an undisturbed run, of all faults of a run together: the work that was lost.
- Moments are counted in changes of the disk (before the n-th file that is opened, renamed, removed) or in seconds.
- Clocks jump for single jobs and their files, not for the machine. GPUs, several nodes and network file systems were not there.
"""


def page(runs: Iterable[Mapping[str, Any]]) -> str:
    """The page of all runs.

    Args:
        runs: Lines of the results, as `tests.faults.local.Result` with `place`, `seed` and `date`.
    """
    runs = list(runs)
    return HEAD + _overview(runs) + _by_fault(runs) + _by_kind(runs) + TAIL


def _overview(runs: list[Mapping[str, Any]]) -> str:
    lines = ["| | one machine | cluster |", "| --- | --- | --- |"]
    parts = [[r for r in runs if r["place"] == p] for p in ("local", "cluster")]

    def row(name: str, of: Any) -> None:
        lines.append(f"| {name} | {' | '.join(of(part) if part else '-' for part in parts)} |")

    row("disturbed runs", lambda p: str(len(p)))
    row("seeds", lambda p: f"{min(r['seed'] for r in p)} to {max(r['seed'] for r in p)}")
    row("days", lambda p: " to ".join(sorted({min(r["date"] for r in p), max(r["date"] for r in p)})))
    row("faults that happened", lambda p: str(sum(f["happened"] for r in p for f in r["faults"])))
    row("starts of Snakemake", lambda p: str(sum(r["starts"] for r in p)))
    row("jobs started again", lambda p: str(sum(r["jobs"] for r in p)))
    row("`volforge status` asked", lambda p: str(sum(r["asked"] for r in p)))
    row("**runs with other bytes**", lambda p: f"**{sum(bool(r['differing']) for r in p)}**")
    row("**runs with an untrue status**", lambda p: f"**{sum(bool(r['untrue']) for r in p)}**")
    row("scratch files left at the end", lambda p: str(sum(len(r["left"]) for r in p)))
    row("hours", lambda p: f"{sum(r['seconds'] for r in p) / 3600:.1f}")
    return "\n".join(lines) + "\n"


def _by_fault(runs: list[Mapping[str, Any]]) -> str:
    lines = [
        "",
        "## By fault",
        "",
        "| fault | planned | happened | other bytes | untrue |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, words in WORDS.items():
        having = [(r, f) for r in runs for f in r["faults"] if f["name"] == name]
        if not having:
            continue
        hit = [r for r, f in having if f["happened"]]
        bad = sum(bool(r["differing"]) for r in hit)
        untrue = sum(bool(r["untrue"]) for r in hit)
        lines.append(f"| {words} | {len(having)} | {len(hit)} | {bad} | {untrue} |")
    return "\n".join(lines) + "\n"


def _by_kind(runs: list[Mapping[str, Any]]) -> str:
    happened = Counter((f["kind"], r["place"]) for r in runs for f in r["faults"] if f["happened"] and f["kind"])
    lines = ["", "## By kind of job", "", "| rule | on one machine | on the cluster |", "| --- | --- | --- |"]
    for kind in sorted({k for k, _ in happened}):
        lines.append(f"| `{kind}` | {happened[kind, 'local']} | {happened[kind, 'cluster']} |")
    wrong = [(r, t) for r in runs for t in [*r["differing"], *r["untrue"]]]
    if wrong:
        lines += ["", "## What went wrong", ""]
        lines += [f"- {r['place']}, seed {r['seed']}: {t.splitlines()[0][:300]}" for r, t in wrong]
    return "\n".join(lines) + "\n"
