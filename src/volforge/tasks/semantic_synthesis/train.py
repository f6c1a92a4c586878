"""The training of a generator of a study: scans in; weights, their description and history out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.study.cases import Cohort, Row
from volforge.study.jobs import TrainJob
from volforge.tasks.semantic_synthesis.settings import SynthesisSettings, domains
from volforge.training.attempt import note_attempt
from volforge.training.trained_files import multiply_adds, versions, write_trained
from volforge.volume.folders import whole_folder, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from volforge.tasks.semantic_synthesis.training import SemanticTask, SynthesisPlan
    from volforge.training.loop import Trained
    from volforge.training.slices import Slices
    from volforge.training.task import Plan


def train(path: Path, job: TrainJob) -> str:
    """Train a generator, or go on with it.

    Args:
        path: `<model>.train.json`.
        job: Scans, fold, seed, checkpoints, resources, and the folder of the model (weights.safetensors holds the
            generator's mean weights).

    Returns:
        Why the training ended before its last step, empty where it is finished.

    Raises:
        VolforgeError: Nothing to learn from; settings that do not fit; a checkpoint of other settings.
    """
    return train_generator(SynthesisSettings.load(path), job)


def train_generator(settings: SynthesisSettings, job: TrainJob) -> str:
    """The same of settings that were read."""
    note_attempt(job.checkpoints, job.attempt, job.code)
    from volforge.training import loop
    from volforge.training.stop import Stop

    stop = Stop(job.minutes)
    task, subjects = task_of(settings, job)
    plan = plan_of(settings, job)
    done = loop.train(task, plan, job.seed, job.checkpoints, stop, job.resume, job.start)
    if done.stopped:
        return f"{done.stopped}, at step {done.steps} of {plan.steps}"
    if done.is_first_rank:
        write_generator(settings, task, plan, done, subjects, job.out)
    return ""


LEAST_JUDGED = 2  # slices of the validation subjects


def task_of(settings: SynthesisSettings, job: TrainJob) -> tuple[SemanticTask, dict[str, list[str]]]:
    """What is trained, and the subjects of each part.

    Raises:
        VolforgeError: A part has no slices.
    """
    from volforge.tasks.semantic_synthesis.training import SemanticTask
    from volforge.tasks.semantic_synthesis.validation import SynthesisJudge
    from volforge.training.slice_augment import SliceAugmentation
    from volforge.training.slices import Slices, was_cut

    folder = job.scans.parent / "recipes" / settings.recipe
    parts = domains(settings, Cohort(job.scans).rows, job.fold, lambda row, part: was_cut(folder / row["scan"], part))
    table, mode = settings.class_of, settings.synthesis["mode"]

    def slices(name: str, rows: list[Row], wants: tuple[str, ...]) -> Slices:
        if not rows:
            raise VolforgeError(
                f"no scan that trains has {' and '.join(wants)}, for the {name} of the mode {mode}",
                f"{settings.study}, {settings.arm}/{settings.model}",
                "look at source, target, and the sheet's columns modality, split and fold",
            )
        return Slices(folder, rows, wants, table if "labels" in wants else None)

    both = ("image", "labels")
    labelled = slices("label maps", parts.labelled, both if mode == "paired" else ("labels",))
    images = slices("images", parts.images, ("image",)) if mode != "paired" else None
    pairs = slices("pairs", parts.pairs, both) if mode == "semi" else None
    judged = slices("validation", parts.judged, both) if parts.judged else None
    if judged is not None and len(judged) < LEAST_JUDGED:
        text = f"the validation subjects have {len(judged)} slice, and weights are chosen by the spread of several"
        where = f"{settings.study}, {settings.arm}/{settings.model}"
        raise VolforgeError(text, where, "give more scans the split `val`, or set `training: {validation: 0}`")
    used = [s for s in (labelled, images, pairs, judged) if s is not None]
    plain = {
        **asdict(settings), "fold": job.fold, "seed": job.seed, "subjects": parts.subjects, "code": job.code,
        "data": [s.fingerprint() for s in used],
    }  # fmt: skip
    needed = job.needed()
    plain |= {"needs": needed} if needed else {}
    options, lateral = settings.training, settings.mirrored
    has_sides = any(k != m for k, m in enumerate(lateral))
    augmentation = SliceAugmentation(
        flip="x" in options["flip"],
        mirrored=lateral if has_sides else None,
        **({} if options["augmentation"] != "none" else {"turn": 0.0, "scale": 0.0, "shift": 0.0}),
    )
    judge = None
    if judged is not None:
        real = images if images is not None else labelled
        noise = int(settings.network.get("noise", 64))
        judge = SynthesisJudge(real, judged, settings.channels, noise, job.seed)
    made = SemanticTask(
        synthesis_plan(settings), job.seed, labelled, images, pairs, options["batch"], augmentation, plain, judge
    )
    return made, parts.subjects


def synthesis_plan(settings: SynthesisSettings) -> SynthesisPlan:
    """How the generator is taught, from its settings."""
    from volforge.tasks.semantic_synthesis.training import SynthesisPlan

    own = settings.synthesis
    same = (
        "segment", "adversarial", "outline", "label_mix", "match", "moments", "variety", "penalty", "penalty_every",
        "ignore_background",
    )  # fmt: skip
    dark = [k + 1 for k, c in enumerate(settings.classes) if c.structure in own["dark"]]
    return SynthesisPlan(
        own["mode"],
        settings.channels,
        settings.network,
        own["segmenter"],
        own["discriminator"],
        edge=settings.edge,
        dark=tuple(dark),
        rates=own["rates"],
        **{k: own[k] for k in same},
    )


def plan_of(settings: SynthesisSettings, job: TrainJob) -> Plan:
    """The loop's plan: no clipping and no schedule, as published."""
    from volforge.training.task import Plan

    without = ("schedule", "step_every", "warmup", "clip")
    return Plan.of(settings.training, "generator", job.workers, job.checkpoint_seconds, without)


def write_generator(
    settings: SynthesisSettings,
    task: SemanticTask,
    plan: Plan,
    done: Trained,
    subjects: Mapping[str, list[str]],
    out: Path,
) -> None:
    """Write the folder of a trained generator."""
    import torch

    with torch.device("meta"):
        parameters = {n: sum(p.numel() for p in m.parameters()) for n, m in task.networks().items()}
    with whole_folder(out) as folder:
        digest = write_trained(folder, done.weights["generator"], done, plan)
        content: dict[str, Any] = {
            **asdict(settings),
            "channels": settings.channels,
            "size": list(task.labelled.size),
            "parameters": parameters["generator"],
            "parameters_of": parameters,
            "multiply_adds": _multiply_adds(settings, task.labelled.size),
            "step": done.step,
            "steps": done.steps,
            "expected": {k: float(f"{v:.10g}") for k, v in done.score.items()},
            "subjects": dict(subjects),
            **done.began,
            "sha256": digest,
            "versions": versions(),
        }
        write_json(folder / "model.json", content)


def _multiply_adds(settings: SynthesisSettings, size: tuple[int, int]) -> int:
    """Multiply-adds of the generator's pass over one slice."""
    import torch

    from volforge import components

    with torch.device("meta"):
        network = components.build("network", settings.network, classes=settings.channels, channels=1).eval()
        z, grain = int(getattr(network, "noise", 0)), int(getattr(network, "grain", 0))
        noise = torch.zeros((1, z + grain, *size) if grain else (1, z))
        labels = torch.zeros(1, settings.channels, *size)
    return multiply_adds(network, labels, noise)
