"""Measures of one prediction against its reference, by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.judging.judge import ALL, Judge, judge_case, unjudged
from volforge.metrics.calibration import CalibrationCurve, calibration_curve, interval_coverage, sparsification_area
from volforge.metrics.image import ImageMetrics, failed_image, measure_image, measure_outline
from volforge.metrics.measure import Measure, nothing
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures, near_dice, near_name
from volforge.metrics.texture import slice_change, texture
from volforge.study.cases import Cohort
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array, Grid
from volforge.volume.intensity import AIR_HU
from volforge.volume.resample import resample_to
from volforge.volume.restore import on_scan_grid

NEAR_MM = 10.0  # calibration of labels: voxels further from any structure are not asked


@dataclass
class CaseResult:
    """What was measured of a case.

    Attributes:
        measures: Measures with the side that each belongs to.
        curve: Calibration of labels, where the arm gives confidence.
    """

    measures: list[tuple[str, Measure]]
    curve: CalibrationCurve | None = None


@dataclass(frozen=True)
class Volumes:
    """A prediction and its reference on one grid, for measures and pictures.

    Attributes:
        source: What the arm read, or None.
        prediction: Label map, implant or image; None where there is none.
        reference: The same kind.
        body: Where image measures look.
        outline: Body of the source that the outline is compared with (image tasks).
        boundary: Defective skull (implants).
        spacing: Voxel size in mm.
    """

    source: Array | None
    prediction: Array | None
    reference: Array
    body: Array
    outline: Array | None
    boundary: Array | None
    spacing: tuple[float, float, float]


def load_case(settings: ArmSettings, cohort: Cohort, folder: Path, prediction: Prediction) -> Volumes:
    """Read a prediction and what it is compared with, on the reference's canonical grid."""
    own, wanted = cohort.record(prediction.scan), cohort.record(prediction.reference)
    grid, target = Grid.of(own["grid"]), Grid.of(wanted["grid"])
    predicted = None
    if prediction.file:
        predicted = on_scan_grid(
            prediction.path(folder), own, labels=not settings.is_image_task, structures=cohort.structures
        )
    if settings.task == "implant":
        defective = cohort.read(prediction.scan, "defective") > 0
        reference = (cohort.read(prediction.scan, "implant") > 0).astype(np.uint8)
        shown = None if predicted is None else (predicted > 0).astype(np.uint8)
        return Volumes(None, shown, reference, defective, None, defective, target.spacing_mm)
    if settings.task == "segmentation":
        image = cohort.read(prediction.scan, "image") if cohort.has(prediction.scan, "image") else None
        reference = cohort.read(prediction.scan, "labels")
        shown = None if predicted is None else whole_numbers(predicted, prediction.file)
        return Volumes(
            image, shown, reference, cohort.body(prediction.scan, reference.shape), None, None, target.spacing_mm
        )
    reference = cohort.target_image(prediction.reference)
    body = cohort.body(prediction.reference, reference.shape)
    kind = "image" if settings.task == "translation" else "labels"
    source = cohort.read(prediction.scan, kind)
    outline = cohort.body(prediction.scan, source.shape)
    if settings.task == "translation" and (prediction.scan != prediction.reference):
        # the synthetic image is resampled once, onto the reference's own grid; beyond the source's view is no claim
        view = resample_to(np.ones(source.shape, bool), grid, target, nearest=True, outside=0)
        body = body & view
        outline = resample_to(outline, grid, target, nearest=True, outside=0)
        source = resample_to(source.astype(np.float32), grid, target, nearest=False, outside=float(source.min()))
        if predicted is not None:
            predicted = resample_to(predicted.astype(np.float32), grid, target, nearest=False, outside=float(AIR_HU))
    return Volumes(source, predicted, reference, body, outline, None, target.spacing_mm)


def on_reference(cohort: Cohort, prediction: Prediction, values: Array | None) -> Array | None:
    """A map on the read scan's grid (deviation) on the grid of the reference; 0 beyond."""
    if values is None or prediction.scan == prediction.reference:
        return values
    grid, target = Grid.of(cohort.record(prediction.scan)["grid"]), Grid.of(cohort.record(prediction.reference)["grid"])
    return resample_to(values.astype(np.float32), grid, target, nearest=False, outside=0.0)


