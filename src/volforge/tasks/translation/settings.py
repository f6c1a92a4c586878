"""`<model>.train.json` of a model of translation: all that its training reads, and what its `model.json` repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from volforge.inference.model_settings import ResolvedModel, is_hounsfield, window_of

KIND = "translation"
EXTRACTOR = "shape_extractor"


@dataclass(frozen=True)
class TranslationSettings(ResolvedModel):
    """A model as resolved.

    Attributes:
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

    what: ClassVar[str] = "the settings of a model of translation"

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
    def of(cls, content: Mapping[str, Any]) -> Self:
        """From plain values."""
        return cls(**{**content, "also": tuple(content["also"]), "needs": tuple(content.get("needs") or ())})

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
        return is_hounsfield(self.target)

    @property
    def window(self) -> tuple[float, float]:
        """HU, or percent, that -1 and 1 stand for."""
        return window_of(self.target, self.recipe_settings)
