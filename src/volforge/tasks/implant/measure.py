"""Measures of the implants of an arm."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from volforge.metrics.legacy import reconstruction_error_percent
from volforge.metrics.measure import Measure, Status, nothing
from volforge.metrics.segmentation import boundary_name
from volforge.study import label_arm
from volforge.study.jobs import MeasureJob
from volforge.study.label_arm import LabelArm
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.volumes import CaseResult, Volumes
from volforge.tasks.implant.patch_rule import measures_of, read_counts
from volforge.tasks.implant.picture import implant_picture
from volforge.tasks.implant.rim import gap_volume_mm3, mean_thickness_mm
from volforge.volume.geometry import Array

STRUCTURE = "implant"
BY_VOXELS = ("gap_volume_mm3", "thickness_difference_mm")


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every implant of an arm; see `volforge.study.label_arm.measure`."""
    return label_arm.measure(settings, job, Implants)


class Implants(LabelArm):
    """The measuring of one arm."""

    legacy = staticmethod(reconstruction_error_percent)

    def load(self, prediction: Prediction) -> Volumes:
        """An implant, the one that was cut out, and the defective skull."""
        cohort, scan = self.cohort, prediction.scan
        values = self.predicted(prediction)
        shown = None if values is None else (values > 0).astype(np.uint8)
        defective = cohort.read(scan, "defective") > 0
        reference = (cohort.read(scan, "implant") > 0).astype(np.uint8)
        return Volumes(None, shown, reference, defective, None, defective, cohort.grid(scan).spacing_mm)

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Overlap, surfaces, volumes and rim; of arms that see patches, how often these keep their rule.

        With `making` whether it can be made and put in; with `strata` the main measures again as those of the case's
        place and size.
        """
        result = super().measure(volumes, prediction, confidence, deviation)
        overlaps = ("dice", boundary_name(self.settings.metrics["boundary_mm"]))
        found = [(side, of_nothing(m, overlaps)) for side, m in result.measures]
        more = by_voxels(volumes)
        counts = read_counts(self.job.predictions).get(prediction.scan)
        more += measures_of(counts, STRUCTURE) if counts is not None else []
        affine = self.cohort.grid(prediction.scan).affine
        if self.settings.metrics.get("making"):
            more += making(volumes, affine)
        found += [("", m) for m in more]
        if self.settings.metrics.get("strata"):
            main = (*overlaps, "hd95_mm", "hd95_pooled_mm")
            names = strata(volumes, affine)
            found += [(s, replace(m, structure=n)) for n in names for s, m in found if m.measure in main]
        return CaseResult(found, result.curve)

    def picture(self, volumes: Volumes) -> Array:
        """Three planes through the implants: skull, prediction, reference, error."""
        assert volumes.boundary is not None
        shown = None if volumes.prediction is None else volumes.prediction > 0
        return implant_picture(volumes.boundary, shown, volumes.reference > 0, volumes.spacing)


def of_nothing(found: Measure, overlaps: tuple[str, ...]) -> Measure:
    """An empty prediction of an implant that exists has an overlap of 0, as the challenges count it, and is a failure.

    Distances have no value.

    Args:
        found: A measure.
        overlaps: Names of those that are 0.
    """
    is_zero = found.status == "empty_prediction" and found.measure in overlaps
    return replace(found, value=0.0) if is_zero else found


def by_voxels(volumes: Volumes) -> list[Measure]:
    """What is missing beside the bone, and the difference of mean thickness."""
    if volumes.prediction is None:
        return [nothing(m, "missing_prediction", STRUCTURE) for m in BY_VOXELS]
    assert volumes.boundary is not None
    prediction, reference = volumes.prediction > 0, volumes.reference > 0
    n = int(np.count_nonzero(reference))
    if not n or not prediction.any():
        status: Status = "absent" if not n and not prediction.any() else "empty_prediction" if n else "empty_reference"
        return [nothing(m, status, STRUCTURE, n) for m in BY_VOXELS]
    gap = gap_volume_mm3(prediction, reference, volumes.boundary, volumes.spacing)
    thicker = mean_thickness_mm(prediction, volumes.spacing) - mean_thickness_mm(reference, volumes.spacing)
    return [
        Measure(name, value, STRUCTURE, "undefined" if math.isnan(value) else "ok", n)
        for name, value in zip(BY_VOXELS, (gap, thicker), strict=True)
    ]


def making(volumes: Volumes, affine: Array) -> list[Measure]:
    """Whether the implant can be made and put in; see `volforge.tasks.implant.making`."""
    from volforge.tasks.implant.making.fit import MEASURES, fit_measures

    if volumes.prediction is None:
        return [nothing(m, "missing_prediction", STRUCTURE) for m in MEASURES]
    assert volumes.boundary is not None
    return fit_measures(volumes.prediction > 0, volumes.boundary, affine, STRUCTURE)


def strata(volumes: Volumes, affine: Array) -> list[str]:
    """`implant/<place>` and `implant/<size>` of the true implant; none where there is none."""
    from volforge.tasks.implant.strata import stratum_of

    reference = volumes.reference > 0
    if not reference.any():
        return []
    assert volumes.boundary is not None
    return [f"{STRUCTURE}/{word}" for word in stratum_of(reference, volumes.boundary, affine)]
