"""How planning, checking and asking for the state grow with the number of scans, with a study of 100 arms.

Usage: python -m benchmarks.scale [--scans 100 1000 10000] [--arms 100] [--out docs/results]

Writes scale.md and scale.svg. Files of scans are empty: only what needs no image is done.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bench_plan import write_cohort
from volforge.report.provenance import hardware
from volforge.whole_file import write_whole

ROOT = Path(__file__).parents[1]
PLAN = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "rules", "--cores", "1"]
COMMANDS = {
    "`volforge validate`": [sys.executable, "-m", "volforge", "validate", "config.yaml"],
    "`snakemake -n`": [*PLAN, "--configfile", "config.yaml"],
    "`volforge status`": [sys.executable, "-m", "volforge", "status", "config.yaml"],
}


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


def write_page(out: Path, arms: int, found: dict[str, dict[int, tuple[float, float, float]]]) -> None:
    """The table, and growth on logarithmic axes."""
    from matplotlib.figure import Figure

    counts = sorted(next(iter(found.values())))
    head = ["command", *(f"{n:,} scans" for n in counts)]
    lines = [
        "# How it grows with the number of scans",
        "",
        f"Written by `python -m benchmarks.scale`: a cohort with one recipe, a study of {arms} arms.",
        f"{datetime.now(UTC):%F}, {os.cpu_count()} cores, {hardware()['processor']}; other work may run beside.",
        "Seconds of one processor (by the wall), and the memory of the process.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
    ]
    for name, by_count in found.items():
        cells = [f"{cpu:.1f} s ({wall:.1f}), {mib:,.0f} MiB" for wall, cpu, mib in (by_count[n] for n in counts)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "Jobs: for each scan its import and one for each recipe; for each arm, fold and seed three (predictions,",
        "measures, and the training where there is one). Files: up to 8 of an import, up to 6 of a recipe, about 12 of",
        "a study, and of each of its parts 8 and one for each test scan.",
        "",
        "![Seconds against scans](scale.svg)",
    ]
    write_whole(out / "scale.md", "\n".join(lines) + "\n")
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    for name, by_count in found.items():
        axis.loglog(counts, [by_count[n][1] for n in counts], "o-", label=name.strip("`"))
    axis.loglog(counts, [0.5 * n / counts[0] for n in counts], "--", color="grey", label="in proportion")
    axis.set_xlabel("scans")
    axis.set_ylabel("seconds of one processor")
    axis.legend(frameon=False)
    figure.savefig(out / "scale.svg", metadata={"Date": None})


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--arms", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results")
    options = parser.parse_args()
    found: dict[str, dict[int, tuple[float, float, float]]] = {name: {} for name in COMMANDS}
    for count in options.scans:
        with tempfile.TemporaryDirectory() as name:
            write_project(Path(name), count, options.arms)
            for title, command in COMMANDS.items():
                found[title][count] = measured(command, Path(name))
                print(title, count, *(f"{v:.1f}" for v in found[title][count]), flush=True)
    write_page(options.out, options.arms, found)


if __name__ == "__main__":
    main()
