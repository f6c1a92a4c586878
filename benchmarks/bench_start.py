"""What starting costs: to the first training step, to the first prediction, and a whole import of a small scan.

Usage: python benchmarks/bench_start.py [--runs 7]. Every process is timed from its start by this one; peers take turns,
so that a busy machine slows all of them, and ratios are medians over the turns. Processor time is printed beside the
wall time: on a busy machine it is the steadier of the two.

1. `volforge model train` until its first optimiser step is done, against the shortest script that does the same with
   torch: import, a small network, AdamW, one step. Aim: at most 1.15 times. With the published augmentation it imports
   MONAI too.
2. `volforge model predict` until the first prediction is there, against `import torch`. Aim: at most 1.3 times, with
   MONAI's own import on top only where several windows slide.
3. `volforge scan import` of a small phantom, whole, against starting Python and importing what it is made with. Aim:
   under 0.6 s on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SAY = "import os; os.write(1, b'there\\n'); "
BARE = (
    """
import torch
from torch import nn

torch.set_num_threads(1)
network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.PReLU(), nn.Conv3d(8, 3, 3, padding=1))
optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
loss = nn.functional.cross_entropy(network(torch.zeros(2, 1, 16, 16, 16)), torch.zeros(2, 16, 16, 16, dtype=torch.long))
loss.backward()
optimizer.step()
"""
    + SAY
)
# the entry imports these modules anyway; the mark is set in them
MARKED = {
    "train": "import volforge.training.loop as m; c = m._Hands; name = 'moved'",
    "predict": "import volforge.inference.segment as c; name = 'probabilities'",
}
COMMAND = """
import os, sys
{where}
own = getattr(c, name)
def marked(*a, **k):
    found = own(*a, **k)
    os.write(1, b'there\\n')
    return found
setattr(c, name, marked)
from volforge.cli import main
sys.argv = ["volforge", *{words!r}]
main()
"""


def until_said(code: str) -> tuple[float, float]:
    """Wall time until a script says that it is there, and processor time until it was ended after that."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        wall = time.perf_counter() - start
        processor = used(process.pid) if said else 0.0
        process.kill()
        if not said:
            raise RuntimeError(process.stderr.read().decode())
    return wall, processor


def used(pid: int) -> float:
    """Processor time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def whole(words: Sequence[str], fresh: Path) -> tuple[float, float]:
    """Wall and processor time of a whole process; `fresh` is removed first."""
    shutil.rmtree(fresh, ignore_errors=True)
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent


def by_turns(peers: dict[str, Callable[[], tuple[float, float]]], base: str, runs: int) -> None:
    """Run peers in turn, and print the medians of seconds and of ratios to one of them."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    for turn in range(runs + 1):  # the first one warms the disk's cache
        for name, peer in peers.items():
            found = peer()
            if turn:
                times[name].append(found)
    print(f"| {'':<58} | wall s | ratio | processor s | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for name, own in times.items():
        cells = []
        for k in (0, 1):
            ratio = statistics.median(o[k] / b[k] for o, b in zip(own, times[base], strict=True))
            cells.append(f"{statistics.median(o[k] for o in own):.2f} | {ratio:.2f}")
        print(f"| {name:<58} | {' | '.join(cells)} |", flush=True)
    print()


def command(which: str, *words: str | Path) -> Callable[[], tuple[float, float]]:
    code = COMMAND.format(where=MARKED[which], words=[str(w) for w in words])
    return lambda: until_said(code)


def trainings(folder: Path, scans: Path) -> dict[str, Callable[[], tuple[float, float]]]:
    from tests.training.cohort import content

    found: dict[str, Callable[[], tuple[float, float]]] = {"bare torch and AdamW, first step": lambda: until_said(BARE)}
    titles = {
        "none": "volforge model train, no augmentation",
        "published": "volforge model train, published augmentation (MONAI)",
    }
    for kind, title in titles.items():
        settings = folder / f"{kind}.train.json"
        settings.write_text(json.dumps(content(training={"augmentation": kind})))
        found[title] = command(
            "train", "model", "train", "--settings", settings, "--scans", scans,
            "--checkpoints", folder / kind, "--out", folder / f"{kind}-model",
        )  # fmt: skip
    found["import torch, monai, alone"] = lambda: until_said("import torch, monai; " + SAY)
    return found


def predictions(folder: Path, scans: Path) -> dict[str, Callable[[], tuple[float, float]]]:
    from tests.study.cohorts import arm
    from tests.training.cohort import content

    from volforge.config.training import Inference

    settings = folder / "short.train.json"
    settings.write_text(json.dumps(content(training={"augmentation": "none", "validation": 0, "steps": 1})))
    model = folder / "model"
    words = ["--settings", settings, "--scans", scans, "--checkpoints", folder / "short", "--out", model]
    subprocess.run([sys.executable, "-m", "volforge", "model", "train", *map(str, words)], check=True)
    found = {"import torch": lambda: until_said("import torch; " + SAY)}
    for name, window in {"one window": [32, 32, 32], "several windows (MONAI)": [16, 16, 16]}.items():
        options = Inference(window=window).model_dump() | {"threads": 1}
        own = folder / f"arm-{window[0]}"
        own.mkdir()
        arm(own, inference=options)
        words = ["--settings", own / "settings.json", "--scans", scans, "--model", f"m={model}", "--out", own / "made"]
        found[f"volforge model predict, {name}"] = command("predict", "model", "predict", *words)
    return {**found, "import torch, monai, alone": lambda: until_said("import torch, monai; " + SAY)}


def imports(folder: Path) -> dict[str, Callable[[], tuple[float, float]]]:
    sheet, drawn, out = folder / "one.tsv", folder / "drawn", folder / "imported"
    lines = (ROOT / "config/cohorts/tmj.tsv").read_text().splitlines()
    sheet.write_text("\n".join(lines[:3]) + "\n")
    words = ["--sheet", sheet, "--kind", "tmj", "--out", drawn, "--spacing-mm", "2"]
    subprocess.run([sys.executable, "-m", "volforge", "cohort", "phantoms", *map(str, words)], check=True)
    image, labels = (drawn / f"tmj-01_{name}.nii.gz" for name in ("image", "labels"))
    words = ["scan", "import", "--image", image, "--labels", labels, "--out", out]
    alone = "from volforge.volume.nibabel_alone import load_nibabel; load_nibabel()"
    return {
        "volforge scan import": lambda: whole(["-m", "volforge", *map(str, words)], out),
        "python alone": lambda: whole(["-c", "pass"], out),
        "python, numpy": lambda: whole(["-c", "import numpy"], out),
        "python, numpy, nibabel as volforge loads it": lambda: whole(["-c", f"import numpy; {alone}"], out),
        "python, numpy, nibabel with pydicom": lambda: whole(["-c", "import numpy, nibabel"], out),
        "python, numpy, SimpleITK (not used here)": lambda: whole(["-c", "import numpy, SimpleITK"], out),
        "all modules of the import": lambda: whole(
            ["-c", "import volforge.cli.scan, volforge.volume.import_scan, cc3d, edt, PIL.Image; " + alone], out
        ),
    }


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    from tests.training.cohort import cut_cohort

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = cut_cohort(folder / "cohort", 3)
        by_turns(trainings(folder, scans), "bare torch and AdamW, first step", runs)
        by_turns(predictions(folder, scans), "import torch", runs)
        by_turns(imports(folder), "volforge scan import", runs)


if __name__ == "__main__":
    main()
