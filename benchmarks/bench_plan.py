"""Planning against the number of scans, finding and checking scans, and what the scheduler costs while jobs run.

A bare Snakefile with as many jobs a scan is the limit of planning: it has no configuration, no checks, no resources.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.rows import Peer, Row, Scale, identical

ROOT = Path(__file__).parents[1]
CORES, SECONDS = 4, 0.3
PLANNED = """
SCANS = [f"s{n:05d}" for n in range(config["scans"])]
rule all:
    input: expand("out/{scan}/index.tsv", scan=SCANS)
rule import_scan:
    input: "data/{scan}_image.nii.gz", "data/{scan}_labels.nii.gz"
    output: "in/{scan}/record.json"
    shell: "touch {output}"
rule cut_scan:
    input: "in/{scan}/record.json"
    output: "out/{scan}/index.tsv"
    shell: "touch {output}"
"""
SHORT = f"""
rule all:
    input: expand("out/{{n}}", n=range(config["jobs"]))
rule short:
    output: "out/{{n}}"
    params: half=lambda wildcards: int(wildcards.n) // 2
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt
    shell: "sleep {SECONDS}; echo {{wildcards.n}} > {{output}}"
"""
CHILD = """
import json, resource, sys
import snakemake.cli
from volforge.workflow.one_timer import keep_one_timer
way, *arguments = sys.argv[1:]
if way == "one":
    assert keep_one_timer()
try:
    snakemake.cli.main(arguments)
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("used.json", "w") as file:
        json.dump(used.ru_utime + used.ru_stime, file)
"""


def write_cohort(folder: Path, count: int) -> None:
    """A sheet of `count` scans with labels, their (empty) files, and a configuration with one recipe."""
    (folder / "data").mkdir(parents=True)
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source"]
    for n in range(count):
        for kind in ("image", "labels"):
            (folder / f"data/s{n:05d}_{kind}.nii.gz").touch()
        lines.append(f"p{n:05d}\ts{n:05d}\tCT\tdata/s{n:05d}_image.nii.gz\tdata/s{n:05d}_labels.nii.gz\texpert")
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        "cohorts:\n  large: {sheet: sheet.tsv, recipes: [axial]}\nrecipes:\n  axial: {kind: slices, size: [256, 256]}\n"
    )


def seconds_of(words: Sequence[str], folder: Path) -> tuple[float, str]:
    """Seconds of a process by the wall, and what it said."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout + done.stderr


def rows(scale: Scale) -> Iterator[Row]:
    measures = {"measures_itself": True, "turns": 3}
    for count in scale.of((250, 1000, 2000), (20,)):
        folder = scale.folder / str(count)
        write_cohort(folder, count)
        (folder / "Snakefile").write_text(PLANNED)
        plan = ["-m", "snakemake", "-n", "--quiet", "rules", "--cores", "1"]

        def planned(more: list[str], plan: list[str] = plan, folder: Path = folder) -> tuple[float, int]:
            seconds, text = seconds_of([*plan, *more], folder)
            return seconds, sum(int(n) for n in re.findall(r"^(?:import_scan|cut_scan)\s+(\d+)", text, re.MULTILINE))

        bare = ["-s", "Snakefile", "--config", f"scans={count}"]
        own = ["-s", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
        yield Row(
            f"`snakemake -n`, {count:,} scans with labels and one recipe",
            lambda own=own, planned=planned: planned(own),
            (
                Peer(
                    "a bare Snakefile with as many jobs a scan",
                    lambda bare=bare, planned=planned: planned(bare),
                    identical,
                    is_limit=True,
                    why="Snakemake evaluates five resources, parameters and a log of each job; the sheet is checked",
                ),
            ),
            **measures,
        )
    yield Row(
        f"`volforge validate`, {count:,} scans",
        lambda: seconds_of(["-m", "volforge", "validate", "config.yaml"], folder),
        why="the configuration, the sheet, and whether every file is there",
        **measures,
    )
    yield from discovery(scale)
    if not scale.quick:
        yield from scheduling(scale)


def discovery(scale: Scale) -> Iterator[Row]:
    """DICOM series found in folders, against pydicom reading every header."""
    from tests.dicom.files import write_series

    series, slices = scale.of((100, 20), (3, 5))
    hu = np.full((32, 32, slices), -1000, dtype=np.int16)
    hu[8:24, 8:24] = 40
    folder = scale.folder / "found"
    for n in range(series):
        patient = {"PatientName": "x", "PatientID": str(n // 2), "PatientBirthDate": ""}
        write_series(folder / f"dicom/{n // 2}/{n}", hu, series=str(n), patient=patient, SeriesNumber=n)
    words = ["-m", "volforge", "cohort", "discover", "dicom", "--layout", "dicom", "--out", "dicom.tsv"]
    code = (
        "import pathlib, pydicom; print(len({pydicom.dcmread(p, stop_before_pixels=True).SeriesInstanceUID "
        "for p in pathlib.Path('dicom').rglob('*') if p.is_file()}))"
    )

    def ours() -> tuple[float, int]:
        (folder / "dicom.tsv").unlink(missing_ok=True)
        seconds, _ = seconds_of(words, folder)
        lines = (folder / "dicom.tsv").read_text().splitlines()
        return seconds, sum(not n.startswith("#") for n in lines) - 1  # without the line of column names

    def by_pydicom() -> tuple[float, int]:
        seconds, text = seconds_of(["-c", code], folder)
        return seconds, int(text)

    yield Row(
        f"`volforge cohort discover`, {series} DICOM series of {slices} slices",
        ours,
        (
            Peer(
                "pydicom, every header read and nothing else", by_pydicom, identical, is_limit=True,
                why="series are ordered, checked for gaps and written as a sheet",
            ),
        ),
        measures_itself=True,
        turns=3,
    )  # fmt: skip


def scheduling(scale: Scale) -> Iterator[Row]:
    """Processor time of the main process of a run of short jobs; jobs sleep, so that the cores are the scheduler's."""
    jobs, numbers = 200, iter(range(1000))

    def run(way: str) -> tuple[float, dict[str, str]]:
        folder = scale.folder / f"run-{next(numbers)}"
        folder.mkdir()
        (folder / "Snakefile").write_text(SHORT)
        options = ["--cores", str(CORES), "--scheduler", "greedy", "--quiet", "all", "--config", f"jobs={jobs}"]
        seconds_of(["-c", CHILD, way, *options], folder)
        made = {p.name: p.read_text() for p in (folder / "out").iterdir()}
        return json.loads((folder / "used.json").read_text()), made

    yield Row(
        f"scheduling {jobs} jobs of {SECONDS} s, processor time of the main process",
        lambda: run("one"),
        (Peer("Snakemake's own timers", lambda: run("own"), identical),),
        measures_itself=True,
        turns=1,
    )
