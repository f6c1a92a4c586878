"""The training of one model of a study: scans in, weights, their description and the history of the training out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.inference.model_settings import ModelSettings
from volforge.study.cases import Cohort, free_rows
from volforge.study.inner_split import inner_split
from volforge.study.trained_files import multiply_adds, versions, write_trained
from volforge.training.attempt import note_attempt
from volforge.volume.folders import read_json, whole_folder, write_json

if TYPE_CHECKING:
    from volforge.tasks.segmentation.training import SegmentationTask
    from volforge.training.loop import Trained
    from volforge.training.regions import Regions
    from volforge.training.task import Plan


@dataclass(frozen=True)
class Run:
    """What a training job is told beside its settings.

    Attributes:
        scans: scans.tsv of the cohort.
        fold, seed: Fold that is left out (0 for the split `test`) and seed.
        checkpoints: Folder of its checkpoints.
        distances: Folder of distance maps, or None.
        minutes: Time after which it keeps a checkpoint and ends unfinished; None: no limit.
        workers: Loader processes.
        attempt: Number of the try, from 1.
        resume: A checkpoint to go on from, or None: the last one of the same settings, if there is one.
        checkpoint_seconds: Time between checkpoints.
        code: Hash of the code that trains: a checkpoint of other code is no beginning.
    """

    scans: Path
    fold: int
    seed: int
    checkpoints: Path
    distances: Path | None = None
    minutes: float | None = None
    workers: int = 0
    attempt: int = 1
    resume: Path | None = None
    checkpoint_seconds: float = 120.0
    code: str = ""


def train_model(settings: ModelSettings, run: Run, out: Path) -> str:
    """Train a model, or go on with it.

    Args:
        settings: The model.
        run: Scans, fold, seed, checkpoints, resources.
        out: Folder of the model: weights.safetensors, model.json, history.tsv, cost.json. It appears whole.

    Returns:
        Why the training ended before its last step, empty where it is finished.

    Raises:
        VolforgeError: Nothing to learn from; settings that do not fit; a checkpoint of other settings.
    """
    note_attempt(run.checkpoints, run.attempt, run.code)
    from volforge.tasks.segmentation.training import SegmentationTask
    from volforge.training.loop import train
    from volforge.training.stop import Stop

    stop = Stop(run.minutes)  # before anything slow: a signal during the loading of scans counts too
    training, validation, subjects = regions_of(settings, run)
    data = [r.fingerprint() for r in (training, validation) if r is not None]
    plain = checked_settings(settings, run, subjects, data)
    task = SegmentationTask(settings, run.seed, training, validation, plain)
    plan = plan_of(settings, run)
    task.check_patch()
    size = size_of(settings, task.patch)
    done = train(task, plan, run.seed, run.checkpoints, stop, run.resume)
    if done.stopped:
        return f"{done.stopped}, at step {done.steps} of {plan.steps}"
    if done.is_first_rank:
        write_model(settings, task, plan, done, subjects, size, import_of(run.scans, subjects), out)
    return ""


def regions_of(settings: ModelSettings, run: Run) -> tuple[Regions, Regions | None, dict[str, list[str]]]:
    """Regions to learn from and to choose weights by, and the subjects of both."""
    from volforge.training.regions import Regions

    free = free_rows(Cohort(run.scans).rows, settings.by_fold, run.fold)
    every = Regions(settings, run.scans.parent / "recipes" / settings.recipe, free, run.distances)
    usable = {r.subject for r in every.regions}
    known = [r for r in free if r["subject"] in usable]
    learnt, chosen = inner_split(known, settings.by_fold, settings.training["validation"])
    training, validation = every.only(learnt), every.only(chosen)
    if training is None:
        raise VolforgeError("no training scan can be used", settings_name(settings), "look at the column split")
    subjects = {
        "training": sorted({r.subject for r in training.regions}),
        "validation": sorted({r.subject for r in validation.regions}) if validation else [],
    }
    return training, validation, subjects


def checked_settings(
    settings: ModelSettings, run: Run, subjects: Mapping[str, list[str]], data: Sequence[str]
) -> dict[str, Any]:
    """All that the weights depend on, as plain values; a checkpoint must agree with them."""
    own = {"fold": run.fold, "seed": run.seed, "subjects": dict(subjects), "data": data, "code": run.code}
    return {**asdict(settings), **own}


def plan_of(settings: ModelSettings, run: Run) -> Plan:
    """The loop's plan."""
    from volforge.training.task import Plan

    options = settings.training
    same = (
        "steps", "batch", "schedule", "step_every", "warmup", "clip", "precision", "accelerator", "devices",
        "channels_last", "compile", "threads", "validate_every", "patience", "tolerance", "which",
    )  # fmt: skip
    return Plan(
        **{k: options[k] for k in same},
        ema={"network": options["ema"]},
        workers=run.workers,
        checkpoint_seconds=run.checkpoint_seconds,
    )


