"""What a segmenter of real images reads in synthetic ones: whether these show the structures that they were made of."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.errors import VolforgeError
from volforge.metrics.measure import Measure, nothing
from volforge.metrics.overlap import count
from volforge.study.cases import Cohort, of_modality, training_rows
from volforge.study.settings import ArmSettings
from volforge.volume.folders import read_json, sha256_of
from volforge.volume.geometry import Array
from volforge.weights import fill, read_tensors

if TYPE_CHECKING:
    from torch import nn

READ, OF_REAL, RATIO, UTILITY = "segmenter_dice", "segmenter_real_dice", "segmenter_dice_ratio", "utility_dice"
ALL = "structures"


@dataclass(frozen=True)
class Seen:
    """A volume as the segmenter sees it.

    Attributes:
        images: (N, H, W) float32, 0 to 1: axial slices at the segmenter's pixel size.
        labels: (N, H, W) uint8 classes.
    """

    images: Array
    labels: Array


@dataclass(frozen=True)
class View:
    """How volumes are shown to the segmenter.

    Attributes:
        ids: Id in label maps by structure's key; classes are counted in this order from 1.
        pitch_mm: Pixel size in the axial plane; slices are the scan's own.
        window: Values that become 0 and 1.
    """

    ids: Mapping[str, int]
    pitch_mm: float
    window: tuple[float, float]

    @classmethod
    def of(cls, settings: ArmSettings) -> View:
        """As a study's settings have it."""
        low, high = settings.metrics["window_hu"]
        ids = {p.key: p.id for p in settings.structures}
        return cls(ids, float(settings.metrics["segmenter_mm"]), (float(low), float(high)))

    @property
    def classes(self) -> int:
        """Classes, background included."""
        return 1 + len(self.ids)

    def __call__(self, image: Array, labels: Array, spacing: Sequence[float]) -> Seen:
        """Show a volume: (X, Y, Z) values and ids on one grid, mm. Slices without any structure are left out."""
        import torch
        from torch.nn import functional

        from volforge.judging.judging_segmenter import DIVISOR

        table = np.zeros(max(int(labels.max()), *self.ids.values()) + 1, np.uint8)
        for k, i in enumerate(self.ids.values()):
            table[i] = k + 1
        classes = np.moveaxis(table[labels], 2, 0)
        planes = np.flatnonzero(classes.any(axis=(1, 2)))
        low, high = self.window
        values = np.moveaxis(image[:, :, planes], 2, 0).astype(np.float32)
        values = np.clip((values - low) / (high - low), 0, 1)
        size = [max(1, round(n * s / self.pitch_mm)) for n, s in zip(values.shape[1:], spacing, strict=False)]
        shown = torch.from_numpy(np.ascontiguousarray(values))[:, None]
        maps = torch.from_numpy(np.ascontiguousarray(classes[planes]))[:, None].float()
        shown = functional.interpolate(shown, size=size, mode="bilinear", antialias=True)
        maps = functional.interpolate(maps, size=size, mode="nearest-exact")
        room = [-n % DIVISOR for n in size]
        pad = ((0, 0), (0, room[0]), (0, room[1]))
        return Seen(np.pad(shown[:, 0].numpy(), pad), np.pad(maps[:, 0].numpy().astype(np.uint8), pad))


@dataclass(frozen=True)
class Judge:
    """A trained segmenter and how volumes are shown to it."""

    view: View
    network: nn.Module
    _ceilings: dict[bytes, dict[str, float]] = field(default_factory=dict, repr=False)

    def dice(self, seen: Seen) -> dict[str, float]:
        """Dice of every structure of a case over all its slices; NaN where the label map has none of it."""
        from volforge.judging.judging_segmenter import read_slices

        return dice_of(self.view, read_slices(self.network, seen.images), seen.labels)

    def ceiling(self, seen: Seen) -> dict[str, float]:
        """The same of a real image, which is read once for all samples of its label map."""
        content = hashlib.blake2b(seen.images.tobytes())
        content.update(seen.labels.tobytes())
        key = content.digest()
        if key not in self._ceilings:
            self._ceilings[key] = self.dice(seen)
        return self._ceilings[key]


def dice_of(view: View, found: Array, labels: Array) -> dict[str, float]:
    """Dice by structure of two class maps; NaN where the second has none of it."""
    by_structure = {}
    for k, key in enumerate(view.ids):
        counts = count(found == k + 1, labels == k + 1)
        by_structure[key] = counts.dice if counts.reference else math.nan
    return by_structure


