"""Measures of a predicted label map: overlap, surfaces, volumes, and how well its confidence is calibrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from volforge.errors import VolforgeError
from volforge.metrics.calibration import CalibrationCurve, calibration_curve, sparsification_area
from volforge.metrics.measure import Measure, nothing
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures, near_dice, near_name
from volforge.study.settings import ArmSettings
from volforge.study.volumes import CaseResult, Volumes, in_sides
from volforge.volume.boxes import holding
from volforge.volume.geometry import Array

NEAR_MM = 10.0  # calibration of labels: voxels further from any structure are not asked


def measure_labels(
    settings: ArmSettings,
    volumes: Volumes,
    confidence: Array | None,
    legacy: Callable[[Array, Array, str], Measure] | None = None,
) -> CaseResult:
    """Measure a label map.

    Args:
        settings: The arm.
        volumes: Label maps on one grid.
        confidence: (X, Y, Z) probability of the predicted label, or None.
        legacy: What the published code reported of a structure: `legacy(prediction, reference, key)` of two masks;
            None: nothing.
    """
    wanted = SegmentationMetrics(
        tuple(settings.metrics["tolerances_mm"]),
        settings.metrics["surface"],
        boundary_mm=settings.metrics["boundary_mm"],
    )
    ids = {p.key: p.id for p in settings.structures}
    sides = {p.key: (p.structure, p.side) for p in settings.structures}
    if volumes.prediction is None:
        names = wanted.names(volumes.boundary is not None)
        missing = [in_sides(nothing(m, "missing_prediction", k), sides) for k in ids for m in names]
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
        if settings.metrics["legacy"] and legacy is not None:
            found.append(legacy(volumes.prediction == i, volumes.reference == i, key))
    measures = [in_sides(m, sides) for m in found]
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
                    holding(volumes.reference, others),
                    volumes.spacing,
                    wanted["mm"],
                    part.structure,
                ),
            )
        )
    return found


def _label_uncertainty(
    volumes: Volumes, confidence: Array, ids: Sequence[int], settings_name: str
) -> tuple[CalibrationCurve, list[Measure]]:
    """Calibration near the structures: far background, always right, would hide everything."""
    from volforge.volume.boxes import foreground_box, grown
    from volforge.volume.morphology import dilate

    assert volumes.prediction is not None
    prediction, reference = (np.where(holding(v, ids), v, 0) for v in (volumes.prediction, volumes.reference))
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