def write_model(
    settings: ModelSettings,
    task: SegmentationTask,
    plan: Plan,
    done: Trained,
    subjects: Mapping[str, list[str]],
    size: tuple[int, int],
    imported: Mapping[str, Any],
    out: Path,
) -> None:
    """Write the folder of a trained model."""
    parameters, products = size
    with whole_folder(out) as folder:
        digest = write_trained(folder, done.weights["network"], done, plan)
        content = {
            **asdict(settings),
            "patch": list(task.patch),
            "channels": settings.channels,
            "parameters": parameters,
            "multiply_adds": products,
            "step": done.step,
            "steps": done.steps,
            "expected": {k: float(f"{v:.10g}") for k, v in done.score.items()},
            "subjects": dict(subjects),
            "prior": prior_of(task.training) if settings.kind == "localiser" else None,
            "import": dict(imported),
            "sha256": digest,
            "versions": versions(),
        }
        write_json(folder / "model.json", content)


def import_of(scans: Path, subjects: Mapping[str, list[str]]) -> dict[str, Any]:
    """How the training scans were imported: what a new scan must be put through too."""
    content = read_json(scans.parent / "settings.json")
    cohort = Cohort(scans)
    first = next(r for r in cohort.rows if r["subject"] in subjects["training"])
    return {
        "background": content.get("background", "air"),
        "body_mask": content.get("body_mask", {}),
        "modality": first["modality"],
        "unit": cohort.record(first["scan"])["unit"],
    }


def size_of(settings: ModelSettings, patch: Sequence[int]) -> tuple[int, int]:
    """Parameters, and multiply-adds of one pass over a patch, counted without computing anything."""
    import torch

    from volforge.inference.model import make_network

    with torch.device("meta"):
        network = make_network(settings).eval()
        image = torch.zeros((1, 1, *patch))
    return sum(p.numel() for p in network.parameters()), multiply_adds(network, image)


def prior_of(training: Regions) -> dict[str, list[float]]:
    """Mean place of the joint of each side, as shares of the body's box (of the cut where there is no body)."""
    from volforge.inference.joints import box_of_body

    found: dict[str, list[Any]] = {}
    for region in training.regions:
        body = training.body(region)
        low, high = box_of_body(body, region.shape)
        labels = training.labels(region)
        for c in training.settings.classes:
            for side, identifier in c.ids.items():
                own = np.argwhere(labels == identifier)
                if len(own):
                    found.setdefault(side, []).append((own.mean(axis=0) - low) / (high - low))
    if not found:
        raise VolforgeError(
            "no training scan shows a joint", settings_name(training.settings), "look at its structures"
        )
    return {side: [round(float(v), 6) for v in np.mean(places, axis=0)] for side, places in sorted(found.items())}


def settings_name(s: ModelSettings) -> str:
    """Where a model belongs, for messages."""
    return f"{s.study}, {s.arm}/{s.model}"
