"""`<model>.train.json` of a generator: all that its training reads, and what its `model.json` repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from volforge.cohort.splits import rank
from volforge.errors import VolforgeError
from volforge.inference.model_settings import ResolvedModel, is_hounsfield, window_of
from volforge.study.cases import Row, free_rows, of_modality
from volforge.study.inner_split import inner_split
from volforge.volume.geometry import Array

EDGE_PERCENT = 5.0  # of the window of MR: value of the body's outline


@dataclass(frozen=True)
class Painted:
    """A structure that is painted.

    Attributes:
        structure, side: As tables name it.
        id: In the cohort's label maps.
        mirrored: Id of the same structure of the other side; its own where there is none.
    """

    structure: str
    side: str
    id: int
    mirrored: int


@dataclass(frozen=True)
class SynthesisSettings(ResolvedModel):
    """A generator as resolved.

    Attributes:
        kind: `synthesis`.
        classes: What it paints, in the order of its channels; the background comes before them.
        recipe, recipe_settings: The slices.
        source, target: Modality and contrast of the label maps and of the images.
        network: The generator.
        synthesis: Mode, segmenter, discriminator, losses.
        training: As in the configuration.
        own: Hashes of the user's own files.
        task, entry: The task that it belongs to, and the place of what trained it.
    """

    what: ClassVar[str] = "the settings of a generator"

    classes: tuple[Painted, ...]
    recipe: str
    recipe_settings: Mapping[str, Any]
    source: Mapping[str, str | None]
    target: Mapping[str, str | None]
    network: Mapping[str, Any]
    synthesis: Mapping[str, Any]
    training: Mapping[str, Any]
    own: str = ""
    task: str = ""
    entry: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """From plain values."""
        return cls(**{**content, "classes": tuple(Painted(**c) for c in content["classes"])})

    @property
    def channels(self) -> int:
        """Classes of its label maps: the background and what it paints."""
        return 1 + len(self.classes)

    @property
    def class_of(self) -> Array:
        """Class by id, (65536,) uint8."""
        table = np.zeros(65536, np.uint8)
        for k, c in enumerate(self.classes):
            table[c.id] = k + 1
        return table

    def channels_of(self, structures: Sequence[str]) -> list[int]:
        """Classes of structures, both sides where there are two."""
        return [k + 1 for k, c in enumerate(self.classes) if c.structure in structures]

    @property
    def mirrored(self) -> list[int]:
        """Class of the other side by class."""
        by_id = self.class_of
        return [0, *(int(by_id[c.mirrored]) for c in self.classes)]

    @property
    def is_hounsfield(self) -> bool:
        """Whether images are in HU; those of MR are in percent of each scan's own window."""
        return is_hounsfield(self.target)

    @property
    def window(self) -> tuple[float, float]:
        """HU, or percent, that -1 and 1 stand for."""
        return window_of(self.target, self.recipe_settings)

    @property
    def edge(self) -> float:
        """Image value of the body's outline, from -1 to 1."""
        low, high = self.window
        wanted = float(self.synthesis["edge_hu"]) if self.is_hounsfield else EDGE_PERCENT
        return 2 * (wanted - low) / (high - low) - 1


@dataclass(frozen=True)
class Domains:
    """Scans that a generator learns from.

    Attributes:
        labelled: Whose label maps are painted.
        images: Whose images show what real ones look like; empty with `paired`.
        pairs: With `semi`, scans whose images and label maps are shown together.
        judged: Validation scans with both.
    """

    labelled: list[Row]
    images: list[Row]
    pairs: list[Row]
    judged: list[Row]

    @property
    def subjects(self) -> dict[str, list[str]]:
        """Subjects by part."""
        parts = {"labelled": self.labelled, "images": self.images, "pairs": self.pairs, "validation": self.judged}
        return {name: sorted({r["subject"] for r in rows}) for name, rows in parts.items()}


def domains(
    settings: SynthesisSettings,
    rows: Sequence[Row],
    fold: int,
    holds: Callable[[Row, str], bool] = lambda row, part: True,
) -> Domains:
    """Deal the scans that are not tested to label maps, images, pairs and validation.

    In `unpaired` and `semi` no subject gives both a label map and an image, pairs apart: subjects that could give both
    are ranked by a hash and dealt in turn.

    Args:
        settings: The generator.
        rows: Accepted scans of the cohort.
        fold: Fold that is tested (0 for the split `test`).
        holds: Whether the recipe's cut of a scan has `image` or `labels`. What a scan lacks it cannot give, and no
            number counts it.

    Raises:
        VolforgeError: Fewer subjects have image and labels than `pairs` asks for.
    """
    free = free_rows(rows, settings.by_fold, fold)
    mode = settings.synthesis["mode"]

    def have(part: list[Row], *wanted: str) -> list[Row]:
        return [r for r in part if all(holds(r, name) for name in wanted)]

    both = have(of_modality(free, settings.target), "image", "labels")
    # judges need both: of scans that lack one a validation would be held back for nothing
    among = {r["subject"] for r in both}
    able = [r for r in free if r["subject"] in among] or free
    subjects, chosen = inner_split(able, settings.by_fold, float(settings.training["validation"]))
    subjects |= {r["subject"] for r in free if settings.by_fold or r["split"] == "train"} - among
    learnt = [r for r in free if r["subject"] in subjects]
    judged = have(of_modality([r for r in free if r["subject"] in chosen], settings.target), "image", "labels")
    targets = have(of_modality(learnt, settings.target), "image", "labels")
    if mode == "paired":
        return Domains(targets, [], [], judged)
    pairs: list[Row] = []
    if mode == "semi":
        count = int(settings.synthesis["pairs"])
        found = rank({r["subject"] for r in targets}, 0, "pairs")
        if len(found) < count:
            text = f"pairs of {count} subjects are asked for, {len(found)} have image and labels"
            raise VolforgeError(text, f"{settings.study}, {settings.arm}/{settings.model}", "lower `pairs`")
        wanted = set(found[:count])
        pairs = [r for r in targets if r["subject"] in wanted]
        learnt = [r for r in learnt if r["subject"] not in wanted]
    labelled = have(of_modality(learnt, settings.source), "labels")
    images = have(of_modality(learnt, settings.target), "image")
    dealt = rank({r["subject"] for r in labelled} & {r["subject"] for r in images}, 0, "domains")
    for_labels, for_images = set(dealt[0::2]), set(dealt[1::2])
    return Domains(
        [r for r in labelled if r["subject"] not in for_images],
        [r for r in images if r["subject"] not in for_labels],
        pairs,
        judged,
    )
