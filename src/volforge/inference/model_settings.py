"""`<model>.train.json`: all that the training of one model reads, and what its `model.json` repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from volforge.volume.folders import form_of, read_json


@dataclass(frozen=True)
class Class:
    """One class of a model's label map.

    Attributes:
        structure: Structure or group, as tables name it.
        side: `left`, `right` or empty; empty too where one class serves both sides.
        ids: Id in the cohort's label maps by side; the key is empty where there is one.
    """

    structure: str
    side: str
    ids: Mapping[str, int]


@dataclass(frozen=True)
class ResolvedModel:
    """What the settings of a model of any task begin with.

    Attributes:
        study, arm, model, cohort: Where it belongs.
        by_fold: Test scans are those of a fold, not of the split `test`.
        kind: What it does, in a word of its task.
    """

    what: ClassVar[str] = "the settings of a model"

    study: str
    arm: str
    model: str
    cohort: str
    by_fold: bool
    kind: str

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """From plain values."""
        return cls(**content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `<model>.train.json`."""
        with form_of(path, cls.what):
            return cls.of(read_json(path))

    @property
    def place(self) -> str:
        """Where it belongs, for messages."""
        return f"{self.study}, {self.arm}/{self.model}"


def is_hounsfield(target: Mapping[str, str | None]) -> bool:
    """Whether images of these scans are in HU; those of MR are in percent of each scan's own window."""
    return target["modality"] != "MR"


def window_of(target: Mapping[str, str | None], recipe: Mapping[str, Any]) -> tuple[float, float]:
    """HU, or percent, that -1 and 1 stand for in the slices of a recipe."""
    if not is_hounsfield(target):
        return 0.0, 100.0
    return float(recipe["ct_window"]["low"]), float(recipe["ct_window"]["high"])


@dataclass(frozen=True)
class ModelSettings(ResolvedModel):
    """A model of segmentation as resolved.

    Attributes:
        kind: `structures` or `localiser`.
        classes: What it learns, in the order of its channels; the background comes before them.
        recipe: Name of the recipe.
        recipe_settings: The recipe.
        region: Box about the joints (`size`, `jitter_mm`, `mirror`, `ids` of the centre by side), or None.
        dilate_mm: The localiser's target is grown by this.
        network, loss: Name and keywords.
        training: As in the configuration.
        own: Hashes of the user's own files.
        task, entry: The task that it belongs to, and the place of what trained it.
    """

    classes: tuple[Class, ...]
    recipe: str
    recipe_settings: Mapping[str, Any]
    region: Mapping[str, Any] | None
    dilate_mm: float
    network: Mapping[str, Any]
    loss: Mapping[str, Any]
    training: Mapping[str, Any]
    own: str = ""
    task: str = ""
    entry: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """From plain values."""
        classes = tuple(Class(**c) for c in content["classes"])
        return cls(**{**content, "classes": classes})

    @property
    def channels(self) -> int:
        """Output channels of the network: the background and the classes; two for a localiser."""
        return 2 if self.kind == "localiser" else 1 + len(self.classes)

    @property
    def spacing_mm(self) -> list[float] | None:
        """Voxel size that the recipe asks for, None where it is the scan's own."""
        spacing = self.recipe_settings.get("spacing_mm")
        return list(spacing) if spacing is not None else None

    @property
    def sides(self) -> list[str]:
        """Sides that have a box of their own; one empty name where the whole region is seen."""
        return list(self.region["ids"]) if self.region is not None else [""]
