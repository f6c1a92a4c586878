"""Left against right over a cohort: what a table of sides, and its figure, show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from volforge.metrics.agreement import Agreement, agreement
from volforge.volume.geometry import Array

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SidesRow:
    """Left against right of one measure of one arm.

    Attributes:
        label_source, structure, measure, arm: Whose.
        left, right: (N,) value of every subject that has both.
        found: Their agreement.
    """

    label_source: str
    structure: str
    measure: str
    arm: str
    left: Array
    right: Array
    found: Agreement


def compare_sides(frame: pd.DataFrame, arms: Sequence[str], measures: Sequence[str]) -> list[SidesRow]:
    """Left against right of a study's volumes and widths: scans and seeds of a subject are averaged first.

    Args:
        frame: From `measures_frame`.
        arms: In the order of the table.
        measures: What is compared; empty: nothing.
    """
    return [] if frame.empty or not measures else list(_rows(frame, arms, measures))


def _rows(frame: pd.DataFrame, arms: Sequence[str], measures: Sequence[str]) -> Iterator[SidesRow]:
    own = frame[frame["measure"].isin(measures) & frame["side"].isin(["left", "right"]) & frame["value"].notna()]
    keys = ["label_source", "structure", "measure", "arm"]
    for more in (["fold", "seed", "scan"], ["fold", "seed"], []):
        own = own.groupby([*keys, "subject", "side", *more], sort=False, as_index=False)["value"].mean()
    groups = {tuple(map(str, key)): part for key, part in own.groupby(keys, sort=False)}
    for measure in measures:
        for arm in arms:
            for (source, structure, name, whose), part in groups.items():
                if (name, whose) != (measure, arm):
                    continue
                sides = part.pivot_table(index="subject", columns="side", values="value")
                if {"left", "right"} <= set(sides.columns):
                    both = sides[["left", "right"]].dropna().to_numpy(np.float64)
                    if len(both):
                        left, right = both[:, 0], both[:, 1]
                        yield SidesRow(source, structure, measure, arm, left, right, agreement(left, right))
