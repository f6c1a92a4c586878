"""Scans of one subject and frame: source and target, and further contrasts of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, Row, checked, of_modality, tested_rows
from volforge.study.settings import ArmSettings

Pair = tuple[Row, Row]
Kind = Mapping[str, str | None]


def paired_rows(rows: Sequence[Row], source: Kind, target: Kind, place: str) -> list[Pair]:
    """Sources with the target of the same subject and frame, in the order of the sources.

    Args:
        rows: Scans of a cohort.
        source, target: Modality and contrast.
        place: For the message.

    Raises:
        VolforgeError: Two targets share a frame.
    """
    targets: dict[tuple[str, str], Row] = {}
    for row in of_modality(rows, target):
        key = (row["subject"], row["frame"])
        if row["frame"] and key in targets:
            text = f"two target scans of one frame: {targets[key]['scan']} and {row['scan']}"
            raise VolforgeError(text, place, "tell them apart by `target: {contrast: ...}`, or another frame")
        if row["frame"]:
            targets[key] = row
    found = [(row, targets.get((row["subject"], row["frame"]))) for row in of_modality(rows, source)]
    return [(row, of_frame) for row, of_frame in found if of_frame is not None]


def paired_cases(settings: ArmSettings, cohort: Cohort, fold: int) -> list[Case]:
    """The tested source scans that have a target scan of the same subject and frame, where both have an image.

    Raises:
        VolforgeError: There is none, or two targets share a frame.
    """
    tested = [r for r in tested_rows(settings, cohort, fold) if cohort.has(r["scan"], "image")]  # a row may hold labels
    pairs = paired_rows(tested, settings.source, settings.target, settings.cohort)
    cases = [Case(a["scan"], a["subject"], b["scan"], "") for a, b in pairs]  # images: no label has a part in it
    return checked(settings, cohort, fold, cases)


def companions_of(row: Row, rows: Sequence[Row], also: Sequence[str], place: str) -> dict[str, Row]:
    """The scans of further contrasts of a source's subject and frame, by contrast in the order of `also`.

    A contrast without a scan is left out; without a frame a source has no companions, since nothing says that they lie
    on one another.

    Raises:
        VolforgeError: Two scans of one contrast.
    """
    found: dict[str, Row] = {}
    of_frame = [r for r in rows if r["frame"] and (r["subject"], r["frame"]) == (row["subject"], row["frame"])]
    for contrast in also:
        fitting = of_modality(of_frame, {"modality": row["modality"], "contrast": contrast})
        if len(fitting) > 1:
            names = ", ".join(r["scan"] for r in fitting)
            text = f"two scans of the contrast {contrast} in the frame of {row['scan']}: {names}"
            raise VolforgeError(text, place, "give one of them another frame or contrast")
        if fitting:
            found[contrast] = fitting[0]
    return found
