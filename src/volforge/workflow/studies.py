"""Studies as resolved: what the jobs of an arm are told, and what is wrong before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.cohort.sheet import from_here
from volforge.config.studies import BASELINES, SHARED, Arm, Study
from volforge.errors import Problem, VolforgeError
from volforge.tasks.negative_volume import checks as study_joints
from volforge.tasks.segmentation import checks as study_models
from volforge.workflow import study_folds
from volforge.workflow.load import Loaded

if TYPE_CHECKING:
    from volforge.workflow.run import ResolvedCohort

IMAGE_TASKS = ("semantic_synthesis", "translation")


@dataclass(frozen=True)
class ResolvedStudy:
    """A study with its cohort.

    Attributes:
        name: Key in the configuration.
        settings: Its settings.
        cohort: Its cohort.
        published: Path of the table of published numbers, empty where there is none.
        predictions: Folder of outside predictions by arm.
        recipes: Recipes of the run by name, as plain values.
    """

    name: str
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
            seeds = self.settings.seeds if is_drawn(arm) else self.settings.seeds[:1]
            for fold in self.folds:
                for seed in seeds:
                    yield name, fold, seed

    def structures(self) -> list[dict[str, Any]]:
        """What is measured: structure (or group), side, and id in label maps."""
        if self.settings.task == "implant":
            return [{"structure": "implant", "side": "", "id": 1}]
        return self._named(self.settings.structures)

    def learnable(self) -> list[dict[str, Any]]:
        """What its models learn: what is measured, and what some of them name beside it."""
        models = [m for a in self.settings.arms.values() for m in a.models.values()]
        more = [
            n for m in [*models, *self.settings.shared.values(), self.settings.defaults] for n in m.structures or []
        ]
        wanted = self.settings.structures
        return self._named(list(dict.fromkeys([*wanted, *more]))) if wanted else self.structures()

    def labelled(self) -> list[dict[str, Any]]:
        """All structures of the cohort, whatever is measured."""
        return self._named([])

    def _named(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
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

    @property
    def has_distribution(self) -> bool:
        """Whether slices are compared as sets."""
        return self.settings.task in IMAGE_TASKS and self.settings.metrics.distribution

    @property
    def has_segmenter(self) -> bool:
        """Whether a segmenter of real images reads the synthetic ones."""
        return self.settings.task == "semantic_synthesis" and self.settings.metrics.segmenter_steps > 0

    def measure_settings(self, arm: str, weights: Mapping[str, str]) -> str:
        """`settings.json` of an arm: all that measuring reads, as one line of JSON."""
        study = self.settings
        return self._settings(arm, self._metrics(), study.cases, weights if self.has_distribution else {})

    def predict_settings(self, arm: str) -> str:
        """`predict.json` of an arm: what its predictions depend on, and nothing that only measuring reads."""
        return self._settings(arm, {}, 0, {})

    def encoder_settings(self) -> str:
        """What the encoder of the Fréchet distance is trained by; no arm has a part in it."""
        own = ("window_hu", "encoder_steps", *(("segmenter_steps", "segmenter_mm") if self.has_segmenter else ()))
        return self._settings(SHARED, {k: v for k, v in self._metrics().items() if k in own}, 0, {})

    def _metrics(self) -> dict[str, Any]:
        """Which numbers; those of MR are percent of a scan's own window."""
        metrics = self.settings.metrics.model_dump()
        if self.settings.task in IMAGE_TASKS and self.settings.target.modality == "MR":
            metrics |= {"range_hu": [0.0, 100.0], "window_hu": [0.0, 100.0]}
        return metrics

    def _settings(self, arm: str, metrics: Mapping[str, Any], cases: int, weights: Mapping[str, str]) -> str:
        study = self.settings
        chosen = study.arms.get(arm) or Arm(baseline=BASELINES[study.task][0])  # the encoder's: of no arm
        content = {
            "study": self.name,
            "arm": arm,
            "task": study.task,
            "cohort": self.cohort.name,
            "by_fold": bool(study.folds),
            "structures": self.structures(),
            "source": study.source.model_dump(),
            "target": study.target.model_dump(),
            "metrics": dict(metrics),
            "cases": cases,
            "predictions": self.predictions.get(arm, ""),
            "weights": dict(weights),
            **chosen.model_dump(include={"baseline", "threshold_hu", "constant_hu", "closing_mm"}),
        }
        if chosen.models:
            content["inference"] = study_models.inference(self, arm)
        if chosen.inflation is not None:
            content["joint"] = study_joints.joint_content(self, arm)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    def table_settings(self) -> str:
        """What the study's table reads of the configuration, as one line of JSON."""
        arms = {
            name: {
                "kind": _kind(arm),
                "published_as": arm.published_as or name,
                "note": arm.note,
            }
            for name, arm in self.settings.arms.items()
        }
        published = self.settings.published
        content = {
            "study": self.name,
            "task": self.settings.task,
            "cohort": self.cohort.name,
            "arms": arms,
            "parts": [list(p) for p in self.parts()],
            "published": None if published is None else {**published.model_dump(), "table": self.published},
        }
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def is_drawn(arm: Arm) -> bool:
    """Whether another seed gives another result."""
    return bool(arm.models) or study_joints.labels_source(arm) is not None


