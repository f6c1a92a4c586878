"""Folds and splits that leave a study nothing to test, or nothing to learn from: said before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volforge.cohort.sheet import SheetRow
from volforge.cohort.splits import Assignment, assign_rows
from volforge.errors import Problem
from volforge.tasks.protocol import fitting

if TYPE_CHECKING:
    from volforge.tasks.resolved import ResolvedStudy
    from volforge.workflow.load import Keys, Loaded


@dataclass(frozen=True)
class _Part:
    """One fold, or the split `test`: its name, place in the configuration, and the rows of both sides."""

    name: str
    place: Keys
    tested: list[SheetRow]
    free: list[SheetRow]


def problems(loaded: Loaded, study: ResolvedStudy) -> Iterator[Problem]:
    """Every fold of a study (or the split `test`) that has no scan to measure, or none to learn from.

    Scans whose file is missing do not count under `on_bad_scan: exclude`; what a run refuses later is not known here.
    """
    settings = study.cohort.settings
    every = list(study.cohort.rows.values())
    if not every:
        return  # the sheet has its own problems
    where = assign_rows(every, seed=settings.seed, folds=settings.folds, shares=settings.splits.model_dump())
    rows = [r for r in every if not (r.missing and settings.on_bad_scan == "exclude")]
    task = study.task

    def has(row: SheetRow, column: str) -> bool:
        made = column == "labels" and study.cohort.settings.labels_command is not None
        return column in row.files or made

    if not task.measurable(study, rows, has):
        if not task.is_named_elsewhere(study, every):
            text = f"no scan of cohort '{study.cohort.name}' has {task.needed(study)}: nothing can be measured"
            yield loaded.problem(("studies", study.name, "cohort"), text, "fill these columns of the sheet")
        return
    for part in _parts(study, rows, where):
        measurable = task.measurable(study, part.tested, has)
        if not part.tested:
            yield loaded.problem(
                part.place, f"no subject is in {part.name}: nothing can be tested", _advice(study, where)
            )
        elif not measurable:
            text = f"no scan of {part.name} has {task.needed(study)}: nothing can be measured"
            yield loaded.problem(part.place, text, "fill these columns of the sheet, or deal the subjects differently")
        for needed, choice, who in task.learners(study):
            if not part.free:
                text = f"{part.name} leaves no subject to learn from, and {who} learns"
                yield loaded.problem(part.place, text, _advice(study, where))
                break
            usable = part.free if choice is None else fitting(part.free, choice)
            if not any(all(has(r, c) for c in needed) for r in usable):
                kind = "" if choice is None else f" of the modality {choice.modality}"
                text = (
                    f"no training scan{kind} has {' and '.join(needed)} where {part.name} is tested, and {who} learns"
                )
                yield loaded.problem(
                    part.place, text, "fill these columns of the sheet for subjects that are not tested"
                )


def _parts(study: ResolvedStudy, rows: Sequence[SheetRow], where: dict[str, Assignment]) -> Iterator[_Part]:
    keys: Keys = ("studies", study.name)
    for i, fold in enumerate(study.settings.folds):
        if fold < study.cohort.settings.folds:  # else it is named as a fold that the cohort does not have
            tested = [r for r in rows if where[r.subject].fold == fold]
            free = [r for r in rows if where[r.subject].fold != fold]
            yield _Part(f"fold {fold}", (*keys, "folds", i), tested, free)
    if not study.settings.folds:
        by_split = {s: [r for r in rows if where[r.subject].split == s] for s in ("test", "train")}
        yield _Part("the split `test`", (*keys, "cohort"), by_split["test"], by_split["train"])


def _advice(study: ResolvedStudy, where: dict[str, Assignment]) -> str:
    """How subjects may be dealt otherwise."""
    count = len(where)
    subjects = "1 subject" if count == 1 else f"{count} subjects"
    if study.settings.folds and count == 1:
        return f"cohort '{study.cohort.name}' has one subject: add others, to learn from and to fill the folds"
    if study.settings.folds:
        filled = sorted({a.fold for a in where.values()})
        text = f"{subjects} of cohort '{study.cohort.name}' fill the folds {', '.join(map(str, filled))}"
        few = f"; set the cohort's `folds` to {count} or fewer" if count < study.cohort.settings.folds else ""
        return f"{text}: test two or more that have subjects, or change the sheet's column `fold`{few}"
    counts = ", ".join(f"{s} {sum(a.split == s for a in where.values())}" for s in ("train", "val", "test"))
    return f"{subjects} of cohort '{study.cohort.name}' ({counts}): name `folds`, or change the sheet's column `split`"
