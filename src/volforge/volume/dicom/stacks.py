"""Frames to stacks: series, sizes and repetitions told apart, each stack in order along its normal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

import numpy as np

from volforge.volume.dicom.fragments import MARKS, join_fragments, join_stacks
from volforge.volume.dicom.headers import DISCRIMINATORS, Frame
from volforge.volume.dicom.places import by_geometry, heights_of, normal_of, places_of
from volforge.volume.geometry import Array

RUN = 3  # equal gaps in a row that make a deliberate spacing
MOST_SEAM = 4  # gaps between two blocks of slices that meet or overlap


@dataclass(frozen=True)
class Stack:
    """Frames of one series with one size and direction, in order along the normal (row x column).

    Attributes:
        frames: In order; at most one at each place, unless `repeated`.
        part: What tells it apart from other stacks of its series, in words; may be empty.
        dropped: Frames left out because another holds the same pixels at the same place.
        repeated: Most frames at one place that nothing tells apart (1: none).
    """

    frames: tuple[Frame, ...]
    part: str = ""
    dropped: tuple[Frame, ...] = ()
    repeated: int = 1

    @property
    def is_placed(self) -> bool:
        """Whether all frames tell where they lie."""
        return not any(f.missing for f in self.frames)

    @property
    def is_localiser(self) -> bool:
        """Whether these are scout pictures."""
        return all(f.localiser for f in self.frames)

    def describe(self) -> str:
        """The stack in words for messages, without any field of the patient."""
        first = self.frames[0]
        count = len(self.frames)
        number = f"series number {first.number or '(none)'}"
        size = f"{first.modality or 'unknown modality'}, {count} slice{'s' if count != 1 else ''}"
        shape = f"{first.shape[0]}x{first.shape[1]}"
        part = f", {self.part}" if self.part else ""
        kind = f", {first.colour}" if first.colour else ""
        kind += ", localiser" if self.is_localiser else ", mosaic" if first.mosaic else ""
        return f"{number} ({size} of {shape}{part}{kind}; first {first.name})"


def make_stacks(
    frames: Sequence[Frame], same_pixels: Callable[[Frame, Frame], bool], *, is_list: bool = False
) -> list[Stack]:
    """Tell series, sizes, directions and repetitions apart.

    Args:
        frames: Of any number of series.
        same_pixels: Whether two frames hold equal values; asked only for frames at one place.
        is_list: Somebody listed the files as those of one volume.
    """
    by_series: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_series[frame.series or frame.study].append(frame)
    stacks: list[Stack] = []
    for series in join_fragments(list(by_series.values()), is_list=is_list):
        # UIDs that an anonymiser made equal, or left out, do not join patients
        groups = [("", series)]
        tells = [("", _modality), ("patient", _patient), ("study", _study), ("frame of reference", _frame_of_reference)]
        is_joined = is_list and len({f.series for f in series}) > 1  # its UIDs are known to be wrong
        for word, value in tells[:2] if is_joined else tells:
            groups = [part for words, group in groups for part in _numbered(words, word, _told(group, value))]
        for words, group in groups:
            parts = [p for g in join_stacks(by_geometry(group)) for p in _split_reconstructions(g)]
            for (tag, part), geometry in zip(parts, _geometries([p for _, p in parts]), strict=True):
                named = ", ".join(filter(None, [words, geometry, tag]))
                stacks += _in_order(part, named, same_pixels)
    return _told_in_words(
        sorted(stacks, key=lambda s: (s.frames[0].number.zfill(12), str(min(f.file for f in s.frames))))
    )


def _told_in_words(stacks: list[Stack]) -> list[Stack]:
    """Stacks of which messages would say the same (echoes whose slices have series UIDs of their own), with a tag."""
    alike: dict[str, list[int]] = defaultdict(list)
    for i, stack in enumerate(stacks):
        alike[stack.describe()].append(i)
    for places in (p for p in alike.values() if len(p) > 1):
        for keyword in MARKS:
            values = [stacks[i].frames[0].tags.get(keyword, "") for i in places]
            if len(set(values)) > 1:
                for i, value in zip(places, values, strict=True):
                    words = [stacks[i].part, f"{keyword} {value or '(none)'}"]
                    stacks[i] = replace(stacks[i], part=", ".join(filter(None, words)))
    return stacks


def _numbered(words: str, word: str, groups: list[list[Frame]]) -> list[tuple[str, list[Frame]]]:
    """Groups with words that tell them apart, and no field of the patient in them."""
    if len(groups) == 1 or not word:
        return [(words, g) for g in groups]
    return [(", ".join(filter(None, [words, f"{word} {i}"])), g) for i, g in enumerate(groups, start=1)]


def _geometries(parts: list[list[Frame]]) -> list[str]:
    """What tells the parts of a series apart in space, in words: direction, stack, pixel size."""
    first = [p[0] for p in parts]
    words: list[list[str]] = [[] for _ in parts]
    for told in (
        [f"direction {_direction(f)}" if f.orientation else "" for f in first],
        [f"StackID {f.tags['StackID']}" if "StackID" in f.tags else "" for f in first],
        [f"pixels of {f.spacing[0]:.3g}x{f.spacing[1]:.3g} mm" if f.spacing else "" for f in first],
    ):
        if len(set(told)) > 1:
            words = [[*w, text] for w, text in zip(words, told, strict=True)]
    return [", ".join(filter(None, w)) for w in words]


def _modality(frame: Frame) -> str:
    return frame.modality.strip().casefold()


def _patient(frame: Frame) -> str:
    return frame.patient.strip().casefold()


def _study(frame: Frame) -> str:
    return frame.study


def _frame_of_reference(frame: Frame) -> str:
    return frame.frame_uid


def _told(frames: list[Frame], value: Callable[[Frame], str]) -> list[list[Frame]]:
    """Frames by a value that tells volumes apart: none of them blank, and each held by three frames or more."""
    groups: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[value(frame)].append(frame)
    if len(groups) < 2 or "" in groups or min(map(len, groups.values())) < 3:
        return [frames]
    return list(groups.values())


def _split_reconstructions(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Kernels, echoes, b-values and times of one series, with their tag, where each makes a volume over its range."""
    if any(f.missing for f in frames):
        return [("", frames)]
    values = [(k, _tag(k)) for k in ("EchoNumbers", "DiffusionBValue", "TemporalPositionIdentifier")]
    for keyword, value in (("ConvolutionKernel", _kernel), ("EchoTime", _echo), *values):
        groups = _told(frames, value)
        if len(groups) > 1:
            whole = float(np.ptp(heights_of(frames)))
            if all(float(np.ptp(heights_of(g))) >= 0.5 * whole for g in groups):
                return [(f"{keyword} {g[0].tags[keyword]}", g) for g in groups]
    return [("", frames)]


