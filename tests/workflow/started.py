"""Every kind of job of a workflow, on toys, each in a process of its own: what heavy packages it has loaded at its end.

Usage: python -m tests.workflow.started FOLDER      prints a JSON object: job, heavy packages

Jobs are the commands that the rules call. Processes are forked from one that has loaded nothing, so that only what a
job imports itself is seen; jobs with networks from one that has loaded torch, which all of them need, and some from one
that has loaded MONAI as well: the import takes seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

# what takes 0.1 s or more, or should never be there
HEAVY = (
    "SimpleITK", "blosc2", "gdcm", "highdicom", "lightning", "lightning_fabric", "matplotlib", "monai", "numba", "pandas",
    "plotly", "pydicom", "pymeshlab", "pytorch_lightning", "requests", "skimage", "snakemake", "tensorboardX", "torch",
    "torch._dynamo", "torchmetrics", "torchvision", "trimesh", "zarr",
)  # fmt: skip
SPLITS = '{"seed": 0, "folds": 2, "splits": {"train": 0.5, "val": 0, "test": 0.5}, "on_bad_scan": "stop", "makes_labels": false}'
PARTS_OF_SCIPY = ("interpolate", "linalg", "ndimage", "optimize", "signal", "sparse", "spatial", "special", "stats")


def heavy() -> list[str]:
    """Heavy packages that are loaded; `scipy` where more of it is than its own first module."""
    found = {name for name in HEAVY if sys.modules.get(name)}
    if any(f"scipy.{part}" in sys.modules for part in PARTS_OF_SCIPY):
        found.add("scipy")
    if "scipy.signal" in sys.modules:
        found.add("scipy.signal")
    return sorted(found)


def forked(work: Callable[[], None]) -> list[str]:
    """Heavy packages that a piece of work has loaded at its end, in a process of its own."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(2, 1)
            work()
            os.write(writing, json.dumps(heavy()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    if os.waitpid(child, 0)[1]:
        raise SystemExit("a job failed")
    found: list[str] = json.loads(said)
    return found


def job(*words: str | Path) -> Callable[[], None]:
    """A command of volforge."""

    def run() -> None:
        from volforge.cli import main

        sys.argv = ["volforge", *map(str, words)]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise

    return run


def prepare(folder: Path) -> None:
    """Cohorts and settings that the jobs read."""
    from dataclasses import asdict

    from tests.conftest import ball_ct, save
    from tests.study.cohorts import AFFINE, METRICS, SHAPE, arm, imported, labels_of
    from tests.study.test_arm import trunks
    from tests.tasks.negative_volume import test_arm as joints
    from tests.tasks.semantic_synthesis import test_arm as synthesis
    from tests.training.cohort import content, cut_cohort
    from volforge.config.training import Inference
    from volforge.tasks.registry import task
    from volforge.volume.cut_scan import cut_scan
    from volforge.volume.folders import write_json
    from volforge.workflow.configuration import Report

    def settings_of(name: str, **more: object) -> None:
        (folder / name).mkdir()
        arm(folder / name, **more)

    cut_cohort(folder / "balls", 5)
    (folder / "joints").mkdir()
    (folder / "trunks").mkdir()
    trunks(folder / "trunks")
    for name, training in {
        "plain": {"augmentation": "none", "validation": 0, "steps": 1},
        "augmented": {"augmentation": "published", "validation": 0, "steps": 1},
        "windows": {"augmentation": "none", "validation_cases": 1, "validate_every": 1, "steps": 1},
    }.items():
        (folder / f"{name}.train.json").write_text(json.dumps(content(training=training)))
    options = Inference().model_dump() | {"threads": 1}
    settings_of("mean", arm="mean", baseline="mean_labels")
    settings_of("one", inference={**options, "window": [64, 64, 64]})
    settings_of("several", inference={**options, "window": [16, 16, 16]})
    settings_of("constant", task="translation", baseline="constant", structures=[])
    (folder / "inflated").mkdir()
    joints.settings(folder / "inflated")

    values, affine = joints.head()
    save(folder / "joints/even.nii.gz", values, affine)
    lines = ["subject\tscan\tmodality\tlabels\tlabel_source\tsplit", "even\teven\tCT\teven.nii.gz\texpert\ttest"]
    imported(folder / "joints", lines, joints.IDS)

    (folder / "slices").mkdir()
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    for i, (modality, split) in enumerate([("MR", "train"), ("CT", "train"), ("CT", "train"), ("CT", "test")]):
        image = ball_ct(SHAPE, 9 + i)
        save(folder / f"slices/s{i}.nii.gz", image, AFFINE)
        save(folder / f"slices/s{i}_l.nii.gz", labels_of(image), AFFINE)
        files = f"{'' if modality == 'MR' else f's{i}.nii.gz'}\ts{i}_l.nii.gz\texpert"
        lines.append(f"p{i}\ts{i}\t{modality}\t{files}\t{split}")
    scans = imported(folder / "slices", lines, {"ball_left": 1, "ball_right": 2})
    for i in range(4):
        cut_scan(scans.parent / "scans" / f"s{i}", synthesis.RECIPE, scans.parent / "recipes/slices" / f"s{i}")
    write_json(folder / "image.train.json", asdict(synthesis.settings()))
    metrics = {**METRICS, "segmenter_steps": 2, "distribution": True}
    settings_of("painted", task="semantic_synthesis", metrics=metrics, inference={**synthesis.PLAIN, "samples": 1})

    arms = {"mean": {"kind": "baseline", "published_as": "", "note": ""}}
    parts = [["mean", 0, 0]]
    study = {"study": "s", "task": "segmentation", "cohort": "c", "arms": arms, "published": None, "parts": parts}
    shown = ("shown", "judged_in", "picture", "note", "compares_sides")
    study |= {k: getattr(task("segmentation"), k) for k in shown}
    write_json(folder / "results/studies/s/table.settings.json", study)
    report = {"report": Report(title="t").model_dump(), "cohorts": {}, "studies": ["s"], "published": []}
    write_json(folder / "report.json", {**report, "configuration": {}})


def light_jobs(folder: Path) -> dict[str, Callable[[], None]]:
    """Jobs without networks, in the order in which they need each other."""
    balls, cohort = folder / "balls", folder / "balls/results/cohorts/c"
    study = folder / "results/studies/s"
    arm = study / "mean/fold0/seed0"

    def measured(name: str, scans: Path, out: Path) -> tuple[str | Path, ...]:
        words = ("--settings", folder / name / "settings.json", "--scans", scans)
        return (*words, "--predictions", out / "predictions", "--out", out / "measures.tsv", "--cases", out / "cases")

    image = ("--image", balls / "s0.nii.gz", "--labels", balls / "s0_l.nii.gz")
    coarse = '{"kind": "region", "around": "image", "margin_mm": 0, "spacing_mm": [3, 3, 3]}'
    slices, joints = folder / "trunks/results/cohorts/c/scans.tsv", folder / "joints/results/cohorts/c/scans.tsv"
    constant, inflated = folder / "constant/out", folder / "inflated/out"
    return {
        "import": job("scan", "import", *image, "--out", folder / "imported"),
        "cut of slices": job("scan", "cut", folder / "imported", "--recipe", '{"kind": "slices"}', "--out", folder / "cut"),
        "cut of a region": job("scan", "cut", folder / "imported", "--recipe", coarse, "--out", folder / "region"),
        "collect": job(
            "cohort", "collect", "--sheet", balls / "sheet.tsv", "--records", cohort / "scans",
            "--settings", SPLITS, "--out", folder / "scans.tsv",
        ),
        "predict, baseline": job(
            "model", "predict", "--settings", folder / "mean/predict.json", "--scans", cohort / "scans.tsv",
            "--out", arm / "predictions",
        ),
        "measure, label maps": job("study", "measure", *measured("mean", cohort / "scans.tsv", arm)),
        "predict, baseline of images": job(
            "model", "predict", "--settings", folder / "constant/predict.json", "--scans", slices,
            "--out", constant / "predictions",
        ),
        "measure, images": job("study", "measure", *measured("constant", slices, constant)),
        "inflate": job(
            "model", "predict", "--settings", folder / "inflated/predict.json", "--scans", joints,
            "--out", inflated / "predictions",
        ),
        "measure, joints": job(
            "study", "measure", *measured("inflated", joints, inflated), "--reference", inflated / "predictions"
        ),
        "measures of a study": job("study", "collect", arm / "measures.tsv", "--out", study / "measures.tsv"),
        "table": job(
            "study", "table", "--measures", study / "measures.tsv", "--settings", study / "table.settings.json",
            "--out", study,
        ),
        "figures": job(
            "study", "figures", "--measures", study / "measures.tsv", "--settings", study / "table.settings.json",
            "--out", study / "figures",
        ),
        "report": job(
            "study", "report", "--results", folder / "results", "--out", folder / "results/report.html",
            "--provenance", folder / "results/provenance.json", "--settings", folder / "report.json",
        ),
        "crate": job(
            "study", "crate", folder / "results", "--settings", folder / "report.json",
            "--provenance", folder / "results/provenance.json",
        ),
    }  # fmt: skip


def network_jobs(folder: Path) -> tuple[dict[str, Callable[[], None]], dict[str, Callable[[], None]]]:
    """Jobs that need torch, and after them jobs that need MONAI too."""
    balls, slices = (folder / name / "results/cohorts/c/scans.tsv" for name in ("balls", "slices"))

    def train(name: str, scans: Path) -> Callable[[], None]:
        words = ("--checkpoints", folder / f"{name}.checkpoints", "--out", folder / f"{name}.model")
        return job("model", "train", "--settings", folder / f"{name}.train.json", "--scans", scans, *words)

    def predict(name: str, scans: Path, model: str) -> Callable[[], None]:
        words = ("--model", f"m={folder / model}.model", "--out", folder / name / "predictions")
        return job("model", "predict", "--settings", folder / name / "predict.json", "--scans", scans, *words)

    painted = ("--settings", folder / "painted/settings.json", "--scans", slices)

    def measure(name: str, *more: str | Path) -> Callable[[], None]:
        own = ("--out", folder / f"{name}.tsv", "--cases", folder / name)
        encoder = ("--encoder", folder / "encoder/weights.safetensors")
        return job("study", "measure", *painted, "--predictions", folder / "painted/predictions", *own, *encoder, *more)

    alone = {
        "train": train("plain", balls),
        "train, augmented": train("augmented", balls),
        "predict, one window": predict("one", balls, "plain"),
        "train, generator": train("image", slices),
        "predict, generator": predict("painted", slices, "image"),
        "train an encoder": job("model", "train-encoder", *painted, "--out", folder / "encoder"),
        "measure, generated images": measure("measured"),
    }
    with_monai = {
        "train, validated by windows": train("windows", balls),
        "predict, several windows": predict("several", balls, "plain"),
        "train a judge": job("model", "train-judge", *painted, "--out", folder / "judge"),
        "measure, generated images, judged": measure("judged", "--judge", folder / "judge/weights.safetensors"),
    }
    return alone, with_monai


def main(folder: Path) -> None:
    # Fabric imports torchmetrics where it is installed, only to look at its version; volforge does not install it
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]
    forked(lambda: prepare(folder))
    found = {name: forked(work) for name, work in light_jobs(folder).items()}
    alone, with_monai = network_jobs(folder)
    import torch  # noqa: F401

    found |= {name: forked(work) for name, work in alone.items()}
    import monai  # noqa: F401

    found |= {name: forked(work) for name, work in with_monai.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(Path(name))