def load_judge(settings: ArmSettings, weights: Path) -> Judge:
    """The segmenter of a study.

    Args:
        settings: Any arm of the study.
        weights: weights.safetensors beside model.json.

    Raises:
        VolforgeError: The weights are damaged or of other structures.
    """
    from volforge.judging.judging_segmenter import judging_segmenter

    about, view = read_json(weights.parent / "model.json"), View.of(settings)
    if about["sha256"] != sha256_of(weights) or about["structures"] != list(view.ids):
        raise VolforgeError(
            "the segmenter is damaged, or was trained for other structures", str(weights), "make it anew"
        )
    network = fill(judging_segmenter(view.classes), read_tensors(weights), weights)
    return Judge(view, network.eval())


def judge_case(judge: Judge, prediction: Array, reference: Array, labels: Array, spacing: Sequence[float]) -> list[
    Measure
]:  # fmt: skip
    """What the segmenter finds in a synthetic image, and in the real one: the ceiling.

    Args:
        judge: The segmenter.
        prediction, reference: (X, Y, Z) synthetic and real image.
        labels: (X, Y, Z) label map that both show.
        spacing: mm.

    Returns:
        `segmenter_dice` and `segmenter_real_dice` of every structure (`absent` where the map has none of it), and
        `segmenter_dice_ratio`: mean of the first over mean of the second.
    """
    made = judge.dice(judge.view(prediction, labels, spacing))
    real = judge.ceiling(judge.view(reference, labels, spacing))
    found = []
    for name, by_structure in ((READ, made), (OF_REAL, real)):
        for key, value in by_structure.items():
            found.append(nothing(name, "absent", key) if math.isnan(value) else Measure(name, value, key, "ok", 1))
    present = [k for k, v in made.items() if not math.isnan(v)]
    ceiling = float(np.mean([real[k] for k in present])) if present else 0.0
    if not ceiling > 0:
        return [*found, nothing(RATIO, "undefined", ALL, len(present))]
    ratio = float(np.mean([made[k] for k in present])) / ceiling
    return [*found, Measure(RATIO, ratio, ALL, "ok", len(present))]


def unjudged(settings: ArmSettings) -> list[Measure]:
    """The rows of `judge_case` for a case without an image."""
    names = [(m, p.key) for m in (READ, OF_REAL) for p in settings.structures]
    return [nothing(m, "missing_prediction", k) for m, k in [*names, (RATIO, ALL)]]


def train_judge(settings: ArmSettings, scans: Path, fold: int, seed: int, out: Path) -> str:
    """Train the segmenter of a study on real images of the target modality, of training subjects only.

    Args:
        settings: Any arm of the study.
        scans: scans.tsv of the cohort.
        fold: Fold whose subjects are left out, or 0 for the split `test`.
        seed: Of weights and drawing.
        out: Folder of the model: weights.safetensors, model.json.

    Returns:
        SHA-256 of the weights.

    Raises:
        VolforgeError: No training image of the target modality has a label map.
    """
    from volforge.judging.judging_segmenter import train_judging_segmenter, write_judging_segmenter

    cohort, view = Cohort(scans), View.of(settings)
    rows = of_modality(training_rows(settings, cohort, fold), settings.target)
    names = [r["scan"] for r in rows if cohort.has(r["scan"], "image") and cohort.has(r["scan"], "labels")]
    images: list[Array] = []
    labels: list[Array] = []
    for name in names:
        spacing = cohort.grid(name).spacing_mm
        seen = view(cohort.target_image(name), cohort.read(name, "labels"), spacing)
        images += list(seen.images)
        labels += list(seen.labels)
    if not images:
        raise VolforgeError(
            "no training image of the target modality has a label map for the judging segmenter to learn from",
            str(scans),
            "fill the sheet's column labels, or set the study's `metrics: {segmenter_steps: 0}`",
        )
    network, losses = train_judging_segmenter(images, labels, view.classes, settings.metrics["segmenter_steps"], seed)
    origin: dict[str, object] = {
        "study": settings.study,
        "fold": fold,
        "seed": seed,
        "steps": len(losses),
        "slices": len(images),
        "scans": names,
        "structures": list(view.ids),
        "pitch_mm": view.pitch_mm,
        "window_hu": list(view.window),
    }
    return write_judging_segmenter(out, network, origin, losses)