def measure_case(
    settings: ArmSettings,
    volumes: Volumes,
    confidence: Array | None,
    deviation: Array | None,
    judge: Judge | None = None,
) -> CaseResult:
    """Measure one case.

    Args:
        settings: The arm.
        volumes: From `load_case`.
        confidence: Probability of the predicted label (label tasks), or None.
        deviation: Standard deviation in HU (image tasks), or None.
        judge: Segmenter that reads synthetic images, or None.
    """
    if settings.is_image_task:
        return _measure_image(settings, volumes, deviation, judge)
    return _measure_labels(settings, volumes, confidence)


def _measure_labels(settings: ArmSettings, volumes: Volumes, confidence: Array | None) -> CaseResult:
    wanted = SegmentationMetrics(
        tuple(settings.metrics["tolerances_mm"]),
        settings.metrics["surface"],
        boundary_mm=settings.metrics["boundary_mm"],
    )
    ids = {p.key: p.id for p in settings.structures}
    sides = {p.key: (p.structure, p.side) for p in settings.structures}
    if volumes.prediction is None:
        names = wanted.names(volumes.boundary is not None)
        missing = [_sided(nothing(m, "missing_prediction", k), sides) for k in ids for m in names]
        wanted_near = settings.metrics.get("near")
        if wanted_near:
            near = near_name(wanted_near["mm"])
            parts = [p for p in settings.structures if p.structure == wanted_near["structure"]]
            missing += [(p.side, nothing(near, "missing_prediction", p.structure)) for p in parts]
        return CaseResult(missing)
    found = measure_structures(volumes.prediction, volumes.reference, volumes.spacing, ids, wanted, volumes.boundary)
    voxel = float(np.prod(volumes.spacing))
    for key, i in ids.items():
        p, r = (int(np.count_nonzero(v == i)) for v in (volumes.prediction, volumes.reference))
        if p or r:
            found += [
                Measure("volume_mm3", p * voxel, key, "ok", p),
                Measure("reference_volume_mm3", r * voxel, key, "ok", r),
            ]
        if settings.metrics["legacy"]:
            found += _legacy(volumes.prediction == i, volumes.reference == i, key, settings.task)
    measures = [_sided(m, sides) for m in found]
    if settings.metrics.get("near"):
        measures += _near(settings, volumes)
    curve = None
    if confidence is not None:
        curve, doubts = _label_uncertainty(volumes, confidence, list(ids.values()), f"arm {settings.arm}")
        measures += [("", m) for m in doubts]
    return CaseResult(measures, curve)


def _near(settings: ArmSettings, volumes: Volumes) -> list[tuple[str, Measure]]:
    """Dice of a structure where it faces another one of its side, by the reference."""
    assert volumes.prediction is not None
    wanted = settings.metrics["near"]
    found = []
    for part in (p for p in settings.structures if p.structure == wanted["structure"]):
        others = [p.id for p in settings.structures if p.structure == wanted["of"] and p.side == part.side]
        found.append(
            (
                part.side,
                near_dice(
                    volumes.prediction == part.id,
                    volumes.reference == part.id,
                    np.isin(volumes.reference, others),
                    volumes.spacing,
                    wanted["mm"],
                    part.structure,
                ),
            )
        )
    return found


def _legacy(prediction: Array, reference: Array, key: str, task: str) -> list[Measure]:
    from volforge.metrics.legacy import legacy_hd_voxels, reconstruction_error_percent

    if task == "implant":
        return [reconstruction_error_percent(prediction, reference, key)]
    return [legacy_hd_voxels(prediction, reference, key)]


def _label_uncertainty(
    volumes: Volumes, confidence: Array, ids: Sequence[int], settings_name: str
) -> tuple[CalibrationCurve, list[Measure]]:
    """Calibration near the structures: far background, always right, would hide everything."""
    from volforge.volume.boxes import foreground_box, grown
    from volforge.volume.morphology import dilate

    assert volumes.prediction is not None
    prediction, reference = (np.where(np.isin(v, ids), v, 0) for v in (volumes.prediction, volumes.reference))
    box = foreground_box(reference)  # the same voxels for every arm, whatever it predicts
    region = "structures"
    if box is None:
        curve = calibration_curve(np.zeros(0), np.zeros(0, bool))
        return curve, [nothing(m, "absent", region) for m in ("calibration_error", "sparsification_area")]
    margin = [int(np.ceil(NEAR_MM / s)) + 1 for s in volumes.spacing]
    box = grown(box, margin, prediction.shape)
    near = dilate(reference[box] > 0, NEAR_MM, volumes.spacing)
    right = (prediction[box] == reference[box])[near]
    sure = confidence[box][near].astype(np.float64)
    if not (np.isfinite(sure).all() and sure.min() >= -1e-6 and sure.max() <= 1 + 1e-6):
        raise VolforgeError(
            f"a confidence is a probability, 0 to 1, not {sure.min():g} to {sure.max():g}",
            settings_name,
            "divide by 100?",
        )
    sure = np.clip(sure, 0, 1)
    curve = calibration_curve(sure, right)
    area = sparsification_area(~right, 1 - sure)
    status = "undefined" if np.isnan(area) else "ok"
    return curve, [
        Measure("calibration_error", curve.expected_error, region, "ok", right.size),
        Measure("sparsification_area", area, region, status, right.size),  # type: ignore[arg-type]
    ]


