"""The overview's line of a study in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from volforge.metrics.measure import NOMINAL, better, unit_of
from volforge.report.formats import shown
from volforge.report.overview import Compared, Entry, Headline

MARKS = {"higher": "↑", "lower": "↓", "nominal": "→", "neither": ""}
BETTER = {
    "higher": "higher is better",
    "lower": "lower is better",
    "nominal": "best at its nominal level",
    "neither": "",
}
# what the first measures of our tasks are, for a reader who has not met their names
MEANINGS = {
    "dice": "overlap",
    "index_error_percent": "error of the asymmetry index",
    "segmenter_dice_ratio": "Dice of a segmenter, share of that on real images",
    "mae_hu": "mean absolute error",
    "mae": "mean absolute error",
    "bone_dice": "overlap of bone",
}


def line_of(found: Headline, budgets: Mapping[str, int] | None = None, *, equal_time: bool = False) -> dict[str, Any]:
    """The line of the overview as text; empty where nothing was measured.

    Args:
        found: The line.
        budgets: Samples that the trainings of every arm saw; 0: nothing was trained in steps.
        equal_time: Arms were planned for the same time of training.
    """
    if not found.measure:
        return {}
    unit = unit_of(found.measure)
    meaning = MEANINGS.get(found.measure, "")
    named = f"{found.measure}{f': {meaning}' if meaning else ''}"
    return {
        "measure": named + ("" if unit == "1" or unit.lower() in found.measure else f" [{unit}]"),
        "better": BETTER[better(found.measure)],
        "of": _of(found.structures),
        "subjects": f"{found.subjects} test {'subject' if found.subjects == 1 else 'subjects'}",
        "cells": [
            _ours(found.ours, found.measure),
            _compared(found.published, found.measure, _budget(found, budgets or {}, equal_time)),
            _compared(found.baseline, found.measure, ""),
        ],
        "outcomes": [c.outcome for c in (found.published, found.baseline) if c is not None],
    }


def in_sum(outcomes: Sequence[str]) -> str:
    """All comparisons of a page in a sentence; empty where there is none."""
    counts = {word: sum(o == word for o in outcomes) for word in ("ahead", "behind", "level", "open")}
    made = len(outcomes) - counts["open"]
    if not made:
        return ""
    words = [f"better in {counts['ahead']}", f"worse in {counts['behind']}", f"undecided in {counts['level']}"]
    left = f" {counts['open']} more could not be compared." if counts["open"] else ""
    return f"Ours is {', '.join(words)} of {made} {'comparison' if made == 1 else 'comparisons'}.{left}"


def _of(structures: Sequence[str]) -> str:
    if len(structures) > 2:
        return f"mean of {len(structures)} structures"
    return " and ".join(s.replace("_", " ") for s in structures)


def _budget(found: Headline, budgets: Mapping[str, int], equal_time: bool) -> str:
    """What the published arm was trained on in this run, against ours."""
    if found.published is None or not budgets.get(found.published.entry.arm):
        return ""
    theirs = budgets[found.published.entry.arm]
    ours = budgets.get(found.ours.arm, 0) if found.ours else 0
    beside = "as ours" if ours == theirs else f"ours on {ours:,}" if ours else "ours is fitted at once"
    planned = " in the same time, by plan" if equal_time and ours else ""
    return f"trained here on {theirs:,} samples, {beside}{planned}"


def _ours(entry: Entry | None, measure: str) -> dict[str, Any]:
    if entry is None:
        return {"value": "", "outcome": "", "more": "none in this study"}
    ends = "" if math.isnan(entry.low) else f"[{shown(entry.low)}, {shown(entry.high)}]"
    more = "smaller budget: not compared" if entry.had_less else ""
    return {
        "arm": "",
        "value": _with_unit(shown(entry.mean), measure),
        "note": _failed(entry, ends),
        "outcome": "",
        "more": more,
    }


def _compared(found: Compared | None, measure: str, more: str) -> dict[str, Any]:
    if found is None:
        return {"value": "", "outcome": "", "more": "none in this study"}
    entry = found.entry
    best_of = f"best of {found.among}" if found.among > 1 else ""
    return {
        "arm": entry.arm,
        "value": _with_unit(shown(entry.mean), measure),
        "note": _failed(entry, _difference(found, measure)),
        "outcome": found.outcome,
        "more": "; ".join(filter(None, [best_of, more])),
    }


def _difference(found: Compared, measure: str) -> str:
    """How much better or worse ours is, as a size with its interval; signed where it is undecided."""
    if found.entry.had_less:
        return "smaller budget: not compared"
    if math.isnan(found.mean):
        return "not compared"
    has_ends = not math.isnan(found.low)
    if found.outcome not in ("ahead", "behind") or found.low <= 0 <= found.high:
        word = "= undecided"
        if found.outcome == "open":
            word = f"{found.pairs} {'subject' if found.pairs == 1 else 'subjects'}: too few to tell"
        ends = f" [{signed(found.low)}, {signed(found.high)}]" if has_ends else ""
        return f"{word}: {signed(found.mean)}{ends}"
    low, high = sorted((abs(found.low), abs(found.high)))
    word = "▲ better by" if found.outcome == "ahead" else "▼ worse by"
    if measure in NOMINAL:
        word = "▲ nearer by" if found.outcome == "ahead" else "▼ farther by"
    return f"{word} {shown(abs(found.mean))} [{shown(low)}, {shown(high)}]"


def _with_unit(value: str, measure: str) -> str:
    unit = unit_of(measure)
    return value if unit == "1" else f"{value} {'%' if unit == 'percent' else unit}"


def _failed(entry: Entry, text: str) -> str:
    return text + (f" ({entry.failures} failed)" if entry.failures else "")


def signed(value: float) -> str:
    """A difference for people."""
    return ("+" if value > 0 else "") + shown(value).replace("-", "−")
