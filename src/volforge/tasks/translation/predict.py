"""Images of another modality of the source scans of a fold: of a baseline, or made elsewhere."""

from __future__ import annotations

from volforge.study.cases import Cohort
from volforge.study.jobs import PredictJob
from volforge.study.predict import predict_without_models
from volforge.study.settings import ArmSettings
from volforge.tasks.translation.baselines import BASELINES
from volforge.tasks.translation.pairs import paired_cases


def predict(settings: ArmSettings, job: PredictJob) -> int:
    """Predict all test cases of a fold into a folder that appears whole.

    Args:
        settings: The arm.
        job: Scans, fold, and the folder `predictions`.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: Nothing to measure, nothing to learn from, or files that cannot be used.
    """
    cohort = Cohort(job.scans)
    cases = paired_cases(settings, cohort, job.fold)
    predict_without_models(settings, job, cohort, cases, BASELINES, labels=False)
    return len(cases)
