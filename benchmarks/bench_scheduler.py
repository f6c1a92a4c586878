"""What Snakemake's scheduler costs in a run of many short jobs: with its own timers, and with one.

The one is that of src/volforge/workflow/one_timer.py. Processor time of the main process alone (not of the jobs), wall
time, and the most timer threads at one moment. Jobs sleep, so that the cores are the scheduler's. Both ways must make
the same files.

    python benchmarks/bench_scheduler.py [jobs] [most jobs with Snakemake's own timers]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORES, SECONDS = 4, 0.3
SNAKEFILE = f"""
rule all:
    input: expand("out/{{n}}", n=range(config["jobs"]))
rule short:
    output: "out/{{n}}"
    params: half=lambda wildcards: int(wildcards.n) // 2
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt
    shell: "sleep {SECONDS}; echo {{wildcards.n}} > {{output}}"
"""
CHILD = """
import json, resource, sys, threading, time
import snakemake.cli
from volforge.workflow.one_timer import keep_one_timer
way, *arguments = sys.argv[1:]
if way == "one":
    assert keep_one_timer()
most = 0
def watch():
    global most
    while True:
        most = max(most, sum(isinstance(t, threading.Timer) or t.name == "one-timer" for t in threading.enumerate()))
        time.sleep(0.5)
threading.Thread(target=watch, daemon=True).start()
try:
    snakemake.cli.main(arguments)
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("used.json", "w") as file:
        json.dump({"cpu": used.ru_utime + used.ru_stime, "threads": most}, file)
"""


def run(way: str, jobs: int) -> tuple[float, float, int, dict[str, str]]:
    """Processor seconds of the main process, wall seconds, most timer threads, and what was made."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(SNAKEFILE)
        options = ["--cores", str(CORES), "--scheduler", "greedy", "--quiet", "all", "--config", f"jobs={jobs}"]
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", CHILD, way, *options], cwd=folder, check=True, capture_output=True, text=True
        )
        wall = time.perf_counter() - began
        used = json.loads((folder / "used.json").read_text())
        made = {p.name: p.read_text() for p in (folder / "out").iterdir()}
    return used["cpu"], wall, used["threads"], made


def main() -> None:
    """Print one row per number of jobs and way."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    most_own = int(sys.argv[2]) if len(sys.argv) > 2 else min(most, 500)
    print("| jobs | timers | processor s of the main process | ms per job | wall s | most timer threads |")
    print("| --- | --- | --- | --- | --- | --- |")
    for jobs in (most // 8, most // 4, most // 2, most):
        results = []
        for way in ("one", "own") if jobs <= most_own else ("one",):
            cpu, wall, threads, made = run(way, jobs)
            results.append(made)
            name = "one" if way == "one" else "Snakemake's own"
            print(f"| {jobs} | {name} | {cpu:.1f} | {1000 * cpu / jobs:.1f} | {wall:.0f} | {threads} |", flush=True)
        if any(made != {str(n): f"{n}\n" for n in range(jobs)} for made in results):
            raise SystemExit(f"{jobs} jobs: not all files were made, or not the same")


if __name__ == "__main__":
    main()
