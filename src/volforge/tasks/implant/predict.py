"""Implants of the defective skulls of a fold: of trained models, of a baseline, or made elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, cases_with
from volforge.study.jobs import PredictJob
from volforge.study.predict import predict_each, predict_without_models
from volforge.study.predictor import Predictor
from volforge.study.settings import ArmSettings
from volforge.tasks.implant.baselines import BASELINES
from volforge.tasks.implant.beside import Beside
from volforge.volume.folders import read_object
from volforge.volume.geometry import Array

FILES = ("defective", "implant")
Watch = Callable[[Any, Case, Array, Array], None]


def predict(settings: ArmSettings, job: PredictJob) -> int:
    """Predict all test cases of a fold into a folder that appears whole.

    Args:
        settings: The arm.
        job: Scans, fold, models, and the folder `predictions`.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: Nothing to measure, nothing to learn from, or files that cannot be used.
    """
    start = time.perf_counter()
    cohort = Cohort(job.scans)
    cases = cases_with(settings, cohort, job.fold, FILES)
    if predict_without_models(settings, job, cohort, cases, BASELINES, labels=True):
        return len(cases)
    beside = Beside(settings, cohort)
    made = predictor(settings, cohort, job, beside.see)
    return predict_each(job, cohort, cases, made, labels=True, start=start, beside=beside.write)


def predictor(settings: ArmSettings, cohort: Cohort, job: PredictJob, watch: Watch | None = None) -> Predictor:
    """What predicts a case by the models of an arm."""
    folder = final_model(job.models)
    about = read_object(folder / "model.json", "the description of a model")
    if about.get("fitted"):
        raise VolforgeError("no way is known to predict with this fitted model", str(folder), "name a trained model")
    return by_networks(settings, cohort, job, watch)


def final_model(models: Mapping[str, Path]) -> Path:
    """The folder of the model that gives the implant: the one of the arm that no other one needs.

    Raises:
        VolforgeError: There is none, or more than one.
    """
    own = {name: folder for name, folder in models.items() if "/" not in name}
    asked = set()
    for folder in own.values():
        asked |= set(read_object(folder / "model.json", "the description of a model").get("needs", ()))
    last = sorted(set(own) - asked)
    if len(last) != 1:
        text = f"{len(last)} models give an implant: {', '.join(last) or 'none'}"
        raise VolforgeError(text, "", "name one, and those that it needs")
    return own[last[0]]


def by_networks(settings: ArmSettings, cohort: Cohort, job: PredictJob, watch: Watch | None = None) -> Predictor:
    """What predicts a case by trained networks; `watch` is told of each: model, case, probability, defective skull."""
    import torch

    from volforge.tasks.implant.apply import predicted

    torch.set_num_threads(int(settings.inference["threads"]))
    model = loaded(final_model(job.models), job.models, job.device)
    options = settings.inference

    def one(case: Case) -> tuple[Array, Array | None]:
        defective, grid = cohort.read(case.scan, "defective") > 0, cohort.grid(case.scan)
        p = predicted(
            model,
            defective,
            grid,
            flips=options["flips"],
            overlap=options["overlap"],
            device=job.device,
            where=case.scan,
        )
        if watch is not None:
            watch(model, case, p, defective)
        return finished(p, defective, grid.spacing_mm)

    return one


def loaded(folder: Path, models: Mapping[str, Path], device: str):  # type: ignore[no-untyped-def]
    """A model with the coarse one and the fitted one that it needs, which need none."""
    from volforge.tasks.implant.apply import load_model
    from volforge.tasks.implant.kriging.model import KIND, load_kriged

    coarse, kriged = None, None
    for word in read_object(folder / "model.json", "the description of a model").get("needs", ()):
        needed = of_word(models, word)
        if read_object(needed / "model.json", "the description of a model").get("kind") == KIND:
            kriged, _ = load_kriged(needed)
        else:
            coarse = load_model(needed, device)
    return load_model(folder, device, coarse, kriged)


def of_word(models: Mapping[str, Path], word: str) -> Path:
    """The folder of a model by a word of `needs`: jobs name those of other arms and of other studies as they see them.

    Raises:
        VolforgeError: It is not among them.
    """
    parts = word.split("/")
    for name in ("/".join(parts[k:]) for k in range(len(parts))):
        if name in models:
            return models[name]
    raise VolforgeError(f"the model {word} is not there", ", ".join(models), f"pass --model {word}=FOLDER")


def finished(p: Array, defective: Array, spacing: tuple[float, float, float]) -> tuple[Array, Array]:
    """Implant and confidence from the probability of a target.

    Args:
        p: (X, Y, Z) probability of the implant, or of the complete skull.
        defective: (X, Y, Z) bone, boolean.
        spacing: Voxel size in mm.

    Returns:
        What is probable and no bone, cleaned by `post.postprocess` as it is by default, boolean; and the probability of
        what was chosen, float32: where bone stands there is surely no implant.
    """
    import numpy as np

    from volforge.tasks.implant.post import postprocess

    missing = np.where(defective, np.float32(0), p)
    implant, _ = postprocess(missing > 0.5, defective, spacing)
    return implant, np.where(implant, missing, 1 - missing).astype(np.float32)
