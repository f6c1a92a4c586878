"""The long form: faults at seeded moments for as long as you like, and the page of what became of them.

Usage: python -m tests.faults --minutes 30 --seed 1 [--only local|cluster] [--results FILE] [--page docs/faults.md]

Results are added to a file of one line per run, so that the page may be of several nights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.cluster import FAULTS, RULES, disturbed_on_cluster
from tests.faults.disk import may_mount
from tests.faults.local import LEADER, WITHIN, Reference, disturbed, undisturbed
from tests.faults.page import page
from tests.slurm.one_node import OneNode, missing_programs


def main() -> int:
    """Run until the time is over; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="after the undisturbed run; no run begins later")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further one has the next")
    parser.add_argument("--only", choices=("local", "cluster"), help="one executor alone")
    parser.add_argument("--results", type=Path, default=ROOT / "tests/faults/results.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/faults.md")
    options = parser.parse_args()
    seed, lost = options.seed, 0
    places = [p for p in ("local", "cluster") if options.only in (None, p)]
    if "cluster" in places and (os.getuid() != 0 or missing_programs()):
        print("no cluster: that needs root, and the packages of SLURM (.ci/run)", file=sys.stderr)
        places.remove("cluster")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "undisturbed").mkdir()
        reference = undisturbed(folder / "undisturbed")
        end = time.monotonic() + 60 * options.minutes
        while places and time.monotonic() < end:
            place = places[seed % len(places)]
            lost += not one_run(reference, folder, place, seed, options.results)
            seed += 1
    lines = [json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()]
    options.page.write_text(page(lines), encoding="utf-8")
    return int(bool(lost))


def one_run(reference: Reference, folder: Path, place: str, seed: int, results: Path) -> bool:
    """A disturbed run of a seed, added to the results; whether nothing was lost."""
    work = folder / f"{place}{seed}"
    work.mkdir()
    if place == "local":
        leader = [name for name in LEADER if name != "disk filled" or may_mount()]
        result = disturbed(reference, work, seed, WITHIN, leader)
    else:
        with OneNode(cpus=4, memory_mb=16000) as cluster:
            result = disturbed_on_cluster(reference, work, cluster, seed, FAULTS, RULES)
    is_well = not result.differing and not result.untrue
    content = {"place": place, "seed": seed, "date": time.strftime("%Y-%m-%d"), **result.as_json()}
    if is_well:
        content.pop("said")
        shutil.rmtree(work)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(content) + "\n")
    happened = sum(f.happened for f in result.faults)
    print(
        f"{place} {seed}: {happened} faults, {result.starts} starts, {result.seconds:.0f} s, well: {is_well}",
        flush=True,
    )
    for text in [*result.differing, *result.untrue]:
        print(f"  {text}", flush=True)
    return is_well


if __name__ == "__main__":
    sys.exit(main())
