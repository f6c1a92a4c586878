"""Pairs of scans of one subject and frame."""

from __future__ import annotations

from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, Row, checked, of_modality, tested_rows
from volforge.study.settings import ArmSettings


def paired_cases(settings: ArmSettings, cohort: Cohort, fold: int) -> list[Case]:
    """The tested source scans that have a target scan of the same subject and frame.

    Raises:
        VolforgeError: There is none, or two targets share a frame.
    """
    rows = tested_rows(settings, cohort, fold)
    targets: dict[tuple[str, str], Row] = {}
    for r in of_modality(rows, settings.target):
        key = (r["subject"], r["frame"])
        if key in targets and r["frame"]:
            raise VolforgeError(
                f"two target scans of one frame: {targets[key]['scan']} and {r['scan']}",
                settings.cohort,
                "tell them apart by `target: {contrast: ...}`, or give them another frame",
            )
        if r["frame"]:
            targets[key] = r
    cases = []
    for row in of_modality(rows, settings.source):
        target = targets.get((row["subject"], row["frame"]))
        if target is not None:
            cases.append(Case(row["scan"], row["subject"], target["scan"], ""))  # images: no label has a part in it
    return checked(settings, cohort, fold, cases)
