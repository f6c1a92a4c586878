"""Predictions of an arm without models: of its baseline, or made elsewhere; and how all predictions are written."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from volforge import places
from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, training_rows
from volforge.study.jobs import PredictJob
from volforge.study.outside import prediction_file, unmatched
from volforge.study.predictions import Prediction, write_predictions
from volforge.study.predictor import Predictor
from volforge.study.settings import ArmSettings
from volforge.study.whole_numbers import whole_numbers
from volforge.volume.companions import companions
from volforge.volume.folders import sha256_of, sha256_of_text, whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid, write_on_source_grid


def predict_without_models(
    settings: ArmSettings,
    job: PredictJob,
    cohort: Cohort,
    cases: list[Case],
    baselines: Mapping[str, str],
    *,
    labels: bool,
    of_structures: bool = False,
) -> bool:
    """Predict all cases by what needs no training, into a folder that appears whole.

    Args:
        settings: The arm.
        job: Fold and folder.
        cohort: Its cohort.
        cases: What is predicted.
        baselines: Places of the predictors of the task's baselines, by name.
        labels: Predictions are label maps, not images.
        of_structures: A label map made elsewhere must hold ids of the study's structures.

    Returns:
        Whether the arm has no models; if it has, nothing is done.

    Raises:
        VolforgeError: Files that cannot be used, or nothing to learn from.
    """
    if settings.predictions:
        _check_outside(settings, cohort, cases, labels, of_structures)
        with whole_folder(job.out) as scratch:
            write_predictions(scratch, [_outside(settings, case) for case in cases])
        return True
    if settings.baseline is None:
        return False
    start = time.perf_counter()
    made = places.at(baselines[settings.baseline])(settings, cohort, training_rows(settings, cohort, job.fold))
    predict_each(job, cohort, cases, made, labels=labels, start=start)
    return True


def predict_each(
    job: PredictJob,
    cohort: Cohort,
    cases: list[Case],
    predictor: Predictor,
    *,
    labels: bool,
    start: float,
    beside: Callable[[Path], None] | None = None,
) -> int:
    """Predict all cases one by one, into a folder that appears whole.

    Args:
        job: The folder.
        cohort: Its cohort.
        cases: What is predicted.
        predictor: What predicts a case.
        labels: Predictions are label maps, not images.
        start: `time.perf_counter()` of the job's beginning, for its cost.
        beside: Writes more files into the folder when all cases are predicted.

    Returns:
        Number of cases.
    """
    with whole_folder(job.out) as scratch:
        write_predictions(scratch, [written(cohort, case, predictor(case), scratch, labels=labels) for case in cases])
        if beside is not None:
            beside(scratch)
        write_json(scratch / "cost.json", cost(len(cases), start, job.device))
    return len(cases)


def written(cohort: Cohort, case: Case, found: tuple[Array, Array | None], folder: Path, *, labels: bool) -> Prediction:
    """Write a prediction on the grid of its source file, and its confidence where it has one.

    Args:
        cohort: Its cohort.
        case: What was predicted.
        found: (X, Y, Z) values on the scan's canonical grid, and confidence or None.
        folder: Where they go.
        labels: The values are ids.
    """
    values, confidence = found
    record = cohort.record(case.scan)
    path = folder / f"{case.scan}.nii.gz"
    values = values.astype(np.uint8) if values.dtype == bool else values
    write_on_source_grid(path, values, record, labels=labels)
    named = {"file": path.name, "sha256": sha256_of(path)}
    if confidence is not None:
        beside = folder / f"{case.scan}.confidence.nii.gz"
        write_on_source_grid(beside, confidence, record, labels=False)
        named["confidence"] = beside.name
    return Prediction(case.scan, case.subject, case.reference, case.label_source, **named)  # type: ignore[arg-type]


def cost(cases: int, start: float, device: str = "cpu") -> dict[str, object]:
    """What a prediction job took: wall time since `start` and the peak of resident memory of this process."""
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB
    named = "CPU" if device == "cpu" else _device_name()
    return {"cases": cases, "seconds": round(seconds, 3), "peak_memory_gib": round(peak, 3), "device": named}


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def _check_outside(settings: ArmSettings, cohort: Cohort, cases: list[Case], labels: bool, of_structures: bool) -> None:
    """Look at all files of others before anything is measured, and name everything that is wrong with them.

    Raises:
        VolforgeError: Files on another grid, unreadable ones, label maps that are none or hold none of the ids.
    """
    wrong = []
    ids = {p.id for p in settings.structures}
    for case in cases:
        path = prediction_file(settings.predictions, case.scan)
        if path is None:
            continue
        try:
            values = on_scan_grid(path, cohort.record(case.scan), labels=labels, structures=cohort.structures)
            if labels:
                present = set(np.unique(whole_numbers(values, str(path))).tolist()) - {0}
                if of_structures and present and not present & ids:
                    remedy = f"ids of the study: {', '.join(map(str, sorted(ids)))}"
                    text = f"holds the ids {sorted(present)[:8]}, none of the study's structures"
                    raise VolforgeError(text, str(path), remedy)
        except VolforgeError as error:
            wrong.append(str(error))
    strangers = unmatched(settings.predictions, {r["scan"] for r in cohort.rows})
    if strangers:
        print(f"{len(strangers)} files are named after no scan: {', '.join(strangers[:8])}", file=sys.stderr)
    if wrong:
        raise VolforgeError(f"{len(wrong)} predictions cannot be used:\n" + "\n".join(wrong), settings.predictions)


def _sha256(path: Path) -> str:
    beside = companions(path)
    return sha256_of(path) if not beside else sha256_of_text("".join(sha256_of(p) for p in (path, *beside)))


def _outside(settings: ArmSettings, case: Case) -> Prediction:
    path = prediction_file(settings.predictions, case.scan)
    named = {"file": str(path.absolute()), "sha256": _sha256(path)} if path is not None else {}
    return Prediction(case.scan, case.subject, case.reference, case.label_source, **named)  # type: ignore[arg-type]
