"""One measure: the value of a metric with its unit, and what a table must know to trust it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "absent", "empty_prediction", "empty_reference", "undefined", "missing_prediction", "not_finite"]
FAILURES = ("empty_prediction", "empty_reference", "missing_prediction", "not_finite")

# unit by ending of a measure's name; what ends otherwise has no unit, written `1`
_UNITS = {
    "_mm": "mm",
    "_mm2": "mm2",
    "_mm3": "mm3",
    "_deg": "degree",
    "_hu": "HU",
    "_db": "dB",
    "_nats": "nats",
    "_percent": "percent",
    "_voxels": "voxel",
    "_seconds": "s",
    "_hours": "h",
    "_gib": "GiB",
}
_NO_UNIT = ("nsd_", "boundary_dice_", "near_dice_")  # their ending is a tolerance
_HIGHER = ("dice", "iou", "sensitivity", "precision", "nsd", "boundary_dice", "psnr", "ssim", "ms_ssim", "ncc",
           "outline_dice", "bone_dice", "near_dice", "region_recall", "segmenter_dice", "utility_dice")  # fmt: skip
# the best is the nearest to this
NOMINAL = {
    "coverage_50": 0.5, "coverage_80": 0.8, "coverage_95": 0.95, "bias_hu": 0.0, "attenuation_error_percent": 0.0,
    "water_path_error_mm": 0.0, "texture_sd_ratio": 1.0, "texture_fine_ratio": 1.0, "slice_change_ratio": 1.0,
}  # fmt: skip
_NEUTRAL = (
    "diversity",
    "memorisation",  # to be read beside the arm `real`
    "segmenter_real_dice",
    "negative_volume",
    "joint_space",
    "contact_area",
    "asymmetry",
    "volume_mm3",
    "unresolved",
    "mirrored",
    "repeatability",
    "legacy_",
    "volume_error_percent",
    "contour_step_outer_mm",  # signed; judged by the 95th percentile of their sizes
    "contour_step_inner_mm",
    "thickness_difference",
    "thickness_p5",
    "smallest_thickness",
    "insertion_angle",
    "inner_gradient_correlation",  # their best value is that of true pairs, see the measures `gap_...`
    "inner_mind_distance",
    "inner_mutual_information",
)


@dataclass(frozen=True)
class Measure:
    """A value of a metric.

    Attributes:
        measure: Name in snake_case with its unit where it has one, for example `hd95_mm`.
        value: The value; NaN where it is not defined.
        structure: What it speaks of: a structure, or the region of an image measure.
        status: `ok`; `absent` (in neither: nothing to measure, no failure); `empty_prediction`,
            `empty_reference`, `missing_prediction`, `not_finite` (failures); `undefined` (no value by the formula).
        n: How many voxels or images it was computed from.
    """

    measure: str
    value: float
    structure: str = ""
    status: Status = "ok"
    n: int = 0

    @property
    def unit(self) -> str:
        """Unit, `1` where there is none."""
        return unit_of(self.measure)

    @property
    def failed(self) -> bool:
        """Whether a table counts it as a failure."""
        return self.status in FAILURES


def nothing(measure: str, status: Status, structure: str = "", n: int = 0) -> Measure:
    """A measure without a value."""
    return Measure(measure, math.nan, structure, status, n)


def unit_of(measure: str) -> str:
    """The unit of a measure by its name."""
    if measure.startswith(_NO_UNIT):
        return "1"
    endings = [e for e in _UNITS if measure.endswith(e)]
    return _UNITS[max(endings, key=len)] if endings else "1"


def better(measure: str) -> Literal["higher", "lower", "nominal", "neither"]:
    """Which values of a measure are better; `neither` for quantities that only describe.

    `legacy_*` measures select nothing; a signed volume error is judged by its absolute twin.
    """
    plain = measure
    if plain in NOMINAL:
        return "nominal"
    if plain.startswith(_NEUTRAL) or plain.endswith("_floor"):
        return "neither"
    return "higher" if plain.startswith(_HIGHER) else "lower"


def from_nominal(measure: str, value: float) -> float:
    """How far a value is from the nominal level of its measure; ratios by their logarithm, so that 0 is the worst.

    Half and twice the level are then alike, and an image without any texture is no near miss.
    """
    level = NOMINAL[measure]
    if not measure.endswith("_ratio"):
        return abs(value - level)
    return abs(math.log(value / level)) if value > 0 else math.nan if math.isnan(value) else math.inf


def number(value: float) -> str:
    """A value for a table file: ten significant digits; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.10g}"