def _tag(keyword: str) -> Callable[[Frame], str]:
    return lambda frame: frame.tags.get(keyword, "")


def _kernel(frame: Frame) -> str:
    return frame.tags.get("ConvolutionKernel", "").strip()


def _echo(frame: Frame) -> str:
    """The echo time to about two percent: scanners write its last digits differently from slice to slice."""
    try:
        time = float(frame.tags.get("EchoTime", ""))
    except ValueError:
        return ""
    return str(round(np.log(time) / 0.02)) if time > 0 else "0"


def _direction(frame: Frame) -> str:
    assert frame.orientation is not None
    return "".join(("sagittal", "coronal", "axial")[int(np.abs(normal_of(frame)).argmax())])


def _in_order(frames: list[Frame], part: str, same_pixels: Callable[[Frame, Frame], bool]) -> list[Stack]:
    if any(f.missing or f.mosaic for f in frames):
        return [Stack(tuple(frames), part)]
    places = places_of(frames)
    if max(map(len, places)) == 1:
        ordered = [p[0] for p in places]
        split = _by_tags(ordered, ("AcquisitionNumber",), part) if _is_interleaved(ordered) else None
        return split or [Stack(tuple(ordered), part)]
    split = _told_apart(frames, part)
    if split:
        return split
    # a slice sent twice is no second volume
    kept, dropped = _without_copies(places, same_pixels)
    remaining = [f for place in kept for f in place]
    if max(map(len, kept)) == 1:
        return [Stack(tuple(remaining), part, tuple(dropped))]
    split = _told_apart(remaining, part) if dropped else None
    return split or [Stack(tuple(remaining), part, tuple(dropped), repeated=max(map(len, kept)))]


def _is_interleaved(frames: list[Frame]) -> bool:
    """Whether the acquisitions of a CT alternate in space: two scans, not the stations of one."""
    numbers = [f.tags.get("AcquisitionNumber", "") for f in frames]
    changes = sum(a != b for a, b in pairwise(numbers))
    if frames[0].modality != "CT" or len(set(numbers)) < 2 or changes <= 2 * len(set(numbers)):
        return False
    heights = heights_of(frames)
    steps = [np.diff(heights[[m == n for m in numbers]]) for n in set(numbers)]
    return all(len(d) > 1 and np.ptp(d) <= 0.1 * np.median(d) for d in steps)  # each steps evenly by itself


def _told_apart(frames: list[Frame], part: str) -> list[Stack] | None:
    """Volumes told apart by one tag, else by two together; None where no tag does."""
    keys = list(dict.fromkeys([*DISCRIMINATORS, *sorted({k for f in frames for k in f.tags})]))
    varying = [k for k in keys if len({f.tags.get(k, "") for f in frames}) > 1]
    for wanted in [*((k,) for k in varying), *combinations(varying, 2)]:
        found = _by_tags(frames, wanted, part)
        if found:
            return found
    return None


