"""Values of a scan: units, plausibility, and the dtype that keeps them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Array
from volforge.volume.hounsfield import check_offset
from volforge.volume.units import UNITS, hounsfield_offset

AIR_HU = -1024
INT16 = np.iinfo(np.int16)


@dataclass
class Intensities:
    """Values ready to be kept: int16 where that is exact (always for HU), else float32; and flags."""

    array: Array
    flags: list[str]


def canonical_values(values: Array, unit: str) -> Intensities:
    """Convert values to their unit and to the smallest faithful dtype.

    Args:
        values: Any real dtype.
        unit: `hu`, `hu+<number>` (converted) or `arbitrary`.

    Raises:
        ScanError: values that are not finite or do not fit, a CT whose air is not near -1000 HU.
    """
    if values.dtype.kind == "f":
        broken = ~np.isfinite(values)
        if broken.any():
            where = tuple(int(i) for i in np.argwhere(broken)[0])
            raise ScanError(
                f"{int(broken.sum())} values are NaN or infinite, the first at voxel {where}",
                remedy="replace them (by air where they are padding) or export again",
            )
    flags: list[str] = []
    if values.dtype == bool:
        values = values.astype(np.uint8)
    offset = hounsfield_offset(unit)
    if offset is not None:
        rounded = np.rint(values) if values.dtype.kind == "f" else values
        if rounded.min() > -(2**20) and rounded.max() < 2**20:
            flags += check_offset(_sample(rounded), offset)
        if offset:
            values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64) - offset
            rounded = np.rint(values) if values.dtype.kind == "f" else values
        if values.dtype.kind == "f" and not np.array_equal(rounded, values):
            flags.append("hu_rounded")
        low, high = rounded.min(), rounded.max()
        if low < INT16.min or high > INT16.max:
            raise ScanError(
                f"values from {low:g} to {high:g} are no Hounsfield units",
                remedy="set the sheet's `unit` column to `arbitrary`, or export the CT in HU",
            )
        hounsfield = rounded.astype(np.int16)
        flags += check_air(hounsfield)
        return Intensities(hounsfield, flags)
    if values.dtype.kind in "iu" or np.array_equal(np.rint(values), values):
        low, high = values.min(), values.max()
        if low >= INT16.min and high <= INT16.max:
            return Intensities(values.astype(np.int16), flags)
    if np.abs(values).max() > np.finfo(np.float32).max / 4:
        raise ScanError("values are too large to be an image", remedy="check the scaling of the file")
    small = values.astype(np.float32)
    if values.dtype.kind in "iu" and not np.array_equal(small.astype(np.float64), values):
        flags.append("values_rounded")  # integers beyond 2^24
    return Intensities(small, flags)


def check_air(hounsfield: Array) -> list[str]:
    """Whether air lies where HU put it.

    Returns:
        Flags: `air_not_in_view` for a field of view inside the body, `constant_region_above_air` for padding
        that is no air.

    Raises:
        ScanError: naming the `unit` column, where the values look shifted or scaled.
    """
    sample = _sample(hounsfield)
    below = sample[sample < -1100]
    inside = sample[sample >= -1100]

    def share(low: int, high: int, of: Array = sample) -> float:
        return float(((of >= low) & (of <= high)).mean()) if of.size else 0.0

    remedy = f"set the sheet's `unit` column ({', '.join(UNITS)}), or mend the file's slope and intercept"
    darkest, middle = int(np.percentile(sample, 0.5)), int(np.median(sample))
    if below.size > 0.02 * sample.size:
        padding = float((below == np.bincount(below - below.min()).argmax() + below.min()).mean())
        if padding < 0.5 or (below.size > 0.3 * sample.size and share(-500, 32767, inside) < 0.3):
            raise ScanError(
                f"{below.size / sample.size:.0%} of the values lie below -1100 HU, too many for padding",
                remedy=remedy + "; values that are HU already need no `hu+<number>`",
            )
    flags = []
    values, counts = np.unique(sample, return_counts=True)
    if values[counts.argmax()] > -400 and counts.max() > 0.1 * sample.size:
        flags.append("constant_region_above_air")  # padding with 0, which no mask can tell from tissue
    if share(-1100, -850) >= 0.005:
        return flags
    # inside a body fat and noise lie below zero; values that never do are another scale
    is_signed = below.size > 0.005 * sample.size or np.percentile(sample, 0.5) < -10
    if is_signed and share(-200, 200, inside) >= 0.3:
        return [*flags, "air_not_in_view"]
    raise ScanError(f"no air near -1000 HU: darkest values about {darkest}, median {middle}", remedy=remedy)


def _sample(values: Array) -> Array:
    """About two million whole values, evenly drawn."""
    return values.ravel(order="K")[:: max(1, values.size // 2_000_000)].astype(np.int32)


def outside_value(unit: str, values: Array) -> int | float:
    """What stands for air outside of the body: -1024 HU, or the smallest of 0 and the scan's darkest value."""
    return AIR_HU if unit != "arbitrary" else min(0, values.min().item())


def values_in(image: Array, mask: Array) -> Array:
    """Values of an image where a mask is true, in the order in which they lie in memory where both lie alike.

    An index by a mask walks in C order, which costs four times as much in volumes that lie in Fortran order.
    """
    if image.flags.f_contiguous and mask.flags.f_contiguous:
        return image.T[mask.T]
    return image[mask]


def percentiles(values: Array) -> dict[str, float]:
    """Selected percentiles of values, for the record (at most a million values, evenly drawn)."""
    if not values.size:
        return {}
    drawn = values.ravel(order="K")[:: max(1, values.size // 1_000_000)]
    levels = (0.5, 1, 5, 25, 50, 75, 95, 99, 99.5)
    return {f"p{q:g}": float(v) for q, v in zip(levels, np.percentile(drawn, levels), strict=True)}
