"""The files that the targets of the workflow ask for."""

from __future__ import annotations

from pathlib import Path

from volforge.workflow.jobs import RESULTS
from volforge.workflow.run import Run
from volforge.workflow.study_jobs import judging_networks, model_file, part, trainings


def scan_tables(run: Run) -> list[str]:
    """scans.tsv of every cohort."""
    return [f"{RESULTS}/cohorts/{name}/scans.tsv" for name in run.cohorts]


def models(run: Run) -> list[str]:
    """Weights of every model of every study, and of the networks that only measure."""
    studies = run.studies.values()
    trained = [model_file(study, *training) for study in studies for training in trainings(study)]
    return trained + [w for study in studies for fold in study.folds for w in judging_networks(study, fold)]


def of_studies(run: Run, name: str) -> list[str]:
    """A file of every study."""
    return [f"{RESULTS}/studies/{study}/{name}" for study in run.studies]


def of_parts(run: Run, name: str) -> list[str]:
    """A file of every arm, fold and seed of every study."""
    return [f"{part(study, *p)}/{name}" for study in run.studies.values() for p in study.parts()]


def shapes(run: Run) -> list[str]:
    """predictions.tsv of every arm whose predictions are shapes."""
    return [
        f"{part(study, *p)}/predictions/predictions.tsv"
        for study in run.studies.values()
        for p in study.parts()
        if study.task.kind(study.settings.arms[p[0]]) == "shapes"
    ]


def own_files(run: Run) -> list[str]:
    """Python files of the user that jobs run: tasks, networks and losses of one's own, and what lies beside them."""
    named = {study.task.name for study in run.studies.values()}
    for study in run.studies.values():
        for arm, model in study.trained():
            named |= {str(spec["name"]) for _, _, spec in study.task.components(study, arm, model)}
    folders = {Path(name.rsplit(":", 1)[0]).parent for name in named if ".py:" in name}
    return sorted(str(file) for folder in folders for file in folder.glob("*.py"))
