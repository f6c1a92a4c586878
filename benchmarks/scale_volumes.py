"""A cohort of large CTs through import, cut, a study of a threshold and its page: seconds, memory, disk.

Usage: python -m benchmarks.scale_volumes [--scans 50 200] [--tested 196] [--cores 2] [--folder F]

The sheet grows from one number to the next in the same folder, so that imports and cuts go on and the study is made
anew each time; a run that was stopped goes on. Volumes are drawn before the run; only `DISTINCT` of them lie on the
disk, each under many names, so that the sources stay bounded. Memory is that of each job's processes, looked at several
times a second.

Writes scale_volumes.md and scale_volumes.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.volumes import trunk
from volforge.report.provenance import hardware
from volforge.whole_file import write_whole

ROOT = Path(__file__).parents[1]
DISTINCT = 6
SPACING = (0.8, 0.8, 1.0)
SHOWN = (
    "import_scan",
    "cut_scan",
    "collect_scans",
    "index_recipe",
    "predict",
    "measure",
    "make_table",
    "draw_figures",
    "report",
)
CONFIG = """
cohorts:
  large: {sheet: sheet.tsv, recipes: [axial]}
recipes:
  axial: {kind: slices, axis: axial, spacing_mm: 1.6, size: [256, 256]}
studies:
  threshold:
    task: segmentation
    cohort: large
    cases: 4
    arms:
      threshold_components: {baseline: threshold_components}
"""


@dataclass
class Peaks:
    """Most memory of every job, MiB: by rule, in the order in which they began.

    Attributes:
        leader: Of Snakemake itself.
        jobs: By (first word that tells a job, process), of the process and its children.
    """

    leader: float = 0.0
    jobs: dict[tuple[str, int], float] = field(default_factory=dict)


def draw(folder: Path, shape: tuple[int, int, int]) -> None:
    """The distinct volumes with their labels of bone: bodies of other noise, bone and place."""
    import nibabel as nib

    affine = np.diag([*SPACING, 1.0])
    missing = [n for n in range(DISTINCT) if not (folder / f"v{n}_labels.nii.gz").exists()]
    base = trunk(shape, couch=True) if missing else np.zeros(0)
    for number in missing:
        rng = np.random.default_rng(number)
        image = np.roll(base, (7 * number, 5 * number), (0, 1))
        image += rng.integers(-20, 21, shape, np.int16) * (image > -1000)
        labels = np.asfortranarray((image > 350).astype(np.uint8))
        nib.save(nib.Nifti1Image(image, affine), folder / f"v{number}_image.nii.gz")
        nib.save(nib.Nifti1Image(labels, affine), folder / f"v{number}_labels.nii.gz")


def write_sheet(folder: Path, count: int, tested: int) -> None:
    """`count` scans, four learnt from, `tested` of the others at most; files are links to the distinct volumes."""
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    for n in range(count):
        files = [folder / f"data/s{n:03d}_{kind}.nii.gz" for kind in ("image", "labels")]
        for file, kind in zip(files, ("image", "labels"), strict=True):
            if not file.exists():
                os.link(folder / f"data/v{n % DISTINCT}_{kind}.nii.gz", file)
        split = "train" if n < 4 else "test" if n < 4 + tested else "val"
        names = "\t".join(f"data/{f.name}" for f in files)
        lines.append(f"p{n:03d}\ts{n:03d}\tCT\t{names}\texpert\t{split}")
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")


def watch(process: subprocess.Popen[bytes], peaks: Peaks) -> None:
    """Look at the memory of a run's processes until it ends."""
    while process.poll() is None:
        for pid, words, rss in processes(process.pid):
            if pid == process.pid:
                peaks.leader = max(peaks.leader, rss)
            elif words:
                peaks.jobs[words, pid] = max(peaks.jobs.get((words, pid), 0.0), rss)
        time.sleep(0.2)


