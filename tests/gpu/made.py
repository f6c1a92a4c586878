"""Small cohorts and trainings of every task, by one way in: what the tests here know of the tasks' own modules.

A later task adds its training to TRAININGS, and is then tested like the others; and to WHOLE, whose steps are timed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from tests.conftest import ball_ct, save
from tests.study.cohorts import AFFINE, SHAPE, arm, imported, labels_of
from tests.tasks.implant.made import ARM as FILLS
from tests.tasks.implant.made import settings as implant_settings
from tests.tasks.implant.made import skulls
from tests.tasks.translation.made import JUDGE
from tests.tasks.translation.made import cohort as heads
from tests.tasks.translation.made import settings as translation_settings
from tests.training.cohort import content, cut_cohort
from volforge import components, places
from volforge.config.models import SliceRecipe
from volforge.config.training import Inference, Training
from volforge.inference.model_settings import ModelSettings
from volforge.study.jobs import PredictJob, TrainJob
from volforge.tasks.implant.grids import native_frame
from volforge.tasks.implant.held import Held, Skulls, Volume
from volforge.tasks.implant.samples import CapSamples
from volforge.tasks.implant.settings import ImplantSettings
from volforge.tasks.implant.train import train_model as train_implants
from volforge.tasks.implant.training import ImplantTask
from volforge.tasks.registry import task
from volforge.tasks.segmentation.train import train_model
from volforge.tasks.segmentation.training import SegmentationTask
from volforge.tasks.semantic_synthesis.options import Synthesis
from volforge.tasks.semantic_synthesis.settings import SynthesisSettings
from volforge.tasks.semantic_synthesis.train import train_generator
from volforge.tasks.semantic_synthesis.training import SemanticTask, SynthesisPlan
from volforge.tasks.translation.settings import TranslationSettings
from volforge.tasks.translation.train import train_translation
from volforge.training.regions import Region
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.slices import outline_of
from volforge.training.task import Task
from volforge.volume.cut_scan import cut_scan
from volforge.volume.geometry import Grid

STEPS = 4
SLICES = SliceRecipe(kind="slices", spacing_mm=3, size=[16, 16], ct_window={"kind": "hu", "low": -1024, "high": 1500})
ANY = {"modality": "CT", "contrast": None}
JUDGES = {
    "segmenter": {"name": "oasis_segmenter", "width": 2, "levels": 2},
    "discriminator": {"name": "wavelet_discriminator", "width": 2, "most": 4},
}
# a rate at which little depends on the last bits of the first steps, which two kinds of hardware do not share
PLAIN = {
    "steps": STEPS, "validate_every": STEPS, "validation": 0.0, "augmentation": "none", "ema": 0.0, "which": "latest",
    "optimizer": "sgd", "rate": 1e-3,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of training, small.

    Attributes:
        cohort: Name of its cohort.
        settings: Settings of the model, by options of its training.
        entry: What trains: settings and job; returns why it ended early.
        model: Name of the model in its arm.
        arm: Keys of the settings of an arm that predicts with it.
    """

    cohort: str
    settings: Callable[[Mapping[str, Any]], Any]
    entry: Callable[[Any, TrainJob], str]
    model: str
    arm: Mapping[str, Any] = field(default_factory=dict)


def _regions(folder: Path) -> Path:
    return cut_cohort(folder)


def _slices(folder: Path) -> Path:
    """Nine CTs with labels, the last two of the split `test`."""
    lines = ["subject\tscan\tmodality\timage\tlabels\tlabel_source\tsplit"]
    for i in range(9):
        image = ball_ct(SHAPE, 9 + i % 3)
        save(folder / f"s{i}.nii.gz", image, AFFINE)
        save(folder / f"s{i}_l.nii.gz", labels_of(image), AFFINE)
        split = "test" if i > 6 else "train"
        lines.append(f"p{i}\ts{i}\tCT\ts{i}.nii.gz\ts{i}_l.nii.gz\texpert\t{split}")
    scans = imported(folder, lines, {"ball_left": 1, "ball_right": 2})
    for i in range(9):
        cut_scan(scans.parent / "scans" / f"s{i}", SLICES, scans.parent / "recipes" / "slices" / f"s{i}")
    return scans


COHORTS: dict[str, Callable[[Path], Path]] = {"regions": _regions, "slices": _slices, "skulls": skulls, "heads": heads}


