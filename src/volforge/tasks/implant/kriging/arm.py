"""The fitted model as a job of a study: fit on the complete skulls of a fold, and predict its defective ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from volforge.cohort.splits import rank
from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, Row, cases_with, free_rows
from volforge.study.jobs import PredictJob, TrainJob
from volforge.study.predict import predict_each
from volforge.study.settings import ArmSettings
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.closings import judged
from volforge.tasks.implant.kriging.covariance import terms
from volforge.tasks.implant.kriging.doubts import FILE, NOT_COMPLETED, row_of, table_of
from volforge.tasks.implant.kriging.fit import fit
from volforge.tasks.implant.kriging.model import about, load_kriged, tensors_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.trials import calibrated
from volforge.training.fitted import write_fitted
from volforge.volume.folders import form_of, read_object
from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

FILES = ("defective", "implant")
PACKAGES = ("numpy", "scipy", "numba")


def fit_arm(path: Path, job: TrainJob) -> str:
    """Fit a model of complete skulls; the entry of `train_model` for models with `kriging`.

    Args:
        path: `<model>.train.json`.
        job: Scans, fold, and the folder of the model.

    Returns:
        Empty: it is finished at once.

    Raises:
        VolforgeError: Too few complete skulls that are not tested.
    """
    start = time.perf_counter()
    if job.start is not None:
        text = "a fitted model begins with no weights"
        raise VolforgeError(text, str(path), "leave out --from")
    content = read_object(path, "the settings of a model")
    with form_of(path, "the settings of a kriged model"):
        settings = KrigingSettings.of(content["kriging"])
    cohort = Cohort(job.scans)
    rows = complete_rows(cohort, content["by_fold"], job.fold)
    if settings.skulls is not None:
        kept = set(rank({r["subject"] for r in rows}, job.seed, "skulls")[: settings.skulls])
        rows = [r for r in rows if r["subject"] in kept]
    where = f"{content['study']}, {content['arm']}/{content['model']}"
    if len(rows) < 3:
        raise VolforgeError(
            f"{len(rows)} subjects with a complete skull to learn from", where, "at least 3; look at `split` and `fold`"
        )
    found = fit(len(rows), lambda n: complete_skull(cohort, rows[n]["scan"]), settings, [r["scan"] for r in rows])
    model, factors = (calibrated(found.model, found.maps)) if settings.calibrated else (found.model, {})
    read = {n: rows[n]["scan"] for n in range(len(rows))}

    def defective(number: int) -> Array | None:
        if not cohort.has(read[number], "defective"):
            return None
        return np.ascontiguousarray(cohort.read(read[number], "defective") > 0).view(np.uint8)

    names = [r["subject"] for r in rows]
    model, own = judged(model, found, lambda n: complete_skull(cohort, read[n]), defective, names, job.seed)
    told = {
        **content,
        **about(model),
        "subjects": {"training": sorted({rows[n]["subject"] for n in found.used}), "validation": []},
        "same_head": [[rows[a]["scan"], rows[b]["scan"]] for a, b in found.same],
        "covariance": dict(terms(model.field.covariance)),
        "deviation_factors": factors,
        **own.told,
    }
    write_fitted(job.out, tensors_of(model), told, time.perf_counter() - start, packages=PACKAGES)
    return ""


def complete_rows(cohort: Cohort, by_fold: bool, fold: int) -> list[Row]:
    """One scan with a complete skull of every subject that is not tested; without folds, of the split `train`."""
    free = free_rows(cohort.rows, by_fold, fold)
    chosen: dict[str, Row] = {}
    for row in free:
        if (by_fold or row["split"] == "train") and is_complete(cohort, row):
            chosen.setdefault(row["subject"], row)
    return list(chosen.values())


def is_complete(cohort: Cohort, row: Mapping[str, str]) -> bool:
    """Whether a scan shows a complete skull: its image is a mask, or defective skull and implant are known."""
    shown = row["modality"] == "mask" and cohort.has(row["scan"], "image")
    return shown or all(cohort.has(row["scan"], part) for part in ("defective", "implant"))


def complete_skull(cohort: Cohort, scan: str) -> tuple[Array, Array]:
    """(X, Y, Z) uint8 of the complete skull of a scan, and its affine."""
    if all(cohort.has(scan, part) for part in ("defective", "implant")):
        skull = (cohort.read(scan, "defective") > 0) | (cohort.read(scan, "implant") > 0)
    else:
        skull = cohort.read(scan, "image") > 0
    return np.ascontiguousarray(skull).view(np.uint8), cohort.grid(scan).affine


def predict(settings: ArmSettings, job: PredictJob) -> int:
    """Predict all test cases of a fold by a fitted model; the entry of arms with `kriging`.

    Args:
        settings: The arm.
        job: Scans, fold, the model, and the folder `predictions`, which appears whole.

    Returns:
        Number of cases; `doubts.tsv` stands beside the volumes.
    """
    start = time.perf_counter()
    cohort = Cohort(job.scans)
    cases = cases_with(settings, cohort, job.fold, FILES)
    (folder,) = job.models.values()
    predictor = kriging_predictor(cohort, folder)
    return predict_each(job, cohort, cases, predictor, labels=True, start=start, beside=predictor.write_doubts)


class KrigingPredictor:
    """What closes the hole of a case, by a fitted model; it remembers what is to be doubted.

    Args:
        cohort: Whose defective skulls are read.
        folder: Of the model.
    """

    def __init__(self, cohort: Cohort, folder: Path):
        self.cohort = cohort
        self.model, about_it = load_kriged(folder)
        self.limits: dict[str, float] = dict(about_it.get("thresholds", {}))
        self.rows: dict[str, dict[str, str]] = {}

    def __call__(self, case: Case) -> tuple[Array, Array | None]:
        """The implant of a case, and the confidence."""
        skull = np.ascontiguousarray(self.cohort.read(case.scan, "defective") > 0).view(np.uint8)
        try:
            found = krige(self.model, skull, self.cohort.grid(case.scan).affine)
        except VolforgeError as error:  # of this skull alone: the arm fails on it, and goes on with the others
            print(f"{case.scan} is not completed: {error}", file=sys.stderr)
            self.rows[case.scan] = NOT_COMPLETED
            return np.zeros(skull.shape, bool), None
        self.rows[case.scan] = row_of(found, self.limits)
        return found.implant, found.confidence

    def write_doubts(self, folder: Path) -> None:
        """Write `doubts.tsv` of all cases so far: signs, and codes of doubts."""
        write_whole(folder / FILE, table_of(self.rows))


def kriging_predictor(cohort: Cohort, folder: Path) -> KrigingPredictor:
    """What closes the hole of a case, by a fitted model."""
    return KrigingPredictor(cohort, folder)
