"""Where the time of a run goes, from what Snakemake and its journal left in the folder of the run.

Usage: python -m benchmarks.default_run [FOLDER]
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

JOURNAL = Path(".snakemake/volforge/journal.jsonl")
BENCHMARKS = Path("benchmarks/jobs")


def where_time_goes(run: Path) -> list[str]:
    """Markdown of the seconds of a run by rule; a sentence where the folder holds no run.

    Args:
        run: Folder that Snakemake ran in.
    """
    head = ["## The default run: where its time goes", ""]
    jobs, wall = _jobs(run / JOURNAL)
    if not jobs:
        return [*head, f"Not measured: there is no finished run in the folder (`{JOURNAL}`); `make run` makes one."]
    peaks = _peaks(run / BENCHMARKS)
    total = sum(sum(v) for v in jobs.values())
    lines = [
        f"{sum(map(len, jobs.values()))} jobs in {wall / 60:.1f} minutes by the wall, {total:,.0f} seconds of jobs.",
        "Memory is the largest of a rule with a `benchmark:`.",
        "",
        "| rule | jobs | s | share | longest s | MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rule, seconds in sorted(jobs.items(), key=lambda item: -sum(item[1])):
        peak = f"{peaks[rule]:,.0f}" if rule in peaks else ""
        share = f"{sum(seconds) / total:.0%}" if total else ""
        lines.append(f"| `{rule}` | {len(seconds)} | {sum(seconds):,.0f} | {share} | {max(seconds):.1f} | {peak} |")
    return [*head, *lines]


def _jobs(journal: Path) -> tuple[dict[str, list[float]], float]:
    """Seconds of every finished job by rule, and of the whole run."""
    if not journal.exists():
        return {}, 0.0
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    begun = {e["id"]: e for e in events if e["event"] == "start"}
    found: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["event"] == "finish" and event["id"] in begun:
            start = begun[event["id"]]
            found[start["rule"]].append(event["time"] - start["time"])
    return dict(found), events[-1]["time"] - events[0]["time"] if events else 0.0


def _peaks(folder: Path) -> dict[str, float]:
    """Largest resident memory by rule, MiB, from Snakemake's benchmark files."""
    found: dict[str, float] = {}
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            texts = [r["max_rss"] for r in csv.DictReader(file, delimiter="\t")]
        values = [float(t) for t in texts if t not in ("-", "NA", "")]  # of a job too short to be looked at
        rule = path.relative_to(folder).parts[0]
        found[rule] = max([found.get(rule, 0.0), *values])
    return found


if __name__ == "__main__":
    print("\n".join(where_time_goes(Path(sys.argv[1] if len(sys.argv) > 1 else "."))))
