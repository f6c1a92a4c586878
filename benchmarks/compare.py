"""The table of benchmarks: every row measured in one run, results compared first.

Usage: python -m benchmarks.compare [--quick] [--only TOPIC ...] [--out docs/results] [--run FOLDER] [--peers FOLDER]

Writes benchmarks.md with a picture, benchmarks.svg, and all figures in benchmarks.tsv and benchmarks.json. It ends with
1 where results differ, a row could not be run, or a promised ratio was missed. A peer that is not installed is a row
that says so; VTK and MedPy are looked for in a folder of their own (`make bench` makes it). About twelve minutes on two
idle cores; `--quick` takes small sizes and no turns, and is for whether results agree: its ratios mean nothing.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VTK_SMP_MAX_THREADS"):
    os.environ[_name] = "1"  # before numpy comes: everything on one thread

import argparse
import importlib
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from benchmarks.page import write_page
from benchmarks.rows import Line, Scale, measured

ROOT = Path(__file__).parents[1]
TOPICS = {
    "import": "Reading and writing volumes",
    "body": "Body mask",
    "slices": "Slice store",
    "measures": "Measures of segmentation",
    "distances": "Distance maps",
    "inflate": "Inflation of a joint",
    "surfaces": "Surfaces",
    "images": "Measures of images",
    "windows": "Sliding windows",
    "training": "Training steps",
    "synthesis": "Steps of semantic synthesis",
    "implant": "Implants by kriging",
    "translation": "Translation",
    "start": "Start of a process",
    "plan": "Planning, discovery, scheduling",
}


def lines_of(topic: str, *, quick: bool) -> Iterator[Line]:
    """Measure the rows of a topic; what fails is a line too.

    Args:
        topic: One of `TOPICS`.
        quick: Small sizes, one turn.
    """
    heading, name = TOPICS[topic], "all rows"
    with tempfile.TemporaryDirectory() as folder:
        try:
            module = importlib.import_module(f"benchmarks.bench_{topic}")
            for row in module.rows(Scale(quick, Path(folder))):
                name = row.name
                yield from measured(heading, row, quick=quick)
                name = f"what follows '{row.name}'"
        except Exception as error:  # the other topics are still worth measuring; the run ends with 1
            traceback.print_exc()
            last = (str(error).strip().splitlines() or [""])[-1]
            problem = f"failed: {type(error).__name__}: {last[:200]}"
            yield Line(heading, name, "", "alone", "s", problem=problem, is_wrong=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print as it comes, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    every = list(TOPICS)
    parser.add_argument("--only", nargs="+", choices=TOPICS, metavar="TOPIC", default=every, help=", ".join(TOPICS))
    parser.add_argument("--out", type=Path, help="default: docs/results, with --quick or --only nothing is written")
    parser.add_argument("--run", type=Path, default=ROOT, help="folder of a run: where its time went")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv/peers", help="folder of packages of peers")
    options = parser.parse_args(arguments)
    sys.path.append(str(options.peers))
    warnings.simplefilter("ignore")
    lines: list[Line] = []
    began = time.monotonic()
    for topic in options.only:
        print(f"## {TOPICS[topic]}", flush=True)
        start = time.monotonic()
        for line in lines_of(topic, quick=options.quick):
            print(f"  {_said(line)}", flush=True)
            lines.append(line)
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
    whole = not options.quick and options.only == list(TOPICS)
    out = options.out or (ROOT / "docs/results" if whole else None)
    if out is not None:
        write_page(out, lines, run=options.run, seconds=time.monotonic() - began, quick=options.quick)
        print(f"written: {out}/benchmarks.md")
    wrong = [line for line in lines if line.is_wrong]
    for line in wrong:
        print(f"WRONG: {line.row} ({line.peer or 'volforge'}): {line.problem}", file=sys.stderr)
    return 1 if wrong else 0


def _said(line: Line) -> str:
    if not line.turns:
        return f"{line.row} | {line.peer}: {line.problem}"
    if not line.peer:
        return f"{line.row}: {line.ours:.3g} {line.unit}"
    times = f"{line.ratio:.2f} times ({line.low:.2f} to {line.high:.2f})"
    text = f"{line.ours:.3g} against {line.theirs:.3g} {line.unit}, {times}"
    mark = " <-- " if line.is_behind else ""
    return f"{line.row} | {line.peer} [{line.kind}]: {text}; {line.problem or line.agreement}{mark}"


if __name__ == "__main__":
    sys.exit(main())