def _segmentation(training: Mapping[str, Any]) -> ModelSettings:
    network = {"name": "residual_unet", "width": 4, "levels": 2}
    return ModelSettings.of(content(network=network, training=dict(training)))


def _synthesis(mode: str, training: Mapping[str, Any]) -> SynthesisSettings:
    # a penalty every step: its second derivatives are what mixed precision and compilation may break
    own = Synthesis(mode=mode, pairs=1 if mode == "semi" else 0, penalty_every=1, **JUDGES).plain()
    kept = {k: v for k, v in training.items() if k in Training.model_fields}
    return SynthesisSettings.of(
        {
            "study": "s", "arm": "a", "model": "image", "cohort": "c", "by_fold": False, "kind": "synthesis",
            "classes": [
                {"structure": "ball", "side": "left", "id": 1, "mirrored": 2},
                {"structure": "ball", "side": "right", "id": 2, "mirrored": 1},
            ],
            "recipe": "slices", "recipe_settings": json.loads(SLICES.model_dump_json()), "source": ANY, "target": ANY,
            "network": {"name": "oasis_generator", "width": 1, "noise": 3, "blocks": 3, "hidden": 4},
            "synthesis": own, "training": Training(batch=2, **kept).model_dump(), "own": "",
        }
    )  # fmt: skip


def _implants(preset: str, training: Mapping[str, Any]) -> ImplantSettings:
    # dropout draws another mask on every device
    spec = {"name": "cranial_autoencoder", "width": 2, "head": "sigmoid", "dropout": 0.0}
    kept = {k: v for k, v in training.items() if k in Training.model_fields}
    # the published factor of 100 would blow up what mixed precision rounds
    loss = {"name": "value_mse"} if preset == "gan" else {"name": "value_dice_boundary", "factor": 1.0}
    # codes of 4 x 4 x 2 voxels and more: smaller ones have no reliable gradient in bfloat16 on CPU (see the room's checks)
    return implant_settings(preset, network=spec, loss=loss, implant={"grid": [64, 64, 32]}, training=kept)


def _translation(method: str, training: Mapping[str, Any]) -> TranslationSettings:
    kept = {k: v for k, v in training.items() if k in Training.model_fields}
    judge = {} if method == "painted" else {"discriminator": JUDGE}
    return translation_settings(training=kept, method=method, **judge)


SEGMENTS: dict[str, Any] = {"task": "segmentation", "inference": Inference().model_dump() | {"threads": 1}}
PAINTS: dict[str, Any] = {
    "task": "semantic_synthesis", "inference": Inference().model_dump() | {"threads": 1},
    "structures": [{"structure": "ball", "side": "left", "id": 1}], "source": ANY,
}  # fmt: skip
TRANSLATES: dict[str, Any] = {
    "task": "translation", "inference": Inference().model_dump() | {"threads": 1}, "structures": [],
    "fuse": "median", "doubt": None,
}  # fmt: skip
TRAININGS: dict[str, Kind] = {
    "segmentation": Kind("regions", _segmentation, train_model, "m", SEGMENTS),
    **{
        f"synthesis_{mode}": Kind("slices", partial(_synthesis, mode), train_generator, "image", PAINTS)
        for mode in ("unpaired", "paired", "semi")
    },
    "implant": Kind("skulls", partial(_implants, "ae_dice_boundary"), train_implants, "m", FILLS),
    "implant_gan": Kind("skulls", partial(_implants, "gan"), train_implants, "m", FILLS),
    **{
        f"translation_{method}": Kind("heads", partial(_translation, method), train_translation, "axial", TRANSLATES)
        for method in ("cycle", "painted")
    },
}
# one of each task, for what does not depend on how a task is taught
ONE_OF_EACH = list({kind.arm["task"]: name for name, kind in reversed(TRAININGS.items())}.values())[::-1]


