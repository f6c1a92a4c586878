"""What a baseline is: a function that is made from training scans, and predicts a case."""

from __future__ import annotations

from collections.abc import Callable

from volforge.errors import VolforgeError
from volforge.study.cases import Case, Row
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array

Predictor = Callable[[Case], tuple[Array, Array | None]]
"""A prediction on a scan's canonical grid, and its confidence where it has one."""


def learnt_from(settings: ArmSettings, rows: list[Row]) -> list[Row]:
    """The training scans of a baseline.

    Raises:
        VolforgeError: There is none.
    """
    if not rows:
        raise VolforgeError(
            f"no training scan for the baseline `{settings.baseline}`",
            settings.cohort,
            "look at the columns split and fold of the sheet",
        )
    return rows