def _measure_image(settings: ArmSettings, volumes: Volumes, deviation: Array | None, judge: Judge | None) -> CaseResult:
    low, high = settings.metrics["range_hu"]
    wanted = ImageMetrics(low, high, hu=settings.is_hounsfield, structural=settings.metrics["structural"])
    sides = {p.key: (p.structure, p.side) for p in settings.structures} | {ALL: (ALL, "")}
    if volumes.prediction is None:
        missing = failed_image(wanted, "missing_prediction")
        if volumes.outline is not None:
            missing += [nothing(m, "missing_prediction", "body") for m in ("outline_dice", "outline_hd95_mm")]
        unread = unjudged(settings) if judge is not None else []
        return CaseResult([("", m) for m in missing] + [_sided(m, sides) for m in unread])
    found = measure_image(volumes.prediction, volumes.reference, volumes.body, wanted)
    if volumes.outline is not None:
        from volforge.volume.body_mask import find_body

        if np.isfinite(volumes.prediction).all():
            own = find_body(volumes.prediction, volumes.spacing, hounsfield=settings.is_hounsfield).mask
            found += measure_outline(own, volumes.outline, volumes.spacing)
        else:
            found += [nothing(m, "not_finite", "body") for m in ("outline_dice", "outline_hd95_mm")]
    textures: list[Measure] = []
    if settings.task == "semantic_synthesis" and volumes.source is not None and np.isfinite(volumes.prediction).all():
        ids = {p.key: p.id for p in settings.structures}
        textures = texture(volumes.prediction, volumes.reference, volumes.source, ids)
        found.append(slice_change(volumes.prediction, volumes.reference, volumes.body))
        if judge is not None:
            textures += judge_case(judge, volumes.prediction, volumes.reference, volumes.source, volumes.spacing)
    elif judge is not None:
        textures = [replace(m, status="not_finite") for m in unjudged(settings)]
    if deviation is not None:
        error = (volumes.prediction - volumes.reference)[volumes.body].astype(np.float64)
        spread = deviation[volumes.body]
        area = sparsification_area(np.abs(error), spread)
        coverage = interval_coverage(error, spread)
        found += [
            Measure("coverage_95", coverage, "body", "undefined" if np.isnan(coverage) else "ok", error.size),
            Measure("sparsification_area", area, "body", "undefined" if np.isnan(area) else "ok", error.size),
        ]
    return CaseResult([("", m) for m in found] + [_sided(m, sides) for m in textures])


def whole_numbers(values: Array, file: str) -> Array:
    """Ids of a predicted label map, which other programs often save as decimal numbers.

    Raises:
        VolforgeError: Values that are no ids.
    """
    if values.dtype.kind in "iub" and (values.size == 0 or values.min() >= 0):
        return values
    if not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise VolforgeError(
            f"not a label map: {count} values are not finite (NaN or infinity)", file, "save ids as whole numbers"
        )
    rounded = np.rint(values)
    if not np.array_equal(rounded, values) or values.min() < 0 or values.max() > 65535:
        raise VolforgeError(
            f"not a label map: values from {values.min():g} to {values.max():g}", file, "save ids as whole numbers"
        )
    return rounded.astype(np.uint16)


def sided(settings: ArmSettings, measure: Measure) -> tuple[str, Measure]:
    """Side and structure of a measure that is named after a structure's key."""
    return _sided(measure, {p.key: (p.structure, p.side) for p in settings.structures})


def _sided(measure: Measure, sides: dict[str, tuple[str, str]]) -> tuple[str, Measure]:
    structure, side = sides[measure.structure]
    return side, Measure(measure.measure, measure.value, structure, measure.status, measure.n)
