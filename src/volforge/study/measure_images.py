"""Measures of a made image against the real one: errors, structure, outline, and how well its doubt is calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volforge.metrics.calibration import interval_coverage, sparsification_area
from volforge.metrics.image import ImageMetrics, failed_image, measure_image, measure_outline
from volforge.metrics.measure import Measure, Status, nothing
from volforge.study.cases import Cohort
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.volumes import Volumes
from volforge.volume.geometry import Array, Grid, flat_axis
from volforge.volume.resample import resample_to

LEVELS = (0.5, 0.8, 0.95)  # of the intervals whose coverage is counted


def measure_images(
    settings: ArmSettings,
    volumes: Volumes,
    deviation: Array | None,
    more: Sequence[Measure] = (),
    own: Array | None = None,
) -> list[Measure]:
    """Measure an image.

    Args:
        settings: The arm.
        volumes: Images on one grid.
        deviation: (X, Y, Z) standard deviation in HU, or None.
        more: Measures of the task's own, which stand before those of the deviation.
        own: (X, Y, Z) body mask found in the prediction, where the caller has it already.
    """
    low, high = settings.metrics["range_hu"]
    wanted = ImageMetrics(low, high, hu=settings.is_hounsfield, structural=settings.metrics["structural"])
    if volumes.prediction is None:
        one_slice = flat_axis(volumes.reference.shape) is not None
        missing = failed_image(wanted, "missing_prediction", one_slice=one_slice)
        if volumes.outline is not None:
            missing += [nothing(m, "missing_prediction", "body") for m in ("outline_dice", "outline_hd95_mm")]
        return missing
    found = measure_image(volumes.prediction, volumes.reference, volumes.body, wanted)
    if volumes.outline is not None:
        from volforge.volume.body_mask import find_body

        if volumes.is_finite:
            if own is None:
                own = find_body(volumes.prediction, volumes.spacing, hounsfield=settings.is_hounsfield).mask
            found += measure_outline(own, volumes.outline, volumes.spacing)
        else:
            found += [nothing(m, "not_finite", "body") for m in ("outline_dice", "outline_hd95_mm")]
    found += more
    if deviation is not None:
        error = (volumes.prediction - volumes.reference)[volumes.body].astype(np.float64)
        spread = deviation[volumes.body]
        area = sparsification_area(np.abs(error), spread)
        for level in LEVELS:
            coverage = interval_coverage(error, spread, level)
            status: Status = "undefined" if np.isnan(coverage) else "ok"
            found.append(Measure(f"coverage_{100 * level:.0f}", coverage, "body", status, error.size))
        found += [
            Measure("sparsification_area", area, "body", "undefined" if np.isnan(area) else "ok", error.size),
        ]
    return found


def on_reference(cohort: Cohort, prediction: Prediction, values: Array | None) -> Array | None:
    """A map on the read scan's grid (deviation) on the grid of the reference; 0 beyond."""
    if values is None or prediction.scan == prediction.reference:
        return values
    grid, target = Grid.of(cohort.record(prediction.scan)["grid"]), Grid.of(cohort.record(prediction.reference)["grid"])
    return resample_to(values.astype(np.float32), grid, target, nearest=False, outside=0.0)
