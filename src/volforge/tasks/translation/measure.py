"""Measures of the translated images of an arm.

Contract of the raw image: beside its prediction `<name>.nii.gz` an arm may leave `<name>.raw.nii.gz`, on the same grid
and in HU too: what its networks made before the source's mask was laid on it. Then its outline (`outline_dice_raw`,
`outline_hd95_raw_mm`) and its bone outside of the body are measured as well; the masked outline is in any case.
`predictions.tsv` does not name the file.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from volforge.judging.image_arms import ImageArm
from volforge.metrics.image import ImageMetrics, failed_image, measure_image
from volforge.metrics.measure import Measure, nothing
from volforge.study.cases import Cohort, of_modality, training_rows
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import measure_arm
from volforge.study.measure_images import LEVELS, measure_images
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.strips import Strip
from volforge.study.volumes import CaseResult, Volumes
from volforge.tasks.translation.case_measures import RAW, Known, case_measures, failed_case, raw_measures
from volforge.tasks.translation.histogram import mean_histogram
from volforge.tasks.translation.planes import strips
from volforge.volume.body_mask import find_body
from volforge.volume.geometry import Array, flat_axis
from volforge.volume.intensity import AIR_HU
from volforge.volume.resample import resample_to
from volforge.volume.restore import on_scan_grid

ENDING = ".nii.gz"


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


def raw_file(prediction: Prediction, folder: Path) -> Path | None:
    """The image before the mask, where the arm left it."""
    if not prediction.file.endswith(ENDING):
        return None
    path = folder / f"{prediction.file.removesuffix(ENDING)}.raw{ENDING}"
    return path if path.exists() else None


class Translated(ImageArm):
    """The measuring of one arm."""

    def load(self, prediction: Prediction) -> Volumes:
        """An image, its source, and the real image, on the grid of the latter.

        The synthetic image is resampled once; beyond the source's view there is no claim. The body is what the real
        image itself shows: a mask that came with the sheet is a region of its own.
        """
        cohort = self.cohort
        made = self._made(prediction, prediction.path(self.job.predictions)) if prediction.file else None
        reference = cohort.target_image(prediction.reference)
        body = cohort.own_body(prediction.reference, reference) & self._view(prediction)
        source = cohort.read(prediction.scan, "image")
        outline = cohort.body(prediction.scan, source.shape)
        target = cohort.grid(prediction.reference)
        if prediction.scan != prediction.reference:
            grid = cohort.grid(prediction.scan)
            outline = resample_to(outline, grid, target, nearest=True, outside=0)
            source = resample_to(source.astype(np.float32), grid, target, nearest=False, outside=float(source.min()))
        return Volumes(source, made, reference, body, outline, None, target.spacing_mm)

    def _made(self, prediction: Prediction, path: Path) -> Array:
        """An image of the arm on the reference's grid; beyond the source's view air, or 0 percent."""
        values = on_scan_grid(path, self.cohort.record(prediction.scan), labels=False)
        if prediction.scan == prediction.reference:
            return values
        grid, target = self.cohort.grid(prediction.scan), self.cohort.grid(prediction.reference)
        return resample_to(
            values.astype(np.float32),
            grid,
            target,
            nearest=False,
            outside=AIR_HU if self.settings.is_hounsfield else 0.0,
        )

    def _view(self, prediction: Prediction) -> Array:
        """Where the source has voxels, on the reference's grid."""
        grid, target = self.cohort.grid(prediction.scan), self.cohort.grid(prediction.reference)
        whole = np.ones(grid.shape, bool)
        if prediction.scan == prediction.reference:
            return whole
        return resample_to(whole, grid, target, nearest=True, outside=0)

    def measure_case(self, volumes: Volumes, prediction: Prediction, deviation: Array | None) -> CaseResult:
        """Errors inside the body, and inside the mask where one came with the pair; of CT what only CT has."""
        if not self.settings.is_hounsfield:
            return super().measure_case(volumes, prediction, deviation)
        known = Known(volumes.body, self.training_histogram, self.settings.metrics.get("kvp"))
        if volumes.prediction is None:
            more = failed_case(volumes, known, "missing_prediction") + self._missing()
            return self._result(volumes, prediction, [*measure_images(self.settings, volumes, None), *more])
        if not volumes.is_finite:
            more = failed_case(volumes, known, "not_finite")
            return self._result(volumes, prediction, measure_images(self.settings, volumes, deviation, more))
        own = find_body(volumes.prediction, volumes.spacing, hounsfield=True).mask
        more = case_measures(volumes, Known(own, known.histogram, known.kvp))
        path = raw_file(prediction, self.job.predictions)
        if path is not None:
            assert volumes.outline is not None
            raw = self._made(prediction, path)
            shown = find_body(raw, volumes.spacing, hounsfield=True).mask
            more += raw_measures(raw, shown, volumes.outline, volumes.spacing)
        found = measure_images(self.settings, volumes, deviation, more, own)
        return self._result(volumes, prediction, found)

    def _missing(self) -> list[Measure]:
        """Rows that only the arm's other files would give: a failure counts in them too, or their means were over the
        easy cases."""
        found = [*RAW] if self.settings.inference else []
        found += [(f"coverage_{100 * q:.0f}", "body") for q in LEVELS] if self.settings.own.get("doubt") else []
        found += [("sparsification_area", "body")] if self.settings.own.get("doubt") else []
        return [nothing(name, "missing_prediction", structure) for name, structure in found]

    def _result(self, volumes: Volumes, prediction: Prediction, found: list[Measure]) -> CaseResult:
        return CaseResult([("", m) for m in [*found, *self._in_mask(volumes, prediction)]])

    def _in_mask(self, volumes: Volumes, prediction: Prediction) -> list[Measure]:
        """The errors of the whole inside the mask that came with the pair: what challenges print, never compared with
        those of the body; nothing where none came."""
        if not self.cohort.has_given_body(prediction.reference):
            return []
        low, high = self.settings.metrics["range_hu"]
        wanted = ImageMetrics(low, high, structural=self.settings.metrics["structural"], tissues={})
        region = "mask"
        if volumes.prediction is None:
            flat = flat_axis(volumes.reference.shape) is not None
            found = failed_image(wanted, "missing_prediction", region, one_slice=flat)
        else:
            mask = self.cohort.body(prediction.reference, volumes.reference.shape) & self._view(prediction)
            found = measure_image(volumes.prediction, volumes.reference, mask, wanted, region)
        return [m for m in found if m.structure == region]

    @cached_property
    def training_histogram(self) -> Array | None:
        """Mean shares of HU in the bodies of the training CTs."""
        cohort = self.cohort
        rows = of_modality(training_rows(self.settings, cohort, self.job.fold), self.settings.target)
        names = [r["scan"] for r in rows if cohort.has(r["scan"], "image")]
        images = ((cohort.target_image(n), n) for n in names)
        return mean_histogram((image, cohort.own_body(n, image)) for image, n in images)

    def strips(self, every: list[Prediction]) -> list[tuple[Strip, Array]]:
        """Planes of one case, the same in all arms."""
        wanted = self.settings.metrics.get("shown_scan") or (every[0].scan if every else "")
        chosen = next((p for p in every if p.scan == wanted and p.file), None)
        if chosen is None:
            return []
        return strips(self.load(chosen), chosen, hounsfield=self.settings.is_hounsfield)
