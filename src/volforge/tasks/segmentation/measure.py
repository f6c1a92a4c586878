"""Measures of the label maps of an arm."""

from __future__ import annotations

from volforge.metrics.legacy import legacy_hd_voxels
from volforge.metrics.measure import Measure
from volforge.study.case_picture import label_picture
from volforge.study.cases import Cohort
from volforge.study.colours import colours_of
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import Row, measure_arm
from volforge.study.measure_labels import measure_labels
from volforge.study.predictions import Prediction, parse_by_structure
from volforge.study.settings import ArmSettings
from volforge.study.volumes import CaseResult, Volumes
from volforge.study.whole_numbers import whole_numbers
from volforge.tasks.segmentation.joints_file import read_joints
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every label map of an arm.

    Args:
        settings: The arm.
        job: Its predictions, and the files to write.

    Returns:
        Number of measures.
    """
    cohort = Cohort(job.scans)
    return measure_arm(settings, job, cohort, LabelMaps(settings, job, cohort))


class LabelMaps:
    """The measuring of one arm."""

    primary = "dice"

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        self.settings, self.job, self.cohort = settings, job, cohort
        self.colours = colours_of(cohort)
        self.joints: dict[str, list[dict[str, str]]] = {}
        for r in read_joints(job.predictions):
            self.joints.setdefault(r["scan"], []).append(r)

    def load(self, prediction: Prediction) -> Volumes:
        """A label map and the scan's own."""
        cohort, scan = self.cohort, prediction.scan
        shown = None
        if prediction.file:
            path = prediction.path(self.job.predictions)
            values = on_scan_grid(path, cohort.record(scan), labels=True, structures=cohort.structures)
            shown = whole_numbers(values, prediction.file)
        image = cohort.read(scan, "image") if cohort.has(scan, "image") else None
        reference = cohort.read(scan, "labels")
        body = cohort.body(scan, reference.shape)
        return Volumes(image, shown, reference, body, None, None, cohort.grid(scan).spacing_mm)

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Overlap and surfaces, cross-entropy, and how well the joints were found."""
        result = measure_labels(self.settings, volumes, confidence, legacy_hd_voxels)
        result.measures += [*self._cross_entropy(prediction), *self._joints(prediction.scan)]
        return result

    def of_all(self, every: list[Prediction]) -> tuple[list[Row], list[Row]]:
        """Nothing."""
        return [], []

    def picture(self, volumes: Volumes) -> Array:
        """Input, prediction, reference, error."""
        return label_picture(volumes, [p.id for p in self.settings.structures], self.colours)

    def _cross_entropy(self, prediction: Prediction) -> list[tuple[str, Measure]]:
        names = ["cross_entropy_nats"] + (["legacy_cross_entropy_nats"] if self.settings.metrics["legacy"] else [])
        measured = {p.structure for p in self.settings.structures}  # models may learn more
        return [
            (side, Measure(name, value, structure, "ok", 1))
            for name in names
            for structure, side, value in parse_by_structure(getattr(prediction, name))
            if structure in measured
        ]

    def _joints(self, scan: str) -> list[tuple[str, Measure]]:
        """Distance of the centre that the localiser found, and how much of the joint its box holds."""
        found = []
        for r in self.joints.get(scan, []):
            if r["centre_error_mm"]:
                found += [
                    (r["side"], Measure("centre_error_mm", float(r["centre_error_mm"]), r["structure"], "ok", 1)),
                    (r["side"], Measure("region_recall", float(r["region_recall"]), r["structure"], "ok", 1)),
                ]
        return found
