"""How planning, checking and asking for the state grow with the number of scans, and so do tables and the page.

Usage: python -m benchmarks.scale [--scans 100 1000 10000] [--arms 100] [--only plan|page] [--out docs/results]

Writes scale.json (what was measured, and when), and of it scale.md and scale.svg; rows not measured again stay.
Files of scans are empty for the plan: only what needs no image is done. The page is made of made-up results
(benchmarks/made_up.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import made_up
from benchmarks.bench_plan import write_cohort
from volforge.report.provenance import hardware
from volforge.volume.folders import write_json
from volforge.whole_file import write_whole

ROOT = Path(__file__).parents[1]
VOLFORGE = [sys.executable, "-m", "volforge"]
PLAN = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "rules", "--cores", "1"]
COMMANDS = {
    "`volforge validate`": [*VOLFORGE, "validate", "config.yaml"],
    "`snakemake -n`": [*PLAN, "--configfile", "config.yaml"],
    "`volforge status`": [*VOLFORGE, "status", "config.yaml"],
}
SIZE = "size of `report.html`"
Used = tuple[float, float, float]
"""Seconds by the wall and of the processor, and MiB; of a file its MB alone, at the last place."""


def write_project(folder: Path, scans: int, arms: int) -> None:
    """A cohort of CTs with labels, one recipe, and a study whose arms are predictions made elsewhere."""
    write_cohort(folder, scans)
    (folder / "made").mkdir()
    (folder / "sheet.structures.tsv").write_text("structure\tid\nliver\t1\n")
    names = "".join(f"      arm_{i}: {{predictions: made}}\n" for i in range(arms))
    with (folder / "config.yaml").open("a") as file:
        file.write(f"studies:\n  s:\n    task: segmentation\n    cohort: large\n    arms:\n{names}")


def measured(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Wall and processor seconds of a command, and the memory that it held at most, MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said[-3000:]}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def plan(folder: Path, scans: int, arms: int) -> dict[str, Used]:
    """What looks at a project before anything runs."""
    write_project(folder, scans, arms)
    return {name: measured(command, folder) for name, command in COMMANDS.items()}


def page(folder: Path, scans: int, arms: int) -> dict[str, Used]:
    """The tables of a cohort and a study, its figures, and the page of made-up results."""
    results, names = folder / "results", made_up.arm_names(arms)
    study, cohort = results / "studies/s", results / "cohorts/c"
    parts = made_up.write_arms(study, scans, names)
    settings, request, out = study / "table.settings.json", results / "report.json", results / "report.html"
    write_json(settings, made_up.study_settings(names))
    write_json(request, made_up.report_request())
    sheet, measures = made_up.write_scans(cohort, scans), study / "measures.tsv"
    of_study = ("--measures", measures, "--settings", settings)
    calls: dict[str, tuple[str | Path, ...]] = {
        "`volforge cohort collect` (scans.tsv)": (
            "cohort", "collect", "--sheet", sheet, "--records", cohort / "scans", "--settings", made_up.SPLITS,
            "--out", cohort / "scans.tsv",
        ),
        "`volforge study collect`": ("study", "collect", *parts, "--out", measures),
        "`volforge study table`": ("study", "table", *of_study, "--out", study),
        "`volforge study figures`": ("study", "figures", *of_study, "--out", study / "figures"),
        "`volforge study report`": (
            "study", "report", "--results", results, "--out", out, "--provenance", results / "provenance.json",
            "--settings", request,
        ),
    }  # fmt: skip
    found = {name: measured([*VOLFORGE, *map(str, words)], folder) for name, words in calls.items()}
    return {**found, SIZE: (0.0, 0.0, out.stat().st_size / 1e6)}


PARTS = {"plan": plan, "page": page}


def write_page(out: Path, content: Mapping[str, Any]) -> None:
    """The table, and growth on logarithmic axes.

    Args:
        out: Folder.
        content: Of scale.json: by row when and on what it was measured, its number of arms, and what by scans.
    """
    from matplotlib.figure import Figure

    counts = sorted({int(n) for row in content.values() for n in row["used"]})
    head = ["command", *(f"{n:,} scans" for n in counts), "measured"]
    (arms,) = {row["arms"] for row in content.values()}
    lines = [
        "# How it grows with the number of scans",
        "",
        f"Written by `python -m benchmarks.scale`: a cohort with one recipe, a study of {arms} arms. Seconds of one",
        "processor (by the wall), and the memory of the process; other work may run beside. Tables and the page are",
        "made of made-up results: one measure of each scan by each arm (10,000 scans: a million rows), 400 pictures of",
        f"cases. {' '.join(sorted({row['machine'] for row in content.values()}))}",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
    ]
    for name, row in content.items():
        cells = [_cell(name, row["used"].get(str(n))) for n in counts]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['date']} |")
    lines += [
        "",
        "Jobs: for each scan its import and one for each recipe; for each arm, fold and seed three (predictions,",
        "measures, and the training where there is one). Files: up to 8 of an import, up to 6 of a recipe, about 12 of",
        "a study, and of each of its parts 8 and one for each test scan.",
        "",
        "![Seconds against scans](scale.svg)",
    ]
    write_whole(out / "scale.md", "\n".join(lines) + "\n")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for name, row in content.items():
        used = sorted((int(n), u[1]) for n, u in row["used"].items())
        if name != SIZE:
            axis.loglog(*zip(*used, strict=True), "o-", label=name.replace("`", ""))
    axis.loglog(counts, [0.5 * n / counts[0] for n in counts], "--", color="grey", label="in proportion")
    axis.set_xlabel("scans")
    axis.set_ylabel("seconds of one processor")
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(out / "scale.svg", metadata={"Date": None})


def _cell(name: str, used: Used | None) -> str:
    if used is None:
        return "-"
    return f"{used[2]:.1f} MB" if name == SIZE else f"{used[1]:.1f} s ({used[0]:.1f}), {used[2]:,.0f} MiB"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--arms", type=int, default=100)
    parser.add_argument("--only", choices=PARTS, help="measure this part alone; the rows of the other one stay")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results")
    options = parser.parse_args()
    file = options.out / "scale.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    machine = f"{os.cpu_count()} cores of {hardware()['processor']}."
    for name, work in PARTS.items():
        fresh: dict[str, Any] = {}
        for count in options.scans if options.only in (None, name) else ():
            with tempfile.TemporaryDirectory() as folder:
                for title, used in work(Path(folder), count, options.arms).items():
                    print(title, count, *(f"{v:.1f}" for v in used), flush=True)
                    about = {"date": f"{datetime.now(UTC):%F}", "machine": machine, "arms": options.arms, "used": {}}
                    fresh.setdefault(title, about)["used"][str(count)] = used
        content |= fresh
    write_json(file, content)
    write_page(options.out, content)


if __name__ == "__main__":
    main()
