"""Studies as resolved, and what is wrong with them before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from volforge import components
from volforge.cohort.sheet import from_here
from volforge.config.studies import SHARED
from volforge.config.training import resolve
from volforge.errors import Problem, VolforgeError
from volforge.tasks import registry
from volforge.tasks.resolved import ResolvedCohort, ResolvedStudy
from volforge.workflow import needs, study_folds
from volforge.workflow.code_hash import code_hash
from volforge.workflow.load import Loaded


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
        resolved = ResolvedStudy(name, registry.task(study.task), study, cohort, published, predictions, recipes)
        unfit = list(_unfit_models(loaded, resolved))
        loaded.problems += unfit
        if unfit:
            continue
        try:
            loaded.problems += _problems(loaded, resolved, check_files)
        except VolforgeError:
            raise
        except Exception as error:
            if ".py:" not in study.task:  # ours is a fault of ours
                raise
            text = f"its description fails: {type(error).__name__}: {error}"
            loaded.problems.append(loaded.problem((*keys, "task"), text, "mend the file", study.task))
            continue
        if check_files:  # of a whole run, not again in each of its jobs
            loaded.problems += study_folds.problems(loaded, resolved)
        found[name] = resolved
    loaded.problems += needs.problems(loaded, found)
    return found


def _unfit_models(loaded: Loaded, study: ResolvedStudy) -> Iterator[Problem]:
    """Models whose keys do not fit together once the defaults are in them."""
    own = {SHARED: study.settings.shared, **{n: a.models for n, a in study.settings.arms.items()}}
    for arm, models in own.items():
        for name, options in models.items():
            try:
                resolve(options, study.settings.defaults)
            except ValidationError as error:
                for e in error.errors(include_url=False):
                    keys = (*study.model_keys(arm, name), *map(str, e["loc"]))
                    yield loaded.problem(keys, e["msg"].removeprefix("Value error, "), "look at `defaults` too")


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
    yield from resolved.task.problems(loaded, resolved)
    yield from _of_arms(loaded, resolved)
    for arm, model in resolved.trained():
        yield from resolved.task.problems_of_model(loaded, resolved, arm, model)
        key, fault = resolved.training_of(arm, model).wrong()
        if fault:
            yield loaded.problem((*resolved.model_keys(arm, model), "training", key), fault, "see docs/training.md")
        yield from _of_components(loaded, resolved, arm, model)
    if not check_files:
        return
    yield from _of_entries(loaded, resolved)
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


def _of_arms(loaded: Loaded, study: ResolvedStudy) -> Iterator[Problem]:
    """Baselines of the task, and models where it trains some."""
    task = study.task
    for name, arm in study.settings.arms.items():
        keys = ("studies", study.name, "arms", name)
        if arm.baseline is not None and arm.baseline not in task.baselines:
            near = difflib.get_close_matches(arm.baseline, list(task.baselines), n=1)
            known = f"baselines of the task: {', '.join(task.baselines) or 'none'}"
            remedy = f"did you mean '{near[0]}'?" if near else known
            yield loaded.problem((*keys, "baseline"), f"is not one of the task {task.name}", remedy, arm.baseline)
        if arm.models and not task.train:
            remedy = f"baselines of the task: {', '.join(task.baselines) or 'none'}"
            yield loaded.problem((*keys, "models"), f"the task {task.name} trains no models yet", remedy)
    if study.settings.shared and not task.train:
        place = ("studies", study.name, "shared")
        yield loaded.problem(place, f"the task {task.name} trains no models yet", "leave it out")


def _of_components(loaded: Loaded, study: ResolvedStudy, arm: str, model: str) -> Iterator[Problem]:
    """Networks and losses that there are, with keywords that they take."""
    keys = study.model_keys(arm, model)
    for kind, key, spec in study.task.components(study, arm, model):
        own = (*keys, *key)
        defaults = ("studies", study.name, "defaults", *key)
        place = own if own in loaded.places else defaults if defaults in loaded.places else keys
        for message, remedy in components.check(kind, spec):  # type: ignore[arg-type]
            yield loaded.problem(place, message, remedy, spec["name"])


def _of_entries(loaded: Loaded, study: ResolvedStudy) -> Iterator[Problem]:
    """Functions that a task of the user's own file names."""
    task = study.task
    if ".py:" not in task.name:
        return
    keys = ("studies", study.name, "task")
    for name in ("predict", "measure"):
        if not getattr(task, name):
            yield loaded.problem(keys, f"it has no entry `{name}`", "say `:function` of the file", task.name)
    for place in filter(None, (task.train, task.predict, task.measure, *task.baselines.values())):
        try:
            code_hash(place)
        except (VolforgeError, LookupError, ImportError, ValueError) as error:
            yield loaded.problem(keys, f"its entry {place}: {error}", "mend the file", task.name)
