"""Measures of the implants of an arm."""

from __future__ import annotations

import numpy as np

from volforge.metrics.legacy import reconstruction_error_percent
from volforge.study import label_arm
from volforge.study.cases import Cohort
from volforge.study.jobs import MeasureJob
from volforge.study.label_arm import LabelArm
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.volumes import CaseResult, Volumes
from volforge.tables.structures import default_colour
from volforge.tasks.implant.patch_rule import measures_of, read_counts
from volforge.volume.geometry import Array
from volforge.volume.picture import hex_to_rgb


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every implant of an arm; see `volforge.study.label_arm.measure`."""
    return label_arm.measure(settings, job, Implants)


class Implants(LabelArm):
    """The measuring of one arm."""

    legacy = staticmethod(reconstruction_error_percent)

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        super().__init__(settings, job, cohort)
        self.colours = {1: hex_to_rgb(default_colour(1))}

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Overlap, surfaces and volumes; of arms that see patches, how often these keep their rule."""
        result = super().measure(volumes, prediction, confidence, deviation)
        counts = read_counts(self.job.predictions).get(prediction.scan)
        result.measures += [("", m) for m in measures_of(counts, "implant")] if counts is not None else []
        return result

    def load(self, prediction: Prediction) -> Volumes:
        """An implant, the one that was cut out, and the defective skull."""
        cohort, scan = self.cohort, prediction.scan
        values = self.predicted(prediction)
        shown = None if values is None else (values > 0).astype(np.uint8)
        defective = cohort.read(scan, "defective") > 0
        reference = (cohort.read(scan, "implant") > 0).astype(np.uint8)
        return Volumes(None, shown, reference, defective, None, defective, cohort.grid(scan).spacing_mm)