class Cohorts:
    """Cohorts by name, each made once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self.made:
            (self.folder / name).mkdir()
            self.made[name] = COHORTS[name](self.folder / name)
        return self.made[name]


@dataclass(frozen=True)
class Trained:
    """What a training left: the folder of the model, its history and its last checkpoint; why it ended early."""

    folder: Path
    checkpoints: Path
    stopped: str

    @property
    def history(self) -> list[dict[str, float]]:
        """What was logged: means over the steps between two validations."""
        with (self.folder / "history.tsv").open() as file:
            return [{k: float(v) for k, v in r.items() if v} for r in csv.DictReader(file, delimiter="\t")]

    @property
    def losses(self) -> list[dict[str, float]]:
        """The losses, without what a validation found."""
        return [
            {k: v for k, v in row.items() if k != "step" and not k.startswith("validation_")} for row in self.history
        ]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights that are kept."""
        from safetensors.numpy import load_file

        return dict(load_file(self.folder / "weights.safetensors"))

    @property
    def checkpoint(self) -> dict[str, Any]:
        """The last checkpoint."""
        return dict(torch.load(self.checkpoints / "last.pt", map_location="cpu", weights_only=True))


def train(name: str, cohorts: Cohorts, folder: Path, device: str, minutes: float | None = None, **training) -> Trained:
    """Train, or go on in the same folder: `minutes=0` stops after one step."""
    kind = TRAININGS[name]
    options = {**PLAIN, "accelerator": "gpu" if device == "cuda" else "cpu", **training}
    job = TrainJob(cohorts[kind.cohort], 0, 0, folder / "checkpoints", folder / "model", minutes=minutes)
    stopped = kind.entry(kind.settings(options), job)
    return Trained(folder / "model", job.checkpoints, stopped)


def predicted(name: str, cohorts: Cohorts, model: Path, folder: Path, device: str) -> dict[str, np.ndarray]:
    """Volumes that a model makes of the test scans, by file name."""
    kind = TRAININGS[name]
    folder.mkdir(parents=True)
    settings = arm(folder, baseline=None, **kind.arm)
    models = {kind.model: model}
    job = PredictJob(cohorts[kind.cohort], 0, folder / "predictions", models=models, device=device)
    places.at(task(settings.task).predict)(settings, job)
    paths = sorted((folder / "predictions").glob("*.nii.gz"))
    return {p.name: np.asanyarray(nib.load(p).dataobj) for p in paths}


class Whole(Task):
    """A training of a task as its paper has it, on volumes made here: what a step costs with all that belongs to it.

    Args:
        task: What is trained.
        batch: Samples of a step.
        averaged: The network whose mean weights are kept.
        clip: Largest norm of the gradient.
        options: Settings that say how batches lie in memory, or None.
    """

    def __init__(self, task: Any, batch: int, averaged: str, clip: float, options: dict[str, Any] | None = None):
        self.task, self.batch, self.averaged, self.clip, self.options = task, batch, averaged, clip, options
        self.settings: dict[str, Any] = {}
        self.channels_last = False
        self.networks, self.optimizers, self.sample = task.networks, task.optimizers, task.sample
        self.collate = task.collate

    def step(self, networks: Any, batch: Any, step: int, hands: Any) -> Any:
        """One step."""
        if self.options is not None:
            self.options["channels_last"] = self.channels_last
        return self.task.step(networks, batch, step, hands)

    def validate(self, networks: Any, device: Any) -> dict[str, float]:
        """Nothing."""
        return {}


class _Volume:
    """Stands for regions of scans: one volume of noise with a ball in it."""

    def __init__(self, size: Sequence[int]):
        self.shape = tuple(2 * n for n in size)
        rng = np.random.default_rng(0)
        grid = np.indices(self.shape) - np.array(self.shape)[:, None, None, None] / 2
        inside = (grid**2).sum(axis=0) < (min(size) / 2) ** 2
        self.labels = (inside * (1 + (grid[0] > 0))).astype(np.uint8)[None]
        self.image = (rng.normal(0, 0.2, self.shape) + inside - 0.5).astype(np.float32)[None]
        places = [np.argwhere(self.labels[0] == k)[::50] for k in (1, 2)]
        self.regions = [Region("s", "p", "", self.shape, None, places)]  # type: ignore[arg-type]

    def cut(self, region: Region, start: Any, size: Sequence[int], with_distances: bool = False) -> dict[str, Any]:
        """A part of it, as far as there is some."""
        first = np.clip(start, 0, np.array(self.shape) - np.array(size))
        box = (slice(None), *(slice(a, a + n) for a, n in zip(first.tolist(), size, strict=True)))
        return {"image": self.image[box].copy(), "labels": self.labels[box].copy()}


