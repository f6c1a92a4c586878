"""Measures of the implants of an arm."""

from __future__ import annotations

import numpy as np

from volforge.cohort.structures import default_colour
from volforge.metrics.legacy import reconstruction_error_percent
from volforge.study.case_picture import label_picture
from volforge.study.cases import Cohort
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import Row, measure_arm
from volforge.study.measure_labels import measure_labels
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.volumes import CaseResult, Volumes
from volforge.volume.geometry import Array
from volforge.volume.picture import hex_to_rgb
from volforge.volume.restore import on_scan_grid


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every implant of an arm.

    Args:
        settings: The arm.
        job: Its predictions, and the files to write.

    Returns:
        Number of measures.
    """
    cohort = Cohort(job.scans)
    return measure_arm(settings, job, cohort, Implants(settings, job, cohort))


class Implants:
    """The measuring of one arm."""

    primary = "dice"

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        self.settings, self.job, self.cohort = settings, job, cohort

    def load(self, prediction: Prediction) -> Volumes:
        """An implant, the one that was cut out, and the defective skull."""
        cohort, scan = self.cohort, prediction.scan
        shown = None
        if prediction.file:
            path = prediction.path(self.job.predictions)
            values = on_scan_grid(path, cohort.record(scan), labels=True, structures=cohort.structures)
            shown = (values > 0).astype(np.uint8)
        defective = cohort.read(scan, "defective") > 0
        reference = (cohort.read(scan, "implant") > 0).astype(np.uint8)
        return Volumes(None, shown, reference, defective, None, defective, cohort.grid(scan).spacing_mm)

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Overlap, surfaces, and overlap near the bone."""
        return measure_labels(self.settings, volumes, confidence, reconstruction_error_percent)

    def of_all(self, every: list[Prediction]) -> tuple[list[Row], list[Row]]:
        """Nothing."""
        return [], []

    def picture(self, volumes: Volumes) -> Array:
        """Skull, and implant on it: prediction, reference, error."""
        return label_picture(volumes, [p.id for p in self.settings.structures], {1: hex_to_rgb(default_colour(1))})
