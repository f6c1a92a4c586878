"""Measures of a synthetic image against a reference, inside a mask.

For CT the values are HU and the range is SynthRAD's, -1024 to 3000 HU (arXiv 2403.08447): differences are of
plain values, PSNR and SSIM of values clipped to the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from volforge.metrics.measure import Measure, Status, nothing
from volforge.metrics.ssim import gaussian_window, ms_ssim, ms_ssim_synthrad2025, ssim, uniform_window
from volforge.volume.geometry import Array, flat_axis

# HU of the reference: at least the first, below the second
TISSUES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"air": (-math.inf, -900), "lung": (-900, -200), "soft": (-200, 150), "bone": (150, math.inf)}
)
BONE_HU = 150.0
SYNTHRAD2025_HU = (-1024.0, 3071.0)  # the evaluation's own range, unlike the 3000 HU of 2023


@dataclass(frozen=True)
class ImageMetrics:
    """Which numbers are wanted and of what range.

    Attributes:
        low: Least value of the range; also stands outside the mask for SSIM.
        high: Greatest value.
        hu: Values are HU: names end in `_hu`, tissues are measured apart.
        structural: False leaves out SSIM and MS-SSIM, which take most of the time.
        tissues: Bins of the reference's HU, measured apart.
    """

    low: float = -1024.0
    high: float = 3000.0
    hu: bool = True
    structural: bool = True
    tissues: Mapping[str, tuple[float, float]] = field(default_factory=lambda: TISSUES)


def measure_image(
    prediction: Array, reference: Array, mask: Array, metrics: ImageMetrics | None = None, region: str = "body"
) -> list[Measure]:
    """Measure a synthetic image inside a mask.

    Args:
        prediction: Values, shape (X, Y, Z); HU for CT.
        reference: Values on the same grid.
        mask: Boolean, where to measure.
        metrics: Which numbers.
        region: Name of the mask, kept in `structure`.

    Returns:
        MAE, RMSE, PSNR, NCC, then SSIM (3-D, uniform 7x7x7), SSIM in the axial plane (Gaussian 11x11), MS-SSIM (Wang
        2003) and MS-SSIM as SynthRAD2025 computes it; for HU also MAE by tissue and the Dice of bone. Of a scan of one
        slice the SSIM in its plane is the only one: the others need a volume.

    Raises:
        ValueError: Where shapes differ, the range is empty, or the reference is not finite inside the mask. A
            prediction that is not finite there fails (`not_finite`) in every measure.
    """
    metrics = metrics or ImageMetrics()
    if not prediction.shape == reference.shape == mask.shape:
        raise ValueError(f"grids differ: {prediction.shape}, {reference.shape}, mask {mask.shape}")
    if not metrics.low < metrics.high:
        raise ValueError(f"the range {metrics.low:g} to {metrics.high:g} is empty")
    unit = "_hu" if metrics.hu else ""
    inside = np.asarray(mask, bool)
    p, r = np.asarray(prediction[inside], np.float64), np.asarray(reference[inside], np.float64)
    n = p.size
    names = (f"mae{unit}", f"rmse{unit}", "psnr_db", "ncc")
    if not np.isfinite(r).all():
        raise ValueError("the reference holds values that are not finite inside the mask")
    if not n or not np.isfinite(p).all():
        # nothing to measure; or a prediction that is no image, which a mean of the rest would hide
        status: Status = "not_finite" if n else "undefined"
        return failed_image(metrics, status, region, n, one_slice=flat_axis(inside.shape) is not None)
    values = (mae(p, r), rmse(p, r), psnr(p, r, metrics.low, metrics.high), ncc(p, r))
    found = [_measure(m, v, region, n) for m, v in zip(names, values, strict=True)]
    if metrics.structural:
        found += _structural(prediction, reference, inside, metrics, region)
    if metrics.hu:
        for tissue, (low, high) in metrics.tissues.items():
            chosen = (r >= low) & (r < high)
            count = int(np.count_nonzero(chosen))
            value = mae(p[chosen], r[chosen]) if count else math.nan
            # a scan without lungs is no failure of a model
            found.append(Measure("mae_hu", value, tissue, "ok" if count else "absent", count))
        found.append(_bone(p, r))
    return found


def failed_image(
    metrics: ImageMetrics, status: Status, region: str = "body", n: int = 0, *, one_slice: bool = False
) -> list[Measure]:
    """All rows of `measure_image` without a value."""
    unit = "_hu" if metrics.hu else ""
    names = [f"mae{unit}", f"rmse{unit}", "psnr_db", "ncc"]
    if metrics.structural:
        whole = ["ssim", "ssim_2d", "ms_ssim", *(["ms_ssim_synthrad2025"] if metrics.hu else [])]
        names += ["ssim_2d"] if one_slice else whole
    parts = [(m, region) for m in names]
    if metrics.hu:
        parts += [*(("mae_hu", t) for t in metrics.tissues), ("bone_dice", "bone")]
    return [nothing(m, status, part, n) for m, part in parts]


def mae(prediction: Array, reference: Array) -> float:
    """Mean absolute difference."""
    return float(np.abs(prediction - reference).mean())


def rmse(prediction: Array, reference: Array) -> float:
    """Root of the mean squared difference."""
    return math.sqrt(float(((prediction - reference) ** 2).mean()))


def psnr(prediction: Array, reference: Array, low: float, high: float) -> float:
    """10 log10(range^2 / mean squared difference) in dB of values clipped to the range; infinite where equal."""
    difference = np.clip(prediction, low, high) - np.clip(reference, low, high)
    error = float((difference**2).mean())
    return math.inf if error == 0 else 10 * math.log10((high - low) ** 2 / error)


def ncc(a: Array, b: Array) -> float:
    """Normalised cross-correlation (Pearson's r), -1 to 1; NaN where one is constant."""
    # resampling and the mean of equal values leave a constant image with noise in its last digits
    if any(not np.ptp(v) > 1e-6 * max(1.0, float(np.abs(v).max())) for v in (a, b) if v.size) or not a.size:
        return math.nan
    x, y = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else math.nan


def _structural(
    prediction: Array, reference: Array, inside: Array, metrics: ImageMetrics, region: str
) -> list[Measure]:
    """SSIM family by SynthRAD's rule: clip, put the range's least value outside the mask, shift it to 0."""
    low, span = metrics.low, metrics.high - metrics.low
    x, y = (np.where(inside, np.clip(v, low, metrics.high), low) - low for v in (prediction, reference))
    flat_along = flat_axis(inside.shape)
    if flat_along is not None:
        plane = [axis for axis in range(3) if axis != flat_along]
        value, n = ssim(x, y, inside, span, gaussian_window(axes=plane))
        return [_measure("ssim_2d", value, region, n)]
    uniform, gaussian = uniform_window(), gaussian_window()
    whole, n = ssim(x, y, inside, span, uniform)
    flat, n_flat = ssim(x, y, inside, span, gaussian)
    n_inside = int(np.count_nonzero(inside))
    textbook = ms_ssim(x, y, inside, span, uniform)
    found = [
        _measure("ssim", whole, region, n),
        _measure("ssim_2d", flat, region, n_flat),
        _measure("ms_ssim", textbook, region, n_inside),
    ]
    if metrics.hu:  # defined for CT only, on a range of its own
        low, high = SYNTHRAD2025_HU
        x, y = (np.where(inside, np.clip(v, low, high), low) - low for v in (prediction, reference))
        value = ms_ssim_synthrad2025(x, y, inside, high - low)
        found.append(_measure("ms_ssim_synthrad2025", value, region, n_inside))
    return found


def _bone(prediction: Array, reference: Array) -> Measure:
    from volforge.metrics.overlap import count

    counts = count(prediction >= BONE_HU, reference >= BONE_HU)
    if not counts.reference:
        return nothing("bone_dice", "absent" if not counts.prediction else "empty_reference", "bone")
    if not counts.prediction:
        return nothing("bone_dice", "empty_prediction", "bone", counts.reference)
    return Measure("bone_dice", counts.dice, "bone", "ok", counts.reference)


def measure_outline(prediction: Array, reference: Array, spacing: Sequence[float]) -> list[Measure]:
    """Dice and HD95 of the body's outline: the body mask found in a synthetic image against the true one.

    Args:
        prediction: Body mask of the synthetic image.
        reference: Body mask of the source or the reference.
        spacing: Voxel size in mm.
    """
    from volforge.metrics.segmentation import SegmentationMetrics, measure_structures

    wanted = {"dice": "outline_dice", "hd95_mm": "outline_hd95_mm"}
    found = measure_structures(
        np.asarray(prediction, bool), np.asarray(reference, bool), spacing, {"body": 1}, SegmentationMetrics(())
    )
    return [Measure(wanted[m.measure], m.value, "body", m.status, m.n) for m in found if m.measure in wanted]


def _measure(name: str, value: float, region: str, n: int) -> Measure:
    return Measure(name, value, region, "undefined" if math.isnan(value) else "ok", n)
