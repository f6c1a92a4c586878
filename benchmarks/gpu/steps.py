"""A step of every network and of every task's training: a plain fp32 loop against ours, setting by setting.

Usage: python -m benchmarks.gpu.steps --out steps.jsonl [--device cuda] [--small] [--seconds 240] [--limit 60]

Networks are measured in one process, so that torch starts once; one that takes longer than its limit is ended with its
process, and the next goes on in a new one. A line of JSON per measurement is written as it is made.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.page import write

Pair = tuple[str, str]
FIRST = ("plain", "plain_tf32", "tf32", "bf16", "channels_last")
FIRST_IN_SMALL = ("plain", "tf32", "channels_last")
LAST = ("compile",)  # takes minutes: what time is left
START_S = 90.0  # of a process, before its first measurement
COMPILED_IN_SMALL = "monai_unet"  # traced, not compiled, which takes minutes on a processor


def pairs_of(small: bool, names: list[str], wholes: list[str]) -> list[Pair]:
    """All measurements, in the order in which they are made."""
    every = [*names, *wholes]
    first = [(n, v) for n in every for v in (FIRST if not small else FIRST_IN_SMALL)]
    last = [(n, v) for n in every for v in LAST if not small or n == COMPILED_IN_SMALL]
    return first + last


class Worker:
    """A process that measures; what it says arrives line by line."""

    def __init__(self, device: str, small: bool, seconds: float, pairs: list[Pair]):
        words = [sys.executable, "-m", "benchmarks.gpu.steps", "--worker", json.dumps(pairs), "--device", device]
        words += ["--measure", str(seconds), *(["--small"] if small else [])]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.said.put(json.loads(line))
        self.said.put(None)

    def next(self, seconds: float) -> dict[str, Any] | None:
        """What it says next; None: it has ended.

        Raises:
            queue.Empty: It says nothing for so long.
        """
        return self.said.get(timeout=max(0.1, seconds))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def supervise(
    pairs: list[Pair], device: str, small: bool, measure: float, limit: float, until: float
) -> Iterator[dict[str, Any]]:
    """Results of all measurements: `network`, `variant`, `state` (`done`, `failed`, `skipped`), values or `reason`."""
    left = list(pairs)
    while left and time.monotonic() < until:
        worker = Worker(device, small, measure, left)
        try:
            patience = START_S
            while left:
                name, variant = left[0]
                own = 2 * limit if variant in LAST else limit
                allowed = min(max(patience, own), until - time.monotonic())
                try:
                    found = worker.next(allowed)
                except queue.Empty:
                    reason = f"took longer than {allowed:.0f} s" if time.monotonic() < until else "no time was left"
                    yield {**_row(left.pop(0), "skipped"), "reason": reason}
                    break
                patience = 0.0
                if found is None:
                    reason = f"its process ended with {worker.process.wait()}"
                    yield {**_row(left.pop(0), "failed"), "reason": reason}
                    break
                left.pop(0)
                yield {"network": name, "variant": variant, **found}
        finally:
            worker.end()
    for pair in left:
        yield {**_row(pair, "skipped"), "reason": "no time was left"}


def _row(pair: Pair, state: str) -> dict[str, Any]:
    return {"network": pair[0], "variant": pair[1], "state": state}


def work(pairs: list[Pair], device: str, small: bool, seconds: float) -> None:
    """Measure, and print a line for each pair in turn."""
    with contextlib.redirect_stdout(sys.stderr):  # libraries print too
        from benchmarks.gpu.meter import VARIANTS, measure
        from benchmarks.gpu.networks import NetworkTask, every_network
    if small:
        import torch

        torch.compile = partial(torch.compile, backend="aot_eager")  # type: ignore[assignment]
    sized = {s.name: s for s in every_network(small)}
    tasks: dict[str, Any] = {}
    for name, variant in pairs:
        try:
            if name not in tasks:
                tasks.clear()  # one at a time in memory
                if name in sized:
                    tasks[name] = NetworkTask(sized[name])
                else:
                    from tests.gpu.made import WHOLE

                    tasks[name] = WHOLE[name](sized)
            with contextlib.redirect_stdout(sys.stderr):
                found = {"state": "done", "bound": VARIANTS[variant].bound}
                found |= measure(tasks[name], VARIANTS[variant], device, seconds)
        except Exception as error:  # whatever a kernel or a network says is a result, and the next may go on
            found = {"state": "failed", "reason": f"{type(error).__name__}: {error}"[:600]}
        print(json.dumps(found), flush=True)
        if "CUDA error" in found.get("reason", ""):
            return  # nothing works any more in this process


def known_wholes() -> list[str]:
    """Trainings of tasks; none where a package is missing that only they need."""
    try:
        from tests.gpu.made import WHOLE
    except ModuleNotFoundError as error:
        print(f"whole trainings are left out: {error}", file=sys.stderr)
        return []
    return list(WHOLE)


def main() -> None:
    """Measure all that there is time for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of results, appended to")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="narrow networks, small images: to try it out")
    parser.add_argument("--seconds", type=float, default=240, help="time of all")
    parser.add_argument("--limit", type=float, default=60, help="time of one measurement; twice as long to compile")
    parser.add_argument("--measure", type=float, default=1.5, help="time that steps are counted over")
    parser.add_argument("--page", type=Path, nargs=2, help="folders RAW and OUT of the page, written anew as rows come")
    parser.add_argument("--only", help="names, separated by commas: these alone")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work([(n, v) for n, v in json.loads(options.worker)], options.device, options.small, options.measure)
        return
    until = time.monotonic() + options.seconds
    from benchmarks.gpu.networks import every_network

    only = options.only.split(",") if options.only else None
    sized = [s for s in every_network(options.small) if only is None or s.name in only]
    is_known = only is not None and all(n in {s.name for s in sized} for n in only)
    wholes = [] if is_known else [n for n in known_wholes() if only is None or n in only]
    pairs = pairs_of(options.small, [s.name for s in sized], wholes)
    with options.out.open("a", encoding="utf-8") as file:
        for s in sized:
            file.write(json.dumps({"about": s.name, "spec": dict(s.spec), "size": s.size, "batch": s.batch,
                                   "origin": s.origin}) + "\n")  # fmt: skip
        for row in supervise(pairs, options.device, options.small, options.measure, options.limit, until):
            file.write(json.dumps(row) + "\n")
            file.flush()
            if options.page:
                write(*options.page)
            value = f"{row['step_s']:.4f} s a step" if row["state"] == "done" else f"{row['state']}: {row['reason']}"
            print(f"{row['network']}, {row['variant']}: {value}", flush=True)


if __name__ == "__main__":
    main()
