"""The training of one model of a study: scans in, weights, their description and the history of the training out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.inference.model_settings import ModelSettings
from volforge.study.cases import Cohort, free_rows
from volforge.study.inner_split import inner_split
from volforge.study.jobs import TrainJob
from volforge.training.attempt import note_attempt
from volforge.training.trained_files import multiply_adds, versions, write_trained
from volforge.volume.folders import read_json, whole_folder, write_json

if TYPE_CHECKING:
    from volforge.tasks.segmentation.training import SegmentationTask
    from volforge.training.loop import Trained
    from volforge.training.regions import Regions
    from volforge.training.task import Plan


def train(path: Path, job: TrainJob) -> str:
    """Train a model, or go on with it.

    Args:
        path: `<model>.train.json`.
        job: Scans, fold, seed, checkpoints, resources, and the folder of the model.

    Returns:
        Why the training ended before its last step, empty where it is finished.

    Raises:
        VolforgeError: Nothing to learn from; settings that do not fit; a checkpoint of other settings.
    """
    return train_model(ModelSettings.load(path), job)


def train_model(settings: ModelSettings, job: TrainJob) -> str:
    """The same of settings that were read."""
    note_attempt(job.checkpoints, job.attempt, job.code)
    from volforge.tasks.segmentation.training import SegmentationTask
    from volforge.training import loop
    from volforge.training.stop import Stop

    stop = Stop(job.minutes)  # before anything slow: a signal during the loading of scans counts too
    training, validation, subjects = regions_of(settings, job)
    data = [r.fingerprint() for r in (training, validation) if r is not None]
    plain = checked_settings(settings, job, subjects, data)
    task = SegmentationTask(settings, job.seed, training, validation, plain)
    plan = plan_of(settings, job)
    task.check_patch()
    size = size_of(settings, task.patch)
    done = loop.train(task, plan, job.seed, job.checkpoints, stop, job.resume, job.start)
    if done.stopped:
        return f"{done.stopped}, at step {done.steps} of {plan.steps}"
    if done.is_first_rank:
        write_model(settings, task, plan, done, subjects, size, import_of(job.scans, subjects), job.out)
    return ""


def regions_of(settings: ModelSettings, job: TrainJob) -> tuple[Regions, Regions | None, dict[str, list[str]]]:
    """Regions to learn from and to choose weights by, and the subjects of both."""
    from volforge.training.regions import Regions

    free = free_rows(Cohort(job.scans).rows, settings.by_fold, job.fold)
    every = Regions(settings, job.scans.parent / "recipes" / settings.recipe, free, job.distances)
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
    settings: ModelSettings, job: TrainJob, subjects: Mapping[str, list[str]], data: Sequence[str]
) -> dict[str, Any]:
    """All that the weights depend on, as plain values; a checkpoint must agree with them."""
    own = {"fold": job.fold, "seed": job.seed, "subjects": dict(subjects), "data": data, "code": job.code}
    needed = job.needed()
    own |= {"needs": needed} if needed else {}
    return {**asdict(settings), **own}


def plan_of(settings: ModelSettings, job: TrainJob) -> Plan:
    """The loop's plan."""
    from volforge.training.task import Plan

    return Plan.of(settings.training, "network", job.workers, job.checkpoint_seconds)


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
            **done.began,
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
