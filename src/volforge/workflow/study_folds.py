"""Folds and splits that leave a study nothing to test, or nothing to learn from: said before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volforge.cohort.sheet import SheetRow
from volforge.cohort.splits import Assignment, assign_rows
from volforge.errors import Problem

if TYPE_CHECKING:
    from volforge.config.studies import ScanChoice
    from volforge.workflow.load import Keys, Loaded
    from volforge.workflow.studies import ResolvedStudy

MEASURED = {
    "segmentation": ("labels",),
    "negative_volume": ("labels",),
    "implant": ("defective", "implant"),
    "semantic_synthesis": ("labels", "image"),
}
"""What a scan must have to be measured, by task."""
LEARNT = {
    "threshold_components": ("labels",),
    "mean_labels": ("labels",),
    "mean_implant": ("implant", "defective"),
    "mean_painting": ("image", "labels"),
    "white_noise": ("image",),
    "other_subject": ("image",),
    "histogram_matching": ("image",),
}
"""What a training scan must have for a baseline; the others learn nothing."""
IMAGE_TASKS = ("semantic_synthesis", "translation")


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
    if not _measurable(study, rows):
        if not _is_named_elsewhere(study, every):
            text = f"no scan of cohort '{study.cohort.name}' has {_needed(study)}: nothing can be measured"
            yield loaded.problem(("studies", study.name, "cohort"), text, "fill these columns of the sheet")
        return
    for part in _parts(study, rows, where):
        measurable = _measurable(study, part.tested)
        if not part.tested:
            yield loaded.problem(
                part.place, f"no subject is in {part.name}: nothing can be tested", _advice(study, where)
            )
        elif not measurable:
            text = f"no scan of {part.name} has {_needed(study)}: nothing can be measured"
            yield loaded.problem(part.place, text, "fill these columns of the sheet, or deal the subjects differently")
        for needed, of_target, who in _learners(study):
            if not part.free:
                text = f"{part.name} leaves no subject to learn from, and {who} learns"
                yield loaded.problem(part.place, text, _advice(study, where))
                break
            fitting = _fitting(part.free, study.settings.target) if of_target else part.free
            if not any(all(_has(study, r, c) for c in needed) for r in fitting):
                kind = " of the target's modality" if of_target else ""
                text = (
                    f"no training scan{kind} has {' and '.join(needed)} where {part.name} is tested, and {who} learns"
                )
                yield loaded.problem(
                    part.place, text, "fill these columns of the sheet for subjects that are not tested"
                )


def _is_named_elsewhere(study: ResolvedStudy, rows: Sequence[SheetRow]) -> bool:
    """Whether another check of the study says already why nothing can be measured."""
    settings = study.settings
    if settings.task in IMAGE_TASKS:
        choices = (settings.target, settings.source) if settings.task == "translation" else (settings.target,)
        return not all(any(r.modality == c.modality for r in rows) for c in choices)
    if settings.task == "implant":
        return not any({"defective", "implant"} <= set(r.files) for r in rows)
    return not study.cohort.structures


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


def _has(study: ResolvedStudy, row: SheetRow, column: str) -> bool:
    made = column == "labels" and study.cohort.settings.labels_command is not None
    return column in row.files or made


def _needed(study: ResolvedStudy) -> str:
    if study.settings.task == "translation":
        return "a source and a target scan of one subject and `frame`"
    return " and ".join(MEASURED[study.settings.task])


def _measurable(study: ResolvedStudy, rows: Sequence[SheetRow]) -> bool:
    """Whether some scan, or pair of scans, can be measured."""
    settings = study.settings
    if settings.task == "translation":
        targets = {(r.subject, r.frame) for r in _fitting(rows, settings.target) if r.frame}
        return any((r.subject, r.frame) in targets for r in _fitting(rows, settings.source))
    chosen = _fitting(rows, settings.target) if settings.task == "semantic_synthesis" else rows
    return any(all(_has(study, r, c) for c in MEASURED[settings.task]) for r in chosen)


def _fitting(rows: Sequence[SheetRow], choice: ScanChoice) -> list[SheetRow]:
    return [
        r for r in rows if r.modality == choice.modality and (choice.contrast is None or r.contrast == choice.contrast)
    ]


def _learners(study: ResolvedStudy) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """What learns: columns that a training scan must have, whether of the target's modality, and who it is."""
    settings = study.settings
    is_image = settings.task in IMAGE_TASKS
    wanted: dict[tuple[str, ...], list[str]] = {}
    if settings.shared:
        wanted[("image", "labels")] = ["what all arms share"]
    for name, arm in settings.arms.items():
        if arm.models:
            # generators may learn labels and images of different subjects
            wanted.setdefault(("image",) if is_image else ("image", "labels"), []).append(f"`{name}`")
        elif arm.baseline in LEARNT:
            wanted.setdefault(LEARNT[arm.baseline], []).append(f"`{name}`")
    if study.has_distribution:
        wanted.setdefault(("image",), []).append("the encoder of the Fréchet distance")
    for needed, who in wanted.items():
        yield needed, is_image, " and ".join(who[:3])
