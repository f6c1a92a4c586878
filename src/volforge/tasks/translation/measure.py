"""Measures of the translated images of an arm."""

from __future__ import annotations

import numpy as np

from volforge.judging.image_arms import ImageArm
from volforge.study.cases import Cohort
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import measure_arm
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.volumes import Volumes
from volforge.volume.intensity import AIR_HU
from volforge.volume.resample import resample_to
from volforge.volume.restore import on_scan_grid


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every image of an arm.

    Args:
        settings: The arm.
        job: Its predictions, the encoder of slices, and the files to write.

    Returns:
        Number of measures.
    """
    cohort = Cohort(job.scans)
    return measure_arm(settings, job, cohort, Translated(settings, job, cohort))


class Translated(ImageArm):
    """The measuring of one arm."""

    def load(self, prediction: Prediction) -> Volumes:
        """An image, its source, and the real image, on the grid of the latter.

        The synthetic image is resampled once; beyond the source's view there is no claim.
        """
        cohort = self.cohort
        grid, target = cohort.grid(prediction.scan), cohort.grid(prediction.reference)
        made = None
        if prediction.file:
            made = on_scan_grid(prediction.path(self.job.predictions), cohort.record(prediction.scan), labels=False)
        reference = cohort.target_image(prediction.reference)
        body = cohort.body(prediction.reference, reference.shape)
        source = cohort.read(prediction.scan, "image")
        outline = cohort.body(prediction.scan, source.shape)
        if prediction.scan != prediction.reference:
            body = body & resample_to(np.ones(source.shape, bool), grid, target, nearest=True, outside=0)
            outline = resample_to(outline, grid, target, nearest=True, outside=0)
            source = resample_to(source.astype(np.float32), grid, target, nearest=False, outside=float(source.min()))
            if made is not None:
                made = resample_to(made.astype(np.float32), grid, target, nearest=False, outside=float(AIR_HU))
        return Volumes(source, made, reference, body, outline, None, target.spacing_mm)