def _kind(arm: Arm) -> str:
    if arm.inflation is not None:
        return "shapes"
    if arm.baseline == "real":
        return "ceiling"
    return "baseline" if arm.baseline else "model" if arm.models else "predictions"


def resolve_studies(
    loaded: Loaded, cohorts: Mapping[str, ResolvedCohort], *, check_files: bool
) -> dict[str, ResolvedStudy]:
    """Studies with their cohorts; what is wrong is added to the problems of what was loaded."""
    assert loaded.configuration is not None
    found = {}
    for name, study in loaded.configuration.studies.items():
        keys = ("studies", name)
        if study.cohort not in cohorts:
            near = difflib.get_close_matches(study.cohort, list(cohorts), n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"defined: {', '.join(cohorts) or 'none'}"
            loaded.problems.append(loaded.problem((*keys, "cohort"), "cohort is not defined", remedy, study.cohort))
            continue
        cohort = cohorts[study.cohort]
        published = ""
        if study.published is not None:
            folder = loaded.folder_of((*keys, "published", "table"))
            published = str(from_here(folder / study.published.table))
        predictions = {
            a: str(from_here(loaded.folder_of((*keys, "arms", a, "predictions")) / Path(arm.predictions).expanduser()))
            for a, arm in study.arms.items()
            if arm.predictions is not None
        }
        recipes = {n: r.model_dump() for n, r in loaded.configuration.recipes.items()}
        resolved = ResolvedStudy(name, study, cohort, published, predictions, recipes)
        loaded.problems += [*_problems(loaded, resolved, check_files), *study_models.problems(loaded, resolved)]
        if check_files:  # of a whole run, not again in each of its jobs
            loaded.problems += study_folds.problems(loaded, resolved)
        found[name] = resolved
    for resolved in found.values():
        loaded.problems += study_joints.problems(loaded, resolved, found)
    return found


def _problems(loaded: Loaded, resolved: ResolvedStudy, check_files: bool) -> Iterator[Problem]:
    study, cohort, keys = resolved.settings, resolved.cohort, ("studies", resolved.name)
    for i, fold in enumerate(study.folds):
        if fold >= cohort.settings.folds:
            remedy = f"use 0 to {cohort.settings.folds - 1}, or raise the cohort's `folds`"
            yield loaded.problem((*keys, "folds", i), f"cohort '{cohort.name}' has no such fold", remedy, fold)
    known = sorted({s.structure for s in cohort.structures} | {s.group for s in cohort.structures if s.group})
    for i, name in enumerate(study.structures):
        if name not in known:
            remedy = f"structures and groups: {', '.join(known) or 'none'}"
            text = f"cohort '{cohort.name}' has no such structure or group"
            yield loaded.problem((*keys, "structures", i), text, remedy, name)
    needs_labels = study.task in ("segmentation", "negative_volume", "semantic_synthesis")
    if needs_labels and not cohort.structures:
        yield loaded.problem(
            (*keys, "cohort"),
            f"the task needs labels, and cohort '{cohort.name}' has no table of structures",
            "write <sheet>.structures.tsv with the columns structure and id",
            cohort.name,
        )
    if study.task == "implant" and not any({"defective", "implant"} <= set(r.files) for r in cohort.rows.values()):
        text = f"no scan of cohort '{cohort.name}' has both `defective` and `implant`"
        yield loaded.problem((*keys, "cohort"), text, "fill these columns of the sheet", cohort.name)
    if study.task in IMAGE_TASKS:
        wanted = {"target": study.target} | ({"source": study.source} if study.task == "translation" else {})
        for part, choice in wanted.items():
            if not any(r.modality == choice.modality for r in cohort.rows.values()):
                text = f"cohort '{cohort.name}' has no scan of this modality"
                yield loaded.problem((*keys, part), text, "change the modality or the cohort", choice.modality)
    if not check_files:
        return
    if study.published is not None:
        from volforge.report.published import read_published

        try:
            table = read_published(Path(resolved.published))
            named = study.published.study or study.task
            if not any(p.study == named for p in table.numbers):
                held = ", ".join(dict.fromkeys(p.study for p in table.numbers))
                yield loaded.problem(
                    (*keys, "published"), f"no number of the table is of '{named}'", f"use one of {held}"
                )
        except VolforgeError as error:
            yield loaded.problem((*keys, "published", "table"), error.message, error.remedy, study.published.table)
    for arm, folder in resolved.predictions.items():
        if not Path(folder).is_dir():
            yield loaded.problem((*keys, "arms", arm, "predictions"), "folder not found", "check the path", folder)
