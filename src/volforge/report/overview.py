"""What came out of a study in one line: our arm, the best published one and the best baseline in its first measure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from volforge.metrics.measure import NOMINAL, better, from_nominal
from volforge.metrics.statistics import FEWEST_PAIRS, bootstrap_interval
from volforge.report.aggregate import failures, subject_values
from volforge.report.table import LESS, StudyTable, TableRow

if TYPE_CHECKING:
    import pandas as pd

MOST_FIRST = 5
Outcome = Literal["ahead", "level", "behind", "open"]


@dataclass(frozen=True)
class Entry:
    """An arm in the first measure of its study.

    Attributes:
        arm: Name.
        mean: Over subjects; structures of a subject are averaged first. NaN: it has no value.
        low: Lower end of the 95 % bootstrap interval over subjects; NaN below two.
        high: Upper end.
        failures: Measures without a value, because a mask was empty or a prediction missing.
        had_less: It was trained on less than another arm: it is not compared.
    """

    arm: str
    mean: float
    low: float
    high: float
    failures: int
    had_less: bool = False


@dataclass(frozen=True)
class Compared:
    """Our arm less another one.

    Attributes:
        entry: The other one.
        pairs: Subjects that both have a value for.
        mean: Mean difference of ours; for a measure with a nominal level that of the distances from it.
        low: Lower end of its 95 % bootstrap interval over subjects; NaN below two.
        high: Upper end.
        outcome: `ahead`, `behind`: the interval leaves out 0; `level`: it does not, or ours is better
            and fails more often; `open`: fewer subjects than a test takes, or nothing to compare.
        among: Arms of its kind that have a value, of which it is the best.
    """

    entry: Entry
    pairs: int
    mean: float
    low: float
    high: float
    outcome: Outcome
    among: int = 1


@dataclass(frozen=True)
class Headline:
    """One line of the overview.

    Attributes:
        measure: The first measure of the study that was measured; empty: none.
        structures: What it is of; several are averaged by subject.
        subjects: Number of those that were tested.
        ours: Our arm; None where the study has none, or no value of it.
        published: Against the best published arm; None where there is none.
        baseline: Against the best baseline; None where there is none.
    """

    measure: str
    structures: tuple[str, ...]
    subjects: int
    ours: Entry | None
    published: Compared | None
    baseline: Compared | None


def first_rows(table: StudyTable) -> list[TableRow]:
    """The rows of the short table: those that the task calls first, at most `MOST_FIRST`, each of one label
    source.

    Where its measures are of many structures, every measure keeps at least one row.
    """
    by_measure: list[list[TableRow]] = []
    for structure, measure in _first(table):
        own = [r for r in table.rows if r.measure == measure and _is_meant(r.structure, structure, table)]
        if own:  # scores of different label sources are never averaged: those of the first one
            by_measure.append([r for r in own if r.label_source == own[0].label_source])
    by_measure = by_measure[:MOST_FIRST]
    counts = [1] * len(by_measure)
    while sum(counts) < MOST_FIRST and any(n < len(own) for n, own in zip(counts, by_measure, strict=True)):
        i = next(i for i, own in enumerate(by_measure) if counts[i] < len(own))
        counts[i] += 1
    return [r for n, own in zip(counts, by_measure, strict=True) for r in own[:n]]


def headline(frame: pd.DataFrame, table: StudyTable) -> Headline:
    """The line of a study.

    Args:
        frame: Of its measures; see `volforge.report.aggregate.measures_frame`.
        table: Its table.
    """
    empty = Headline("", (), 0, None, None, None)
    if frame.empty:
        return empty
    frame = frame[frame["subject"] != ""]
    for structure, measure in _first(table):
        own = frame[frame["measure"] == measure]
        structures = [s for s in dict.fromkeys(own["structure"]) if _is_meant(s, structure, table)]
        own = own[own["structure"].isin(structures)]
        if own["value"].notna().any():
            own = own[own["label_source"] == own["label_source"].iloc[0]]
            return _line(own, table, measure, tuple(structures))
    return empty


def _first(table: StudyTable) -> list[tuple[str, str]]:
    return [(s, m) for s, m in table.display.first] or [("", m) for m in table.display.shown]


def _is_meant(structure: str, wanted: str, table: StudyTable) -> bool:
    return structure == wanted if wanted else not table.display.judged_in or structure in table.display.judged_in


def _line(frame: pd.DataFrame, table: StudyTable, measure: str, structures: tuple[str, ...]) -> Headline:
    values = subject_values(frame)
    failed: dict[str, int] = {}
    for (_, _, _, arm), count in failures(frame).items():
        failed[arm] = failed.get(arm, 0) + count
    by_arm: dict[str, dict[str, dict[str, float]]] = {}
    for arm, subject, structure, value in values[["arm", "subject", "structure", "value"]].itertuples(index=False):
        by_arm.setdefault(arm, {}).setdefault(subject, {})[structure] = float(value)
    entries = {a: _entry(a, by_arm.get(a, {}), failed.get(a, 0), table) for a in table.arms}

    def able(role: str) -> list[Entry]:
        own = [e for a, e in entries.items() if table.roles.get(a) == role and not math.isnan(e.mean)]
        return sorted(own, key=lambda e: (e.had_less, e.failures, _badness(measure, e.mean)))

    ours = next(iter(able("ours")), None)

    def compared(role: str) -> Compared | None:
        entry = next(iter(able(role)), None)
        if entry is None:
            return None
        mine = {} if ours is None or ours.had_less or entry.had_less else by_arm[ours.arm]
        more = entry.failures - (ours.failures if ours else 0)
        return replace(_compare(measure, entry, mine, by_arm[entry.arm], more), among=len(able(role)))

    return Headline(
        measure, structures, int(frame["subject"].nunique()), ours, compared("published"), compared("baseline")
    )


def _entry(arm: str, values: Mapping[str, Mapping[str, float]], failures: int, table: StudyTable) -> Entry:
    x = np.array([np.mean(list(v.values())) for v in values.values()], np.float64)
    low, high = bootstrap_interval(x)
    mean = float(x.mean()) if x.size else math.nan
    return Entry(arm, mean, low, high, failures, table.arms[arm] == LESS)


def _badness(measure: str, value: float) -> float:
    if measure in NOMINAL:
        return from_nominal(measure, value)
    return -value if better(measure) == "higher" else value


def _compare(
    measure: str,
    entry: Entry,
    mine: Mapping[str, Mapping[str, float]],
    other: Mapping[str, Mapping[str, float]],
    more_failures: int,
) -> Compared:
    """Paired by subject and structure; structures of a subject are averaged before the interval is taken."""

    def scored(value: float) -> float:
        return from_nominal(measure, value) if measure in NOMINAL else value

    found = []
    for subject in (s for s in mine if s in other):
        both = [k for k in mine[subject] if k in other[subject]]
        if both:
            found.append(np.mean([scored(mine[subject][k]) - scored(other[subject][k]) for k in both]))
    x = np.array(found, np.float64)
    low, high = bootstrap_interval(x)
    mean = float(x.mean()) if x.size else math.nan
    outcome = _outcome(measure, low, high, more_failures) if x.size >= FEWEST_PAIRS else "open"
    return Compared(entry, x.size, mean, low, high, outcome)


def _outcome(measure: str, low: float, high: float, more_failures: int) -> Outcome:
    """An arm that fails more often is not ahead, whatever its mean over the rest is."""
    direction = better(measure)
    if math.isnan(low) or direction == "neither":
        return "open"
    is_up = direction == "higher"
    won, lost = (low > 0, high < 0) if is_up else (high < 0, low > 0)
    if more_failures < 0:  # ours fails more often
        return "behind" if lost else "level"
    return "ahead" if won else "behind" if lost else "level"
