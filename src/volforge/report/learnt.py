"""Whether an arm learnt anything: it must beat the baseline that its task names, in every row that the task names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.metrics.measure import better, unit_of
from volforge.metrics.statistics import bootstrap_interval
from volforge.report.aggregate import failures, subject_values

if TYPE_CHECKING:
    import pandas as pd

NO_LEARNER = ("baseline", "ceiling")


@dataclass(frozen=True)
class Difference:
    """An arm less the baseline in one row, over the subjects that both have a value for.

    Attributes:
        structure: Of the row.
        measure: Of the row.
        pairs: Number of these subjects.
        mean: Mean difference; NaN where there is none.
        low: Lower end of the 95 % bootstrap interval over subjects; NaN below two.
        high: Upper end.
        more_failures: Failures of the arm beyond those of the baseline.
    """

    structure: str
    measure: str
    pairs: int
    mean: float
    low: float
    high: float
    more_failures: int

    @property
    def holds(self) -> bool:
        """Whether the whole interval is on the better side of 0, and the arm fails no more often."""
        if self.more_failures > 0 or math.isnan(self.low):
            return False
        return self.high < 0 if better(self.measure) == "lower" else self.low > 0

    def text(self) -> str:
        """The difference in words."""
        unit = unit_of(self.measure)
        value = "no pair" if math.isnan(self.mean) else f"{self.mean:+.3g}"
        ends = "" if math.isnan(self.low) else f" [{self.low:+.3g}, {self.high:+.3g}]"
        failed = f", {self.more_failures} more failures" if self.more_failures > 0 else ""
        named = f"{self.measure} of {self.structure} {value}{ends}"
        return named + ("" if unit == "1" or math.isnan(self.mean) else f" {unit}") + failed


@dataclass(frozen=True)
class Verdict:
    """What the rows say of an arm."""

    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether the baseline is beaten in all rows."""
        return all(d.holds for d in self.differences)


def verdicts(
    frame: pd.DataFrame, arms: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[dict[str, Verdict], list[str]]:
    """The verdict of every arm that could have learnt, and the notes that say it.

    Args:
        frame: Of all measures.
        arms: Kind by arm.
        settings: `table.settings.json`: `must_beat` and `learnt_by` of the task, `baseline` of every arm.
    """
    wanted = settings.get("must_beat", "")
    able = [a for a, kind in arms.items() if kind not in NO_LEARNER]
    if not wanted or not able or frame.empty:
        return {}, []
    base = next((a for a in arms if settings["arms"][a].get("baseline") == wanted), None)
    rule = " and ".join(f"{m} of {s}" for s, m in settings["learnt_by"])
    if base is None:
        return {}, [
            f"No arm is called learnt: that takes a better {rule} than the baseline `{wanted}`, which no arm here is."
        ]
    values, failed = subject_values(frame), failures(frame)
    found = {
        a: Verdict(tuple(_difference(values, failed, a, base, s, m) for s, m in settings["learnt_by"])) for a in able
    }
    notes = [
        f"An arm is called learnt if it beats {base} in {rule}: the 95 % interval over subjects of the paired "
        "difference lies on the better side of 0, and it fails no more often; for this a Dice without value is 0. "
        "An arm marked § is not."
    ]
    for arm, verdict in found.items():
        word = "learnt" if verdict.holds else "not shown to have learnt"
        notes.append(f"{arm}: {word}; less {base}: {', '.join(d.text() for d in verdict.differences)}.")
    return found, notes


def _difference(
    values: pd.DataFrame,
    failed: Mapping[tuple[str, str, str, str], int],
    arm: str,
    base: str,
    structure: str,
    measure: str,
) -> Difference:
    row = values[(values["structure"] == structure) & (values["measure"] == measure)]
    own, other = (dict(zip(r["subject"], r["value"], strict=True)) for r in (row[row["arm"] == a] for a in (arm, base)))
    if measure.endswith("dice"):  # where one of them shows nothing at all, the overlap is 0
        shown = dict.fromkeys([*own, *other], 0.0)
        own, other = shown | own, shown | other
    both = [s for s in own if s in other]
    x = np.array([own[s] - other[s] for s in both], np.float64)
    low, high = bootstrap_interval(x)
    counts = [
        sum(n for (_, s, m, a), n in failed.items() if (s, m, a) == (structure, measure, name)) for name in (arm, base)
    ]
    mean = float(x.mean()) if x.size else math.nan
    return Difference(structure, measure, x.size, mean, low, high, counts[0] - counts[1])
