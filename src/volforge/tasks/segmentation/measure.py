"""Measures of the label maps of an arm."""

from __future__ import annotations

from volforge.metrics.legacy import legacy_hd_voxels
from volforge.metrics.measure import Measure
from volforge.study import label_arm
from volforge.study.cases import Cohort
from volforge.study.jobs import MeasureJob
from volforge.study.label_arm import LabelArm
from volforge.study.predictions import Prediction, parse_by_structure
from volforge.study.settings import ArmSettings
from volforge.study.volumes import CaseResult, Volumes
from volforge.tasks.segmentation.joints_file import read_joints
from volforge.volume.geometry import Array


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every label map of an arm; see `volforge.study.label_arm.measure`."""
    return label_arm.measure(settings, job, LabelMaps)


class LabelMaps(LabelArm):
    """The measuring of one arm."""

    legacy = staticmethod(legacy_hd_voxels)

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        super().__init__(settings, job, cohort)
        self.joints: dict[str, list[dict[str, str]]] = {}
        for r in read_joints(job.predictions):
            self.joints.setdefault(r["scan"], []).append(r)

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Overlap and surfaces, cross-entropy, and how well the joints were found."""
        result = super().measure(volumes, prediction, confidence, deviation)
        result.measures += [*self._cross_entropy(prediction), *self._joints(prediction.scan)]
        return result

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
