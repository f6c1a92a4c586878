"""The steps of a run in plain words: which job of which rule makes what, for `volforge status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from volforge.tasks.protocol import ENCODER, SEGMENTER
from volforge.tasks.resolved import ResolvedStudy
from volforge.workflow.jobs import RESULTS, made_labels, makes_labels, scan_folder
from volforge.workflow.run import Run
from volforge.workflow.study_jobs import (
    distance_recipes,
    distances_file,
    judge,
    judge_file,
    model_file,
    part,
    predict_file,
    settings_file,
    train_file,
    trainings,
)

RULES = {ENCODER: "train_slice_encoder", SEGMENTER: "train_judging_segmenter"}


@dataclass(frozen=True)
class Step:
    """One job that a complete run needs.

    Attributes:
        part: What it belongs to: `cohort tmj`, `cohort tmj, recipe joints`, `report`.
        rule, wildcards: As the workflow names it.
        output: The file that shows that it is done.
        scan: Of jobs per scan, else empty.
    """

    part: str
    rule: str
    output: str
    wildcards: dict[str, str] = field(default_factory=dict)
    scan: str = ""

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What tells it from all others."""
        return self.rule, tuple(sorted(self.wildcards.items()))


def steps(run: Run) -> Iterator[Step]:
    """All steps of a run, in the order of the flow."""
    for name, cohort in run.cohorts.items():
        part = f"cohort {name}"
        here = {"cohort": name}
        if cohort.settings.phantom is not None:
            yield Step(part, "make_phantoms", f"{RESULTS}/phantoms/{name}/truth.json", here)
        for scan, row in cohort.rows.items():
            wildcards = {**here, "scan": scan}
            if makes_labels(cohort, row):
                yield Step(part, "make_labels", made_labels(name, scan), wildcards, scan)
            yield Step(part, "import_scan", f"{scan_folder(name, scan)}/record.json", wildcards, scan)
        yield Step(part, "collect_scans", f"{RESULTS}/cohorts/{name}/scans.tsv", here)
        for recipe in run.recipes_of(name):
            folder = f"{RESULTS}/cohorts/{name}/recipes/{recipe}"
            of_recipe, both = f"{part}, recipe {recipe}", {**here, "recipe": recipe}
            for scan in cohort.rows:
                yield Step(of_recipe, "cut_scan", f"{folder}/{scan}/record.json", {**both, "scan": scan}, scan)
            yield Step(of_recipe, "index_recipe", f"{folder}/index.tsv", both)
    for study in run.studies.values():
        yield from _of_study(study)
    # the page of a run that failed is there too, but has no provenance
    yield Step("report", "report", f"{RESULTS}/provenance.json")
    yield Step("report", "write_crate", f"{RESULTS}/ro-crate-metadata.json")


def _of_study(study: ResolvedStudy) -> Iterator[Step]:
    whole, here = f"study {study.name}", {"study": study.name}
    folder = f"{RESULTS}/studies/{study.name}"
    for arm in study.settings.arms:
        wildcards = {**here, "arm": arm}
        yield Step(f"{whole}, arm {arm}", "write_arm_settings", settings_file(study, arm), wildcards)
        yield Step(f"{whole}, arm {arm}", "write_predict_settings", predict_file(study, arm), wildcards)
    judges = study.task.judges(study)
    if judges:
        yield Step(whole, "write_encoder_settings", judge_file(study), here)
    for fold in study.folds:
        wildcards = {**here, "fold": str(fold), "seed": str(study.settings.seeds[0])}
        for network in judges:
            yield Step(whole, RULES[network], judge(study, network, fold), wildcards)
    for arm, model in study.trained():
        wildcards = {**here, "arm": arm, "model": model}
        yield Step(f"{whole}, arm {arm}", "write_model_settings", train_file(study, arm, model), wildcards)
    for recipe in distance_recipes(study):
        yield Step(whole, "make_distances", distances_file(study, recipe), {**here, "recipe": recipe})
    for arm, model, fold, seed in trainings(study):
        wildcards = {**here, "arm": arm, "model": model, "fold": str(fold), "seed": str(seed)}
        yield Step(f"{whole}, arm {arm}", "train_model", model_file(study, arm, model, fold, seed), wildcards)
    for arm, fold, seed in study.parts():
        place = part(study, arm, fold, seed)
        wildcards = {**here, "arm": arm, "fold": str(fold), "seed": str(seed)}
        of_arm = f"{whole}, arm {arm}"
        yield Step(of_arm, "predict", f"{place}/predictions/predictions.tsv", wildcards)
        yield Step(of_arm, "measure", f"{place}/cases/cases.tsv", wildcards)
    yield Step(whole, "collect_measures", f"{folder}/measures.tsv", here)
    yield Step(whole, "make_table", f"{folder}/table.json", here)
    yield Step(whole, "draw_figures", f"{folder}/figures/figures.json", here)