class _Discs:
    """Stands for slices of scans: discs of every class."""

    shows_sides = True

    def __init__(self, size: Sequence[int], classes: int, wants: Sequence[str], count: int = 8):
        rng = np.random.default_rng(0)
        self.size, self.wants, self.count = tuple(size), wants, count
        y, x = np.indices(self.size)
        self.labels = np.zeros((count, *self.size), np.uint8)
        for labels in self.labels:
            for k in range(1, classes):
                centre, radius = rng.uniform(0.25, 0.75, 2) * self.size, rng.uniform(0.05, 0.2) * self.size[0]
                labels[np.hypot(y - centre[0], x - centre[1]) < radius] = k
        self.images = (self.labels / classes * 2 - 1 + rng.normal(0, 0.05, self.labels.shape)).astype(np.float32)
        self.bodies = np.stack([outline_of(m) for m in self.labels])

    def __len__(self) -> int:
        return self.count

    def item(self, k: int) -> dict[str, Any]:
        """Slice k."""
        found = {"image": self.images[k][None]} if "image" in self.wants else {}
        if "labels" in self.wants:
            found |= {"labels": self.labels[k][None], "body": self.bodies[k][None]}
        return found


def _whole_segmentation(sized: Mapping[str, Any]) -> Whole:
    """Ours: patches at random, the whole augmentation."""
    own = sized["residual_unet"]
    options = {"patch": list(own.size), "batch": own.batch, "augmentation": "standard", "rate": 5e-4}
    settings = ModelSettings.of(content(network=dict(own.spec), training=options))
    volume: Any = _Volume(own.size)
    task = SegmentationTask(settings, 0, volume, None, {})
    options = settings.training  # type: ignore[assignment]
    return Whole(task, own.batch, "network", 12.0, options)


def _whole_synthesis(sized: Mapping[str, Any]) -> Whole:
    """The published generator with both of its judges."""
    own = sized["oasis_generator"]
    specs = [dict(sized[n].spec) for n in ("oasis_generator", "oasis_segmenter", "wavelet_discriminator")]
    plan = SynthesisPlan("unpaired", own.classes, *specs)
    labels, images = (_Discs(own.size, own.classes, (name,)) for name in ("labels", "image"))
    made: Any = (labels, images)
    task = SemanticTask(plan, 0, *made, None, own.batch, SliceAugmentation(), {})
    return Whole(task, own.batch, "generator", 0.0)


class _Balls:
    """Stands for skulls: a shell, and the part of it that is taken out."""

    def __init__(self, size: Sequence[int]):
        p = np.indices(size) - np.array([size[0] / 2, size[1] / 2, 0])[:, None, None, None]
        r = np.sqrt((p**2).sum(axis=0)) / (size[2] * 0.9)
        complete = ((r < 1) & (r > 0.85)).astype(np.float32)
        implant = complete * (p[0] > size[0] / 6) * (p[1] > 0)
        frame = native_frame((0, 0, 0), size)
        grid = Grid(frame.shape, np.eye(4))
        held = Held("s", "p", grid, Volume.of(complete), Volume.of(implant), None, frame, grid)
        self.skulls = Skulls([held], "sheet", 0, lambda *_: np.zeros(tuple(size), bool))


def _whole_implants(sized: Mapping[str, Any]) -> Whole:
    """The published auto-encoder with its discriminator, caps of 128 x 128 x 64 voxels."""
    own = sized["cranial_autoencoder"]
    size = [128, 128, 64] if own.size[0] >= 128 else list(own.size)
    judge = dict(sized["cranial_discriminator"].spec)
    settings = implant_settings(
        "gan", network=dict(own.spec), training={"batch": own.batch},
        implant={"grid": size, "adversary": {"network": judge, "weight": 0.1}},
    )  # fmt: skip
    samples = CapSamples(settings, _Balls(size).skulls, components.build("loss", settings.loss))
    return Whole(ImplantTask(settings, samples, {}), own.batch, "network", 0.0, settings.training)  # type: ignore[arg-type]


# by the networks at the size that they are trained at
WHOLE: dict[str, Callable[[Mapping[str, Any]], Whole]] = {
    "segmentation (whole)": _whole_segmentation,
    "semantic synthesis (whole)": _whole_synthesis,
    "implant (whole)": _whole_implants,
}