def processes(leader: int) -> list[tuple[int, str, float]]:
    """Processes of a run: number, `noun verb` of a volforge command (else empty), MiB that it holds."""
    parents, found = {}, []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            pages = int(Path(entry.path, "statm").read_text().split()[1])
            parents[int(entry.name)] = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        at = next((i for i, w in enumerate(words) if w.endswith(b"/volforge")), None)
        said = b" ".join(words[at + 1 : at + 3]).decode() if at is not None else ""
        found.append((int(entry.name), said, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
    return [(pid, said, mib) for pid, said, mib in found if leader in line_of(pid, parents)]


def line_of(pid: int, parents: dict[int, int]) -> list[int]:
    """A process, its parent, and so on."""
    line = [pid]
    while line[-1] in parents and parents[line[-1]] not in line:
        line.append(parents[line[-1]])
    return line


def run(folder: Path, cores: int) -> tuple[float, dict[str, list[float]], Peaks]:
    """A run to its end: seconds by the wall, seconds of jobs by rule in their order, memory.

    Raises:
        SystemExit: It failed; its last words are shown.
    """
    words = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "--profile",
        str(ROOT / "profiles/local"),
    ]
    words += ["--cores", str(cores), "--configfile", "config.yaml"]
    peaks, began = Peaks(), time.perf_counter()
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(words, cwd=folder, stdout=said, stderr=said)
        watcher = threading.Thread(target=watch, args=(process, peaks), daemon=True)
        watcher.start()
        code = process.wait()
        watcher.join()
    if code:
        sys.exit(f"the run ended with {code}:\n{(folder / 'said.txt').read_text(errors='replace')[-3000:]}")
    return time.perf_counter() - began, seconds_by_rule(folder / ".snakemake/volforge/journal.jsonl"), peaks


def seconds_by_rule(journal: Path) -> dict[str, list[float]]:
    """How long the jobs of each rule took, in the order in which they began."""
    began: dict[int, tuple[str, float, int]] = {}
    found: dict[str, list[float]] = {}
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "start":
            of_rule = found.setdefault(event["rule"], [])
            began[event["id"]] = (event["rule"], event["time"], len(of_rule))
            of_rule.append(float("nan"))
        elif event["event"] == "finish":
            rule, start, place = began[event["id"]]
            found[rule][place] = event["time"] - start
    return found


def quarters(values: list[float]) -> tuple[float, float]:
    """Medians of the first and the last quarter; of all where there are fewer than four."""
    size = max(1, len(values) // 4)
    return median(values[:size]), median(values[-size:])


def size_of(folder: Path) -> float:
    """GiB of the files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**30


def table(found: dict[int, tuple[float, dict[str, list[float]], Peaks]]) -> list[str]:
    """Lines of the table of jobs by rule, for each number of scans."""
    lines = [
        "| rule | scans | jobs | seconds of a job, first and last quarter | all jobs, s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rule in SHOWN:
        for count, (_, seconds, _) in found.items():
            of_rule = seconds.get(rule, [])
            if of_rule:
                first, last = quarters(of_rule)
                shown = f"{first:.1f}, {last:.1f}" if len(of_rule) > 1 else f"{first:.1f}"
                lines.append(f"| `{rule}` | {count} | {len(of_rule)} | {shown} | {sum(of_rule):.0f} |")
    return lines


def memory(found: dict[int, tuple[float, dict[str, list[float]], Peaks]]) -> list[str]:
    """Lines of the table of memory by command, for each number of scans."""
    lines = [
        "| command | scans | processes | memory, MiB, first and last quarter | most |",
        "| --- | --- | --- | --- | --- |",
    ]
    commands = sorted({words for _, _, peaks in found.values() for words, _ in peaks.jobs})
    for words in commands:
        for count, (_, _, peaks) in found.items():
            of_command = [v for (w, _), v in peaks.jobs.items() if w == words]
            if of_command:
                first, last = quarters(of_command)
                shown = f"{first:,.0f}, {last:,.0f} | {max(of_command):,.0f}"
                lines.append(f"| `volforge {words}` | {count} | {len(of_command)} | {shown} |")
    return lines + [f"| Snakemake itself | {n} | 1 | | {peaks.leader:,.0f} |" for n, (_, _, peaks) in found.items()]


def draw_growth(path: Path, found: dict[int, tuple[float, dict[str, list[float]], Peaks]]) -> None:
    """Seconds of all jobs of a rule against the number of scans, from the start; a straight line is in proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    for rule in ("import_scan", "cut_scan"):
        every = [s for _, seconds, _ in found.values() for s in seconds.get(rule, [])]
        axis.plot(np.arange(1, len(every) + 1), np.cumsum(every), label=f"{rule}, from the first scan on")
    counts = list(found)
    for rule in ("predict", "measure"):
        axis.plot(counts, [sum(found[n][1].get(rule, [])) for n in counts], "o-", label=f"{rule}, of all scans anew")
    axis.set_xlabel("scans")
    axis.set_ylabel("seconds of jobs")
    axis.set_xlim(0)
    axis.set_ylim(0)
    axis.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 512, 300])
    parser.add_argument("--tested", type=int, default=10**6, help="scans that the study is about at most")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="where it is made and left; empty: a folder that goes")
    parser.add_argument("--note", default="", help="a paragraph of the page: what ran beside, say")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        (folder / "data").mkdir(parents=True, exist_ok=True)
        draw(folder / "data", tuple(options.shape))
        (folder / "config.yaml").write_text(CONFIG)
        (folder / "sheet.structures.tsv").write_text("structure\tid\nbone\t1\n")
        sources = size_of(folder / "data")
        found, sizes = {}, {}
        for count in sorted(options.scans):
            write_sheet(folder, count, options.tested)
            found[count] = run(folder, options.cores)
            sizes[count] = size_of(folder / "results")
            print(f"{count} scans: {found[count][0]:.0f} s, results {sizes[count]:.1f} GiB", flush=True)
        page = (folder / "results/report.html").stat().st_size / 2**20
    write_page(options, sources, sizes, page, found)


def write_page(options: argparse.Namespace, sources: float, sizes: dict[int, float], page: float, found: dict) -> None:
    """Tables and the picture."""
    shape = " x ".join(str(n) for n in options.shape)
    counts = ", then ".join(str(n) for n in found)
    lines = [
        "# A cohort of large volumes",
        "",
        f"Written by `python -m benchmarks.scale_volumes`: CTs of {shape} voxels with labels, {counts} scans in one",
        f"folder; import, a cut to slices of 256 x 256, a study of a threshold, its page. {datetime.now(UTC):%F},",
        f"{options.cores} of {os.cpu_count()} cores of {hardware()['processor']}; other work may run beside.",
        "",
        f"Volumes: {DISTINCT} distinct ones, each under many names: {sources:.1f} GiB on the disk for any number.",
        *(f"{n} scans: {found[n][0] / 60:.0f} minutes by the wall, results {gib:.1f} GiB." for n, gib in sizes.items()),
        f"The page of the last: {page:.1f} MB.",
        *(["", options.note] if options.note else []),
        "",
        *table(found),
        "",
        *memory(found),
        "",
        "![Seconds against scans](scale_volumes.svg)",
    ]
    write_whole(options.out / "scale_volumes.md", "\n".join(lines) + "\n")
    draw_growth(options.out / "scale_volumes.svg", found)


if __name__ == "__main__":
    main()
