"""Cohorts and studies as resolved: plain data, from the configuration and the files that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.config.models import Cohort
from volforge.config.studies import SHARED, Study
from volforge.config.training import ModelOptions, Training, resolve

if TYPE_CHECKING:
    from volforge.cohort.sheet import SheetRow
    from volforge.tables.structures import Structure
    from volforge.tasks.protocol import Task


@dataclass(frozen=True)
class ResolvedCohort:
    """A cohort with what its files say.

    Attributes:
        name: Key in the configuration.
        settings: Its settings.
        sheet: Path of the sheet.
        rows: Its scans, by scan name.
        structures: Its table of structures, empty where there is none.
        comments: Lines at the head of the sheet (licence, origin).
    """

    name: str
    settings: Cohort
    sheet: Path
    rows: dict[str, SheetRow]
    structures: list[Structure]
    comments: list[str]

    def ids_of(self, group: str, side: str | None = None) -> list[int]:
        """Ids of the structures of a name or group, of one side or of any."""
        return [s.id for s in self.structures if group in (s.group, s.structure) and side in (None, s.side)]


@dataclass(frozen=True)
class ResolvedStudy:
    """A study with its cohort.

    Attributes:
        name: Key in the configuration.
        task: What its arms solve.
        settings: Its settings.
        cohort: Its cohort.
        published: Path of the table of published numbers, empty where there is none.
        predictions: Folder of outside predictions by arm.
        recipes: Recipes of the run by name, as plain values.
    """

    name: str
    task: Task
    settings: Study
    cohort: ResolvedCohort
    published: str
    predictions: Mapping[str, str]
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folds(self) -> list[int]:
        """Folds of the result paths: those tested, or 0 for the split `test`."""
        return list(self.settings.folds) or [0]

    def parts(self) -> Iterator[tuple[str, int, int]]:
        """Arm, fold and seed of everything that is predicted. What draws nothing has the first seed only."""
        for name, arm in self.settings.arms.items():
            seeds = self.settings.seeds if self.task.is_drawn(arm) else self.settings.seeds[:1]
            for fold in self.folds:
                for seed in seeds:
                    yield name, fold, seed

    def arms_with_models(self) -> tuple[str, ...]:
        """`shared` and all arms."""
        return (SHARED, *self.settings.arms)

    def models_of(self, arm: str) -> dict[str, ModelOptions]:
        """Models of an arm, or of `shared`, with the study's defaults in them."""
        own = self.settings.shared if arm == SHARED else self.settings.arms[arm].models
        return {name: resolve(options, self.settings.defaults) for name, options in own.items()}

    def trained(self) -> Iterator[tuple[str, str]]:
        """Arm and model of everything that is trained, `shared` first."""
        for arm in self.arms_with_models():
            for model in self.models_of(arm):
                yield arm, model

    def training_of(self, arm: str, model: str) -> Training:
        """How a model is trained."""
        return self.models_of(arm)[model].training or Training()

    def model_keys(self, arm: str, model: str) -> tuple[str, ...]:
        """Where a model stands in the configuration."""
        where = ("shared",) if arm == SHARED else ("arms", arm, "models")
        return ("studies", self.name, *where, model)

    def structures(self) -> list[dict[str, Any]]:
        """What is measured: structure (or group), side, and id in label maps."""
        return self.task.structures(self)

    def learnable(self) -> list[dict[str, Any]]:
        """What its models learn: what is measured, and what some of them name beside it."""
        models = [m for a in self.settings.arms.values() for m in a.models.values()]
        more = [
            n for m in [*models, *self.settings.shared.values(), self.settings.defaults] for n in m.structures or []
        ]
        wanted = self.settings.structures
        return self.named(list(dict.fromkeys([*wanted, *more]))) if wanted else self.structures()

    def labelled(self) -> list[dict[str, Any]]:
        """All structures of the cohort, whatever is measured."""
        return self.named([])

    def named(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        """Structures of these names or groups; of none: all of the cohort's table."""
        found = []
        for s in self.cohort.structures:
            if not wanted or s.structure in wanted:
                named = (s.structure, "") if s.structure in wanted or not s.group or not s.side else (s.group, s.side)
            elif s.group in wanted:
                named = (s.group, s.side)
            else:
                continue
            found.append({"structure": named[0], "side": named[1], "id": s.id})
        balls = self.cohort.settings.balls
        if balls is not None:  # made by the import, not drawn by the source of the other labels
            made = {"label_source": "derived"}
            found = [{**f, **made} if f["structure"] == balls.structure else f for f in found]
        names = [(f["structure"], f["side"]) for f in found]
        by_id: dict[Any, str] = {s.id: s.structure for s in self.cohort.structures}
        # several structures of one group and side (vertebrae, ribs) keep names of their own
        return [
            f if names.count((f["structure"], f["side"])) == 1 else {**f, "structure": by_id[f["id"]], "side": ""}
            for f in found
        ]

    def by_side(self) -> dict[str, dict[str, int]]:
        """Id by side of every structure that is learnt and has sides."""
        found: dict[str, dict[str, int]] = {}
        for s in self.learnable():
            if s["side"]:
                found.setdefault(s["structure"], {})[s["side"]] = s["id"]
        return found
