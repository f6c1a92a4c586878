"""A run as resolved: configuration, sheets and structures together, with every problem found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volforge.cohort.sheet import from_here, read_sheet
from volforge.config.models import Cohort, RegionRecipe
from volforge.errors import Problem, ProblemsError, VolforgeError, errors_of
from volforge.tables.structures import Structure, read_structures
from volforge.tasks.resolved import ResolvedCohort, ResolvedStudy
from volforge.weights import REGISTRY, cached
from volforge.workflow.configuration import Configuration
from volforge.workflow.load import Loaded, load_configuration
from volforge.workflow.studies import resolve_studies


@dataclass
class Run:
    """All that a run is made of."""

    configuration: Configuration
    cohorts: dict[str, ResolvedCohort]
    studies: dict[str, ResolvedStudy] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def recipes_of(self, cohort: str) -> list[str]:
        """Recipes that are cut of a cohort: those that it names, and those of the models of its studies."""
        found = list(self.cohorts[cohort].settings.recipes)
        for study in self.studies.values():
            if study.cohort.name == cohort:
                found += [study.models_of(a)[m].recipe or "" for a, m in study.trained()]
        return list(dict.fromkeys(filter(None, found)))


def load_run(
    files: Sequence[str | Path],
    values: Mapping[str, Any] | None = None,
    *,
    check_files: bool = True,
    phantoms: Path = Path("results/phantoms"),
) -> Run:
    """Load a configuration with its sheets.

    Args:
        files: Configuration files.
        values: Merged values, where Snakemake has merged them.
        check_files: Look whether the files of the sheets exist (not needed again in every job).
        phantoms: Folder that phantom cohorts are made in.

    Raises:
        ProblemsError: naming all errors of configuration, sheets and structures at once.
    """
    loaded, cohorts, studies = resolve(files, values, check_files=check_files, phantoms=phantoms)
    if errors_of(loaded.problems) or loaded.configuration is None:
        raise ProblemsError(loaded.problems)
    return Run(loaded.configuration, cohorts, studies, _weights(loaded), _published(loaded), loaded.problems)


def resolve(
    files: Sequence[str | Path],
    values: Mapping[str, Any] | None = None,
    *,
    check_files: bool = True,
    phantoms: Path = Path("results/phantoms"),
) -> tuple[Loaded, dict[str, ResolvedCohort], dict[str, ResolvedStudy]]:
    """Load and check everything; problems are collected, not raised.

    Sheets are read even where other parts of the configuration are wrong, as far as their cohort is whole.
    """
    loaded = load_configuration(files, values)
    cohorts: dict[str, ResolvedCohort] = {}
    raw = loaded.values.get("cohorts")
    for name, content in raw.items() if isinstance(raw, Mapping) else []:
        settings = _cohort_settings(loaded, name, content) if isinstance(name, str) else None
        if settings is not None:
            cohorts[name] = _resolve_cohort(loaded, name, settings, check_files, phantoms / name)
    studies: dict[str, ResolvedStudy] = {}
    if loaded.configuration is not None:
        loaded.problems += [*_check_regions(loaded, cohorts), *_check_balls(loaded, cohorts)]
        studies = resolve_studies(loaded, cohorts, check_files=check_files)
        if check_files:
            loaded.problems += _check_published(loaded)
        if errors_of(loaded.problems):
            loaded.configuration = None
    return loaded, cohorts, studies


def _published(loaded: Loaded) -> list[str]:
    """Tables of published numbers that the page shows whole."""
    assert loaded.configuration is not None
    named = loaded.configuration.report.published
    return [str(from_here(loaded.folder_of(("report", "published", i)) / p)) for i, p in enumerate(named)]


def _check_published(loaded: Loaded) -> list[Problem]:
    from volforge.report.published import read_published

    problems = []
    for i, path in enumerate(_published(loaded)):
        try:
            read_published(Path(path))
        except VolforgeError as error:
            problems.append(loaded.problem(("report", "published", i), error.message, error.remedy, path))
    return problems


def _weights(loaded: Loaded) -> dict[str, str]:
    """Paths of public weights by name, as the configuration gives them."""
    assert loaded.configuration is not None
    given = loaded.configuration.weights.model_dump(exclude_none=True)
    named = {n: str(from_here(loaded.folder_of(("weights", n)) / Path(p).expanduser())) for n, p in given.items()}
    # fetched ones are named too: a run made before they were there is measured again
    return {n: str(cached(n)) for n in REGISTRY if cached(n).exists()} | named


def _cohort_settings(loaded: Loaded, name: str, content: Any) -> Cohort | None:
    if loaded.configuration is not None:
        return loaded.configuration.cohorts[name]
    if not isinstance(content, Mapping) or not isinstance(content.get("sheet"), str):
        return None
    from pydantic import ValidationError

    try:
        return Cohort.model_validate(content)
    except ValidationError:  # already reported with its place
        return None


def _resolve_cohort(
    loaded: Loaded, name: str, settings: Cohort, check_files: bool, phantom_folder: Path
) -> ResolvedCohort:
    keys = ("cohorts", name)
    sheet = Path(from_here(loaded.folder_of((*keys, "sheet")) / settings.sheet))
    root: Path | None = None
    if settings.phantom is not None:
        root = phantom_folder
    elif settings.root is not None:
        root = loaded.folder_of((*keys, "root")) / Path(settings.root).expanduser()
        if check_files and not os.path.isdir(root):  # noqa: PTH112 (Path.is_dir raises for a name too long)
            loaded.problems.append(loaded.problem((*keys, "root"), "folder not found", "check the path", settings.root))
            check_files = False  # said once, and not of every file below it
    table = read_sheet(
        sheet,
        root=root,
        check_files=check_files and settings.phantom is None,
        missing_is_error=settings.on_bad_scan == "stop",
        has_labels_command=settings.labels_command is not None,
    )
    loaded.problems += table.problems
    structures: list[Structure] = []
    beside = sheet.parent / f"{sheet.name.rsplit('.', 1)[0]}.structures.tsv"
    path = loaded.folder_of((*keys, "structures")) / settings.structures if settings.structures else beside
    if settings.structures or os.path.exists(path):
        structures, problems = read_structures(path)
        loaded.problems += problems
    elif any("labels" in r.files and os.path.isdir(r.files["labels"]) for r in table.rows):  # noqa: PTH112
        loaded.problems.append(
            Problem(
                str(sheet),
                0,
                "labels",
                "",
                "labels are folders of structures, and there is no table of structures",
                f"write {beside} with the columns structure and id",
            )
        )
    for row in table.rows:
        if row.fold is not None and row.fold >= settings.folds:
            remedy = f"use 0 to {settings.folds - 1}, or raise the cohort's `folds`"
            text = f"the cohort has {settings.folds} folds: this subject would never be tested"
            loaded.problems.append(Problem(str(sheet), row.line, "fold", str(row.fold), text, remedy))
    rows = {r.scan: r for r in table.rows}
    return ResolvedCohort(name, settings, sheet, rows, structures, table.comments)


def _check_balls(loaded: Loaded, cohorts: Mapping[str, ResolvedCohort]) -> Iterator[Problem]:
    """Balls over joints need a left and a right condyle, and a left and a right name of their own."""
    for cohort in cohorts.values():
        balls = cohort.settings.balls
        for key in ("condyle", "structure") if balls is not None else ():
            group = getattr(balls, key)
            if {s.side for s in cohort.structures if s.group == group} < {"left", "right"}:
                text = f"the table of structures has no group '{group}' with a left and a right one"
                remedy = "add two rows with this `group` and the sides left and right"
                yield loaded.problem(("cohorts", cohort.name, "balls", key), text, remedy, group)


def _check_regions(loaded: Loaded, cohorts: Mapping[str, ResolvedCohort]) -> list[Problem]:
    """Structures that a region lies around must be structures of every cohort that it cuts."""
    problems = []
    assert loaded.configuration is not None
    for name, recipe in loaded.configuration.recipes.items():
        if not isinstance(recipe, RegionRecipe) or isinstance(recipe.around, str):
            continue
        for cohort in cohorts.values():
            if name in cohort.settings.recipes:
                known = [s.structure for s in cohort.structures]
                missing = [s for s in recipe.around if s not in known]
                if missing:
                    problems.append(
                        loaded.problem(
                            ("recipes", name, "around"),
                            f"cohort '{cohort.name}' has no structure {', '.join(missing)}",
                            f"its structures: {', '.join(known) or 'none'}",
                        )
                    )
    return problems
