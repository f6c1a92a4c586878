"""`<model>.train.json` of a model of translation: all that its training reads, and what its `model.json` repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volforge.volume.folders import form_of, read_json

KIND = "translation"
EXTRACTOR = "shape_extractor"


@dataclass(frozen=True)
class TranslationSettings:
    """A model as resolved.

    Attributes:
        study, arm, model, cohort: Where it belongs.
        by_fold: Test scans are those of a fold, not of the split `test`.
        kind: `translation`, or `shape_extractor`.
        recipe, recipe_settings: The slices; their axis is the view.
        source, target: Modality and contrast.
        also: Further contrasts of the source's frame.
        context: Neighbouring slices on each side that the network sees.
        network: Name and keywords.
        translation: Method, losses, painting; see `volforge.tasks.translation.options`.
        training: As in the configuration.
        needs: Models that it reads.
        own: Hashes of the user's own files.
        task, entry: The task that it belongs to, and the place of what trained it.
    """

    study: str
    arm: str
    model: str
    cohort: str
    by_fold: bool
    kind: str
    recipe: str
    recipe_settings: Mapping[str, Any]
    source: Mapping[str, str | None]
    target: Mapping[str, str | None]
    also: tuple[str, ...]
    context: int
    network: Mapping[str, Any]
    translation: Mapping[str, Any]
    training: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    own: str = ""
    task: str = ""
    entry: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> TranslationSettings:
        """From plain values."""
        return cls(**{**content, "also": tuple(content["also"]), "needs": tuple(content.get("needs") or ())})

    @classmethod
    def load(cls, path: Path) -> TranslationSettings:
        """Read `<model>.train.json`."""
        with form_of(path, "the settings of a model of translation"):
            return cls.of(read_json(path))

    @property
    def place(self) -> str:
        """Where it belongs, for messages."""
        return f"{self.study}, {self.arm}/{self.model}"

    @property
    def method(self) -> str:
        """How it learns."""
        return str(self.translation["method"])

    @property
    def slices(self) -> int:
        """Neighbouring slices that it sees at a time."""
        return 2 * self.context + 1

    @property
    def channels(self) -> int:
        """Channels of the network's input, contrast by contrast, each with its slices from below upwards."""
        return (1 + len(self.also)) * self.slices

    @property
    def view(self) -> str:
        """Axis of its slices: axial, coronal or sagittal."""
        return str(self.recipe_settings["axis"])

    @property
    def is_hounsfield(self) -> bool:
        """Whether images are in HU; those of MR are in percent of each scan's own window."""
        return self.target["modality"] != "MR"

    @property
    def window(self) -> tuple[float, float]:
        """HU, or percent, that -1 and 1 stand for."""
        if not self.is_hounsfield:
            return 0.0, 100.0
        window = self.recipe_settings["ct_window"]
        return float(window["low"]), float(window["high"])
