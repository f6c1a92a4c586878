"""Whether values of a CT are HU, or HU with a number added, by where their air and soft tissue lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Array

KNOWN = (0, 1000, 1024, 2000, 2048, 4096, 8192, 32768)
NEAR = 8  # HU: air of calibrated scanners lies this near to -1000
FLESH = 40  # HU of brain and muscle, their peak in most scans
PLAUSIBLE = (20, 75)  # HU in which that peak lies


@dataclass(frozen=True)
class Levels:
    """Where air and soft tissue lie on a scale.

    Attributes:
        start: What must be subtracted so that they come to lie about where HU have them, roughly.
        air, tissue: Their peaks.
        is_cut_off: The air is one value, the lowest: noise was cut off there, or padding was put in.
    """

    start: int
    air: int
    tissue: int
    is_cut_off: bool


def find_levels(sample: Array) -> Levels | None:
    """Look for two peaks as far apart as air and soft tissue; None where there are none (or no air is in view).

    Args:
        sample: Whole numbers, as many as are typical.
    """
    low, high = int(sample.min()), int(sample.max())
    if high - low > 2**20:
        return None
    counts = np.bincount(sample - low)
    below = np.concatenate([[0], np.cumsum(counts)]) / sample.size

    def share(first: Array, last: Array) -> Array:
        first, last = (np.clip(v - low, 0, len(counts)).astype(int) for v in (first, last + 1))
        return below[last] - below[first]

    starts = np.arange(low + 850 - low % 8, high + 100, 8)
    starts = starts[starts != 0] if not len(starts) else np.union1d(starts, [0])
    air = share(starts - 1100, starts - 850)
    flesh = share(starts - 100, starts + 150)
    # flesh makes a narrow peak, bone a broad one: air and flesh of HU are no flesh and bone of another scale
    fits = (air >= 0.05) & (flesh >= np.maximum(0.05, 0.5 * share(starts - 523, np.full_like(starts, high))))
    if not fits.any():
        return None
    score = np.where(fits, np.minimum(air, flesh), 0)
    best = np.flatnonzero(score == score.max())
    start = int(starts[best[len(best) // 2]])
    peak, is_spike = _air_peak(counts, low, start - 1124, start - 850, sample.size)
    tissue = _peak(counts, low, start - 70, start + 170)
    return Levels(start, peak, tissue, is_spike and peak == low)


def _window(counts: Array, low: int, first: int, last: int) -> Array:
    window = np.zeros(last - first + 1)
    a, b = max(first, low), min(last, low + len(counts) - 1)
    if b >= a:
        window[a - first : b - first + 1] = counts[a - low : b - low + 1]
    return window


def _smooth_peak(window: Array) -> int:
    kernel = np.convolve(np.ones(11), np.ones(11))
    return int(np.convolve(window, kernel, "same").argmax())


def _peak(counts: Array, low: int, first: int, last: int) -> int:
    return first + _smooth_peak(_window(counts, low, first, last))


def _air_peak(counts: Array, low: int, first: int, last: int, total: int) -> tuple[int, bool]:
    """The peak of air without single values that stand out; such a value itself where there is nothing else."""
    window = _window(counts, low, first, last)
    near = np.lib.stride_tricks.sliding_window_view(np.pad(window, 8, mode="edge"), 17)
    smooth = np.minimum(window, 3 * np.median(near, axis=1))
    if smooth.sum() >= 0.005 * total:
        peak = first + _smooth_peak(smooth)
        if peak - low > NEAR:  # else the tail of what was cut off at the lower end
            return peak, False
    return first + int(window.argmax()), True


def offset_of(levels: Levels) -> tuple[int | None, bool]:
    """What was added to HU, and whether that is sure; None where air was cut off and two offsets are possible."""
    by_air, by_tissue = levels.air + 1000, levels.tissue - FLESH
    known = min(KNOWN, key=lambda k: abs(k - by_air))
    if levels.is_cut_off and by_air == 1000:  # HU + 1000 of any kind, or HU + 1024 with air at -1024
        return (1000, True) if levels.tissue <= 1045 else (None, False)
    if levels.is_cut_off and by_air in KNOWN:
        return by_air, True
    if not levels.is_cut_off and abs(known - by_air) <= NEAR:
        return known, True
    if not levels.is_cut_off and abs(by_air - by_tissue) <= 20:
        return by_air, True
    known = min(KNOWN, key=lambda k: abs(k - by_tissue))
    return (known, False) if abs(known - by_tissue) <= 25 else (by_air, False)


def check_offset(sample: Array, offset: int) -> list[str]:
    """Whether values are HU with `offset` added, as the sheet says.

    Args:
        sample: Whole numbers as in the file.
        offset: What the unit subtracts.

    Returns:
        Flags: `air_off_minus_1000` where the air of values that are taken for HU lies aside, `hu_offset_uncertain`
        where air was cut off and soft tissue lies where it seldom does.

    Raises:
        ScanError: the values look like HU with another number added; it names the `unit` to write.
    """
    levels = find_levels(sample)
    if levels is None:
        return []
    found, is_sure = offset_of(levels)
    tissue = levels.tissue - offset
    seen = f"in the file air lies at about {levels.air}, soft tissue at about {levels.tissue}"
    if abs(levels.start - offset) > 160:
        if found is not None and found <= NEAR:
            return []  # far too dark: the check of what is taken for HU says how much
        darkest, middle = int(np.percentile(sample, 0.5)) - offset, int(np.median(sample)) - offset
        text = f"no air near -1000 HU: darkest values about {darkest}, median {middle}; {seen}"
        if found is None:
            raise ScanError(f"{text}; {_either(levels)}", remedy=_ask())
        raise ScanError(f"{text}: they look like HU + {found}", remedy=_write(found))
    if found is None or not is_sure:
        return ["hu_offset_uncertain"] if offset and not PLAUSIBLE[0] <= tissue <= PLAUSIBLE[1] else []
    if not offset:
        return ["air_off_minus_1000"] if abs(found) > 20 else []
    if abs(found - offset) > 6:
        if levels.is_cut_off and abs(tissue) <= 2:
            return ["hu_offset_uncertain"]  # a phantom of water
        text = f"unit hu+{offset} puts air at {levels.air - offset} HU and soft tissue at {tissue} HU; {seen}"
        if levels.is_cut_off and levels.air == 0:
            raise ScanError(f"{text}; {_either(levels)}", remedy=_ask())
        raise ScanError(f"{text}: they look like HU + {found}", remedy=_write(found))
    return []


def _write(offset: int) -> str:
    return (
        f"set the sheet's `unit` column to `hu{f'+{offset}' if offset else ''}`, or mend the file's slope and intercept"
    )


def _either(levels: Levels) -> str:
    first, second = (f"hu+{o} puts soft tissue at {levels.tissue - o} HU" for o in (1000, 1024))
    return f"air is cut off, so that only soft tissue tells HU + 1000 from HU + 1024: {first}, {second}"


def _ask() -> str:
    return (
        "set the sheet's `unit` column to `hu+1000` or `hu+1024`, whichever puts brain near 35 HU, muscle near 55, "
        "water at 0; or mend the file's slope and intercept"
    )