def _by_tags(frames: list[Frame], keys: tuple[str, ...], part: str) -> list[Stack] | None:
    groups: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[tuple(frame.tags.get(key, "") for key in keys)].append(frame)
    if len(groups) < 2 or any(len(g) < 2 or max(map(len, places_of(g))) > 1 for g in groups.values()):
        return None
    stacks = []
    for values, group in groups.items():
        words = [f"{key} {value or '(none)'}" for key, value in zip(keys, values, strict=True)]
        stacks.append(Stack(tuple(p[0] for p in places_of(group)), ", ".join(filter(None, [part, *words]))))
    return stacks


def _without_copies(
    places: list[list[Frame]], same_pixels: Callable[[Frame, Frame], bool]
) -> tuple[list[list[Frame]], list[Frame]]:
    kept: list[list[Frame]] = []
    dropped: list[Frame] = []
    for place in places:
        unique: list[Frame] = []
        for frame in sorted(place, key=lambda f: (str(f.file), f.index)):
            if any(same_pixels(frame, other) for other in unique):
                dropped.append(frame)
            else:
                unique.append(frame)
        kept.append(unique)
    return kept, dropped


@dataclass(frozen=True)
class Spacing:
    """How the slices of a stack follow each other.

    Attributes:
        step_mm: Distance of slices: of the fitted line where even, else the smallest deliberate gap. The narrow gap
            where two blocks of slices meet is no deliberate one.
        even: Whether they lie on one line of equal steps, to a tenth of a step.
        missing: (lower frame, upper frame, number of missing slices) of every hole.
        gaps_mm: All gaps.
    """

    step_mm: float
    even: bool
    missing: list[tuple[Frame, Frame, int]] = field(default_factory=list)
    gaps_mm: tuple[float, ...] = ()


def spacing_of(stack: Stack) -> Spacing:
    """Judge the distances of the slices of an ordered stack of two or more."""
    heights = heights_of(stack.frames)
    gaps = np.diff(heights)
    n = len(heights)
    index = np.arange(n)
    step = float(np.polyfit(index, heights, 1)[0]) if n > 2 else float(gaps[0])
    line = heights.mean() + step * (index - index.mean())
    shown = tuple(round(float(g), 3) for g in gaps)
    if np.abs(heights - line).max() <= 0.1 * step:
        return Spacing(step, True, gaps_mm=shown)
    usual = float(np.median(gaps))
    is_regular = np.mean(np.abs(gaps - usual) <= 0.1 * usual) >= 0.6  # else a hole cannot be told from the rest
    missing = []
    deliberate = []
    jumps = _jumps(stack.frames)
    runs = _runs(gaps)
    seams = _seams(gaps, runs)
    for start, stop in runs:
        gap = float(gaps[start:stop].mean())
        ratio = gap / usual
        # instance numbers that jump with the gaps prove that slices were there; else a short run tells
        is_proven = jumps is not None and ratio >= 1.5 and bool((np.abs(jumps[start:stop] - ratio) <= 0.15).all())
        is_short = is_regular and stop - start < RUN and ratio >= 1.8 and abs(ratio - round(ratio)) <= 0.15
        if is_proven or is_short:
            missing += [(stack.frames[i], stack.frames[i + 1], round(ratio) - 1) for i in range(start, stop)]
        elif (start, stop) not in seams:
            deliberate.append(gap)
    return Spacing(usual if missing else min(deliberate), False, missing, shown)


def _seams(gaps: Array, runs: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The short runs where two blocks of slices meet or overlap by a slice or two.

    On both sides lie runs long enough to be deliberate. Between blocks of one spacing the second must be off the
    first one's places: else the odd gaps are those of a slice that is too many.
    """
    found: set[tuple[int, int]] = set()
    long = [r for r in runs if r[1] - r[0] >= RUN]
    for (before, start), (stop, after) in pairwise(long):
        if not 0 < stop - start <= MOST_SEAM:
            continue
        step, other = float(gaps[before:start].mean()), float(gaps[stop:after].mean())
        steps = float(gaps[start:stop].sum()) / step
        is_same = abs(step - other) <= 0.05 * max(step, other)
        if not (is_same and steps >= 0.9 and abs(steps - round(steps)) <= 0.05):
            found |= {r for r in runs if start <= r[0] and r[1] <= stop}
    return found


def _jumps(frames: Sequence[Frame]) -> Array | None:
    """Steps of the instance numbers, of the usual step; None where they do not run along the stack."""
    numbers = np.array([f.instance if f.instance is not None else 0 for f in frames], dtype=float)
    steps = np.diff(numbers)
    if not ((steps > 0).all() or (steps < 0).all()):
        return None
    return np.asarray(steps / np.median(steps))


def _runs(gaps: Array) -> list[tuple[int, int]]:
    """Stretches of equal gaps (to 5 %), as (start, stop)."""
    runs = [[0, 1]]
    for i in range(1, len(gaps)):
        if abs(gaps[i] - gaps[runs[-1][0]]) <= 0.05 * max(gaps[i], gaps[runs[-1][0]]):
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    return [(a, b) for a, b in runs]
