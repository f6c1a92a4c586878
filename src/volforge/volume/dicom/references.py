"""What a structure set or segmentation says it was drawn on: series, slices, frames of reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volforge.volume.dicom.damage import read_dataset


@dataclass(frozen=True)
class References:
    """UIDs that a file refers to; any may be empty.

    Attributes:
        series: Series instance UIDs.
        instances: SOP instance UIDs of slices.
        frames: Frame of reference UIDs.
    """

    series: set[str]
    instances: set[str]
    frames: set[str]


def references_of(path: Path) -> References:
    """Read what a structure set or segmentation was drawn on, wherever its writer put it."""
    dataset = read_dataset(path)
    series: set[str] = set()
    instances: set[str] = set()
    frames = {_uid(dataset, "FrameOfReferenceUID")}
    for item in _items(dataset, "ReferencedSeriesSequence"):
        series.add(_uid(item, "SeriesInstanceUID"))
        instances |= _instances(item, "ReferencedInstanceSequence")
    for item in _items(dataset, "ReferencedFrameOfReferenceSequence"):
        frames.add(_uid(item, "FrameOfReferenceUID"))
        for one in _items(item, "RTReferencedStudySequence", "RTReferencedSeriesSequence"):
            series.add(_uid(one, "SeriesInstanceUID"))
            instances |= _instances(one, "ContourImageSequence")
    frames |= {_uid(roi, "ReferencedFrameOfReferenceUID") for roi in _items(dataset, "StructureSetROISequence")}
    for contour in _items(dataset, "ROIContourSequence", "ContourSequence"):
        instances |= _instances(contour, "ContourImageSequence")
    for group in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in _items(dataset, group, "DerivationImageSequence"):
            instances |= _instances(item, "SourceImageSequence")
    return References(series - {""}, instances - {""}, frames - {""})


def _items(dataset: Any, *keywords: str) -> Iterator[Any]:
    """The items of nested sequences."""
    for item in dataset.get(keywords[0]) or []:
        if len(keywords) == 1:
            yield item
        else:
            yield from _items(item, *keywords[1:])


def _instances(dataset: Any, keyword: str) -> set[str]:
    return {_uid(item, "ReferencedSOPInstanceUID") for item in _items(dataset, keyword)}


def _uid(dataset: Any, keyword: str) -> str:
    return str(dataset.get(keyword) or "")
