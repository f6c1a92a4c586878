"""The measuring of an arm that makes label maps of a cohort's structures."""

from __future__ import annotations

from collections.abc import Callable

from volforge.metrics.measure import Measure
from volforge.study.case_picture import label_picture
from volforge.study.cases import Cohort
from volforge.study.colours import colours_of
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import Row, measure_arm
from volforge.study.measure_labels import measure_labels
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.strips import Strip
from volforge.study.volumes import CaseResult, Volumes
from volforge.study.whole_numbers import whole_numbers
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid


class LabelArm:
    """The measuring of one arm; tasks may measure more, or compare with another reference."""

    primary = "dice"
    primary_of: tuple[str, ...] = ()
    legacy: Callable[[Array, Array, str], Measure] | None = None
    """What the published code reported of two masks of a structure (its key), where it did."""

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        self.settings, self.job, self.cohort = settings, job, cohort
        self.colours = colours_of(cohort)

    def predicted(self, prediction: Prediction) -> Array | None:
        """(X, Y, Z) ids on the scan's canonical grid; None where there is no prediction."""
        if not prediction.file:
            return None
        path, record = prediction.path(self.job.predictions), self.cohort.record(prediction.scan)
        values = on_scan_grid(path, record, labels=True, structures=self.cohort.structures)
        return whole_numbers(values, prediction.file)

    def load(self, prediction: Prediction) -> Volumes:
        """A label map and the scan's own."""
        cohort, scan = self.cohort, prediction.scan
        shown = self.predicted(prediction)
        image = cohort.read(scan, "image") if cohort.has(scan, "image") else None
        reference = cohort.read(scan, "labels")
        body = cohort.body(scan, reference.shape)
        return Volumes(image, shown, reference, body, None, None, cohort.grid(scan).spacing_mm)

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Overlap, surfaces and volumes; calibration where there is a confidence."""
        return measure_labels(self.settings, volumes, confidence, type(self).legacy)

    def of_all(self, every: list[Prediction]) -> tuple[list[Row], list[Row]]:
        """Nothing."""
        return [], []

    def picture(self, volumes: Volumes) -> Array:
        """Input, prediction, reference, error."""
        return label_picture(volumes, [p.id for p in self.settings.structures], self.colours)

    def strips(self, every: list[Prediction]) -> list[tuple[Strip, Array]]:
        """None."""
        return []


def measure(settings: ArmSettings, job: MeasureJob, kind: type[LabelArm] = LabelArm) -> int:
    """Measure every label map of an arm: the entry of tasks that have nothing to add.

    Args:
        settings: The arm.
        job: Its predictions, and the files to write.
        kind: How an arm of the task is measured.

    Returns:
        Number of measures.
    """
    cohort = Cohort(job.scans)
    return measure_arm(settings, job, cohort, kind(settings, job, cohort))
