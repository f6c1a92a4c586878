"""What starting costs: to the first training step, to the first prediction, of a whole import of a small scan.

Every process is timed from its start by this one, by the wall. The limits are the shortest scripts that do the same
with the libraries alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.rows import Peer, Row, Scale

ROOT = Path(__file__).parents[1]
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
Timed = Callable[[], tuple[float, bool]]


def until_said(code: str) -> tuple[float, bool]:
    """Seconds until a script says that it is there; it is ended after that."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.kill()
        if not said:
            raise RuntimeError(process.stderr.read().decode())
    return seconds, True


def whole(words: Sequence[str], fresh: Path | None = None) -> tuple[float, bool]:
    """Seconds of a whole process; `fresh` is removed first."""
    if fresh is not None:
        shutil.rmtree(fresh, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start, True


def command(which: str, *words: str | Path) -> Timed:
    code = COMMAND.format(where=MARKED[which], words=[str(w) for w in words])
    return lambda: until_said(code)


def python(code: str) -> Timed:
    return lambda: whole(["-c", code])


def said(code: str) -> Timed:
    return lambda: until_said(code + SAY)


def volforge(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "volforge", *map(str, words)], check=True, capture_output=True)


def both(ours: bool, theirs: bool) -> str:
    assert ours
    assert theirs
    return "both end well"


def rows(scale: Scale) -> Iterator[Row]:
    folder = scale.folder
    measures = {"unit": "s", "measures_itself": True, "turns": 5}

    def limit(name: str, call: Timed, why: str = "") -> Peer:
        return Peer(name, call, both, is_limit=True, why=why)

    yield Row(
        "`volforge --version`",
        lambda: whole(["-m", "volforge", "--version"]),
        (limit("Python with typer, its library of commands", python("import typer")),),
        **measures,
    )
    yield from imports(folder, limit, measures)
    if not scale.quick:  # each of these starts torch several times
        yield from networks(folder, limit, measures)


def imports(folder: Path, limit: Callable[..., Peer], measures: dict[str, object]) -> Iterator[Row]:
    """A phantom head of 2 mm."""
    sheet, drawn, out = folder / "one.tsv", folder / "drawn", folder / "imported"
    lines = (ROOT / "config/cohorts/tmj.tsv").read_text().splitlines()
    sheet.write_text("\n".join(lines[:3]) + "\n")
    volforge("cohort", "phantoms", "--sheet", sheet, "--kind", "tmj", "--out", drawn, "--spacing-mm", "2")
    image, labels = (drawn / f"tmj-01_{name}.nii.gz" for name in ("image", "labels"))
    words = ["-m", "volforge", "scan", "import", "--image", str(image), "--labels", str(labels), "--out", str(out)]
    alone = "from volforge.volume.nibabel_alone import load_nibabel; load_nibabel()"
    modules = f"import volforge.cli.scan, volforge.volume.import_scan, cc3d, edt, PIL.Image; {alone}"
    why = "reading, body mask, picture and four compressed files are the rest"
    yield Row(
        "`volforge scan import` of a small scan, whole",
        lambda: whole(words, out),
        (
            limit("Python with numpy and nibabel", python("import numpy, nibabel"), why),
            limit("Python with all modules that it uses", python(modules), why),
        ),
        **measures,  # type: ignore[arg-type]
    )


def networks(folder: Path, limit: Callable[..., Peer], measures: dict[str, object]) -> Iterator[Row]:
    """To the first step, to the first prediction."""
    from tests.study.cohorts import arm
    from tests.training.cohort import content, cut_cohort

    from volforge.config.training import Inference

    scans = cut_cohort(folder / "cohort", 3)
    titles = {"none": "no augmentation", "published": "published augmentation, by MONAI"}
    torch_why = "command line, settings, blosc2, Fabric and the first batch are the rest"
    for kind, title in titles.items():
        settings = folder / f"{kind}.train.json"
        settings.write_text(json.dumps(content(training={"augmentation": kind})))
        words = ["model", "train", "--settings", settings, "--scans", scans, "--checkpoints", folder / kind]
        bare = BARE if kind == "none" else "import monai.transforms" + BARE
        name = "torch and AdamW alone, first step" + (", MONAI imported" if kind != "none" else "")
        yield Row(
            f"`volforge model train` to its first step, {title}",
            command("train", *words, "--out", folder / f"{kind}-model"),
            (limit(name, lambda bare=bare: until_said(bare), torch_why),),
            **measures,  # type: ignore[arg-type]
        )
    settings, model = folder / "short.train.json", folder / "model"
    settings.write_text(json.dumps(content(training={"augmentation": "none", "validation": 0, "steps": 1})))
    volforge("model", "train", "--settings", settings, "--scans", scans, "--checkpoints", folder / "c", "--out", model)
    predict_why = "command line and settings, own modules, SimpleITK, nibabel are the rest; MONAI for several windows"
    for name, window in {"one window": [32, 32, 32], "several windows": [16, 16, 16]}.items():
        options = Inference(window=window).model_dump() | {"threads": 1}
        own = folder / f"arm-{window[0]}"
        own.mkdir()
        arm(own, inference=options)
        words = ["--settings", own / "predict.json", "--scans", scans, "--model", f"m={model}", "--out", own / "made"]
        yield Row(
            f"`volforge model predict` to its first prediction, {name}",
            command("predict", "model", "predict", *words),
            (
                limit("`import torch`", said("import torch; "), predict_why),
                limit("`import torch, monai`", said("import torch, monai; "), predict_why),
            ),
            **measures,  # type: ignore[arg-type]
        )
