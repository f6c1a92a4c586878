"""Measures of the images that an arm paints of label maps."""

from __future__ import annotations

from dataclasses import replace

from volforge.judging.image_arms import ImageArm
from volforge.judging.judge import ALL, Judge, judge_case, load_judge, unjudged
from volforge.judging.memorised import memorised
from volforge.judging.utility import Shown, utility
from volforge.metrics.measure import Measure
from volforge.metrics.texture import slice_change, texture
from volforge.study.cases import Cohort
from volforge.study.colours import colours_of
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import Row, measure_arm
from volforge.study.measure_images import measure_images
from volforge.study.measures import row
from volforge.study.origin import origin
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.strips import Strip
from volforge.study.volumes import CaseResult, Volumes, in_sides, sided
from volforge.tasks.semantic_synthesis.background import background_strips
from volforge.tasks.semantic_synthesis.mask_loss import strips_of_pairs
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure every image of an arm.

    Args:
        settings: The arm.
        job: Its predictions, judging networks, and the files to write.

    Returns:
        Number of measures.
    """
    cohort = Cohort(job.scans)
    return measure_arm(settings, job, cohort, Painted(settings, job, cohort))


class Painted(ImageArm):
    """The measuring of one arm."""

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        super().__init__(settings, job, cohort)
        self.colours = colours_of(cohort)
        self.judge = load_judge(settings, job.judge) if job.judge is not None else None
        self.shown: dict[str, Shown] = {}

    def load(self, prediction: Prediction) -> Volumes:
        """An image, its label map, and the real image of the same scan."""
        cohort, scan = self.cohort, prediction.scan
        made = None
        if prediction.file:
            made = on_scan_grid(prediction.path(self.job.predictions), cohort.record(scan), labels=False)
        reference = cohort.target_image(prediction.reference)
        body = cohort.body(prediction.reference, reference.shape)
        source = cohort.read(scan, "labels")
        outline = cohort.body(scan, source.shape)
        return Volumes(source, made, reference, body, outline, None, cohort.grid(scan).spacing_mm)

    def measure_case(self, volumes: Volumes, prediction: Prediction, deviation: Array | None) -> CaseResult:
        """Errors and outline; texture by structure, and what the segmenter reads."""
        settings, judge, source = self.settings, self.judge, volumes.source
        assert source is not None
        if judge is not None and settings.metrics["utility"] and prediction.scan not in self.shown:
            self.shown[prediction.scan] = _shown(judge, volumes, prediction)
        sides = {p.key: (p.structure, p.side) for p in settings.structures} | {ALL: (ALL, "")}
        change: list[Measure] = []
        read: list[Measure] = []
        if volumes.prediction is not None and volumes.is_finite:
            ids = {p.key: p.id for p in settings.structures}
            read = texture(volumes.prediction, volumes.reference, source, ids)
            change = [slice_change(volumes.prediction, volumes.reference, volumes.body)]
            if judge is not None:
                read += judge_case(judge, volumes.prediction, volumes.reference, source, volumes.spacing)
        elif judge is not None:
            failed = unjudged(settings)
            read = failed if volumes.prediction is None else [replace(m, status="not_finite") for m in failed]
        found = measure_images(settings, volumes, deviation, change)
        return CaseResult([*(("", m) for m in found), *(in_sides(m, sides) for m in read)])

    def of_cases(self, every: list[Prediction]) -> list[Row]:
        """What segmenters are worth that learn from the images."""
        if not self.shown:
            return []
        by_scan = {p.scan: p for p in every}
        rows = []
        for case, found in utility(self.settings, list(self.shown.values()), self.place.seed):
            side, named = sided(self.settings, found)
            rows.append(row(origin(self.settings, self.place, by_scan[case.scan], side, named.structure), named))
        return rows

    def strips(self, every: list[Prediction]) -> list[tuple[Strip, Array]]:
        """The background before and after; where another arm differs by the mask loss alone, the first case of both."""
        settings = self.settings
        found = background_strips(
            self.cohort, settings.cohort, settings.target, settings.metrics.get("legacy_recipes", {})
        )
        pairs = settings.metrics.get("mask_pairs", [])
        chosen = next((p for p in every if p.file and not p.sample), None)
        if chosen is not None and any(settings.arm in pair for pair in pairs):
            volumes, hounsfield = self.load(chosen), settings.is_hounsfield
            found += strips_of_pairs(pairs, settings.arm, chosen.scan, volumes, self.colours or {}, hounsfield)
        return found

    def of_slices(self) -> list[Measure]:
        """Whether training images are painted again."""
        slices = self.slices
        real = list(zip(slices.subjects, slices.real, strict=True))
        return memorised(self.settings, self.cohort, self.place.fold, slices.made, real)


def _shown(judge: Judge, volumes: Volumes, prediction: Prediction) -> Shown:
    """A case for segmenters that learn from synthetic images: its first sample and the real image."""
    assert volumes.source is not None
    made = None
    if volumes.prediction is not None and volumes.is_finite:
        made = judge.view(volumes.prediction, volumes.source, volumes.spacing)
    real = judge.view(volumes.reference, volumes.source, volumes.spacing)
    return Shown(prediction.subject, prediction.scan, made, real)
