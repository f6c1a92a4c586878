"""Slices of one volume under several names: a series UID for each of them, a stack of a multi-frame file for some."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from volforge.volume.dicom.headers import Frame
from volforge.volume.dicom.places import alike, by_geometry, is_one_grid, places_of

FEWEST = 3  # slices that make a volume
MARKS = (
    "ImageType", "EchoTime", "EchoNumbers", "EffectiveEchoTime", "TemporalPositionIdentifier", "TemporalPositionIndex",
    "DiffusionBValue", "InversionTime", "FlipAngle", "ConvolutionKernel", "FrameType",
)  # fmt: skip
"""Tags whose values differ between volumes, not between the slices of one."""


def join_fragments(series: Sequence[list[Frame]], *, is_list: bool) -> list[list[Frame]]:
    """Series, with those of one or two slices joined where together they make one regular stack.

    Some scanners and anonymisers give every slice a series UID of its own. What belongs together agrees in patient,
    modality, geometry and the tags that tell volumes apart, and either in study, frame of reference and series number
    (each of which may also differ from slice to slice) or, where all UIDs were made anew, in the folder.

    Args:
        series: Frames by series UID.
        is_list: Somebody listed the files as those of one volume: places need not be regular, UIDs need not agree.
    """
    frames = [f for s in series for f in s]
    if is_list and len(series) > 1 and is_one_list(frames):
        return [frames]
    whole: list[list[Frame]] = []
    rest: list[Frame] = []
    for one in series:
        if len(one) >= FEWEST or any(map(_is_other, one)):
            whole.append(one)
        else:
            rest += one
    keys: list[Callable[[Frame], Hashable]] = [
        lambda f: (f.patient, f.study, f.frame_uid, f.number),
        lambda f: (f.patient, f.study, f.frame_uid),
        lambda f: (f.patient, str(f.file.parent)),
    ]
    if is_list:
        keys.append(lambda f: "")
    for key in keys:
        groups: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in rest:
            groups[key(frame), frame.modality, marks_of(frame)].append(frame)
        joined = [g for group in groups.values() for g in by_geometry(group) if _belong(g, is_list and key is keys[-1])]
        whole += joined
        taken = {id(f) for g in joined for f in g}
        rest = [f for f in rest if id(f) not in taken]
    by_uid: dict[str, list[Frame]] = defaultdict(list)
    for frame in rest:
        by_uid[frame.series or frame.study].append(frame)
    return [*whole, *by_uid.values()]


def is_one_list(frames: Sequence[Frame]) -> bool:
    """Whether slices that somebody listed as one volume can be one: of one patient, one geometry, one regular stack."""
    if any(map(_is_other, frames)) or len({(f.patient, f.modality, marks_of(f)) for f in frames}) > 1:
        return False
    is_alike = len(by_geometry(list(frames))) == 1
    return is_alike and max(map(len, places_of(frames))) == 1 and is_one_grid(frames)


def _is_other(frame: Frame) -> bool:
    """Whether a frame is no placed grey slice."""
    return bool(frame.missing or frame.localiser or frame.mosaic or frame.colour)


def marks_of(frame: Frame) -> tuple[str, ...]:
    """Values of the tags that tell volumes apart."""
    return tuple(frame.tags.get(k, "") for k in MARKS)


def _belong(frames: list[Frame], is_listed: bool) -> bool:
    """Whether loose slices of one geometry are one volume."""
    if len(frames) < FEWEST or is_listed:
        return len(frames) >= FEWEST
    uniform = ({f.study for f in frames}, {f.frame_uid for f in frames}, {f.number for f in frames})
    counts = (1, len(places_of(frames)), len(frames))
    return all(len(values) in counts for values in uniform) and is_one_grid(frames)


def join_stacks(parts: list[list[Frame]]) -> list[list[Frame]]:
    """Stacks of multi-frame files, joined where they differ in their StackID only and make one regular grid."""
    groups: list[list[list[Frame]]] = []
    for part in parts:
        for group in groups:
            if alike(_bare(group[0][0]), _bare(part[0])):
                group.append(part)
                break
        else:
            groups.append([part])
    joined: list[list[Frame]] = []
    for group in groups:
        frames = [f for part in group for f in part]
        is_one = len(group) > 1 and len({marks_of(f) for f in frames}) == 1 and not any(f.missing for f in frames)
        is_one = is_one and max(map(len, places_of(frames))) == 1 and is_one_grid(frames, regular=1)
        joined += [frames] if is_one else group
    return joined


def _bare(frame: Frame) -> Frame:
    return replace(frame, tags={k: v for k, v in frame.tags.items() if k != "StackID"})
