"""A task of one's own: the threshold that parts one structure from the rest of the body, learnt and applied."""

from collections.abc import Iterator

from pydantic import Field

from volforge.tasks.protocol import Name, Places, Problem, ResolvedStudy, Study, Task

CT = {"modality": "CT", "contrast": None}


class ThresholdStudy(Study):
    """Keys of its studies: those of all tasks, and one more."""

    share: float = Field(default=0.5, gt=0, lt=1, description="of the way from the rest's mean to the structure's")


class Threshold(Task):
    """What the workflow must know. Entries are functions of this file, or dotted places of the package."""

    study = ThresholdStudy
    train, predict, measure = ":train", ":predict", "volforge.study.label_arm:measure"
    reads = ("labels", "image")
    baselines = {"nothing": ":nothing"}
    shown = ("dice", "hd95_mm")
    is_fitted = True

    def problems(self, loaded: Places, study: ResolvedStudy) -> Iterator[Problem]:
        """One structure: a threshold parts two things."""
        yield from super().problems(loaded, study)
        if len(study.structures()) != 1:
            yield loaded.problem(("studies", study.name, "structures"), "a threshold finds one structure", "name one")

    def model_settings(self, study: ResolvedStudy, arm: Name, model: Name) -> dict:
        """All that its training reads."""
        return {"structure": study.structures()[0], "share": study.settings.share}


def train(path, job):
    """Fit the threshold on the scans of all subjects that are not tested."""
    import json
    import time

    import numpy as np

    from volforge.study.cases import Cohort, free_rows, of_modality
    from volforge.training.fitted import write_fitted

    start, settings, cohort = time.perf_counter(), json.loads(path.read_text()), Cohort(job.scans)
    rows = of_modality(free_rows(cohort.rows, settings["by_fold"], job.fold), CT)
    inside, rest = [], []
    for row in rows:
        image, labels = cohort.read(row["scan"], "image"), cohort.read(row["scan"], "labels")
        own = labels == settings["structure"]["id"]
        inside.append(image[own].mean())
        rest.append(image[cohort.body(row["scan"], image.shape) & ~own].mean())
    threshold = np.mean(rest) + settings["share"] * (np.mean(inside) - np.mean(rest))
    about = {**settings, "subjects": {"training": sorted({r["subject"] for r in rows})}}
    write_fitted(job.out, {"threshold": np.array([threshold])}, about, time.perf_counter() - start)
    return ""


def predict(settings, job):
    """Label maps of the test scans, of the fitted threshold or of the baseline."""
    import time

    from safetensors.numpy import load_file

    from volforge.study.cases import Cohort, cases_with
    from volforge.study.predict import predict_each, predict_without_models
    from volforge.tasks.registry import task

    start, cohort = time.perf_counter(), Cohort(job.scans)
    cases = cases_with(settings, cohort, job.fold, ("labels", "image"), CT)
    if predict_without_models(settings, job, cohort, cases, task(settings.task).baselines, labels=True):
        return len(cases)
    (folder,) = job.models.values()
    threshold = float(load_file(folder / "weights.safetensors")["threshold"][0])
    (part,) = settings.structures
    return predict_each(
        job,
        cohort,
        cases,
        lambda case: (part.id * (cohort.read(case.scan, "image") > threshold).astype("uint8"), None),
        labels=True,
        start=start,
    )


def nothing(settings, cohort, rows):
    """A baseline: an empty label map."""
    return lambda case: ((cohort.read(case.scan, "labels") * 0).astype("uint8"), None)
