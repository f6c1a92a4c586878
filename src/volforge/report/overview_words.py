"""The overview's line of a study in words."""

from __future__ import annotations

import math
from typing import Any

from volforge.metrics.measure import better, unit_of
from volforge.report.formats import shown
from volforge.report.overview import Compared, Entry, Headline, in_words

MARKS = {"higher": "↑", "lower": "↓", "nominal": "→", "neither": ""}
BETTER = {"higher": "more is better", "lower": "less is better", "nominal": "best at its nominal level", "neither": ""}


def line_of(found: Headline) -> dict[str, Any]:
    """The line of the overview as text; empty where nothing was measured."""
    if not found.measure:
        return {}
    unit = unit_of(found.measure)
    count = f"{found.subjects} {'subject' if found.subjects == 1 else 'subjects'}"
    of = in_words(found.measure, found.structures).removeprefix(found.measure).lstrip(", ")
    return {
        "measure": f"{found.measure} {MARKS[better(found.measure)]}".rstrip(),
        "of": ", ".join(filter(None, [of.replace(f"[{unit}], ", "").replace(f"[{unit}]", ""), count])),
        "cells": [_ours(found.ours), _compared(found.published), _compared(found.baseline)],
    }


def _ours(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {"value": "", "outcome": ""}
    less = "smaller budget: not compared" if entry.had_less else ""
    return {
        "arm": entry.arm,
        "is_ours": True,
        "value": shown(entry.mean),
        "note": _interval(entry, less),
        "outcome": "",
    }


def _compared(found: Compared | None) -> dict[str, Any]:
    if found is None:
        return {"value": "", "outcome": ""}
    entry = found.entry
    words = {"ahead": "▲ ", "behind": "▼ ", "level": "= ", "open": ""}[found.outcome]
    if entry.had_less:
        words = "smaller budget: not compared"
    elif math.isnan(found.mean):
        words = "not compared"
    else:
        words += f"{signed(found.mean)}" + (
            "" if math.isnan(found.low) else f" [{signed(found.low)}, {signed(found.high)}]"
        )
    return {
        "arm": entry.arm,
        "is_ours": False,
        "value": shown(entry.mean),
        "note": _failed(entry, words),
        "outcome": found.outcome,
    }


def _interval(entry: Entry, more: str) -> str:
    ends = "" if math.isnan(entry.low) else f"[{shown(entry.low)}, {shown(entry.high)}]"
    return _failed(entry, " ".join(filter(None, [ends, more])))


def _failed(entry: Entry, text: str) -> str:
    return text + (f" ({entry.failures} failed)" if entry.failures else "")


def signed(value: float) -> str:
    """A difference for people."""
    return ("+" if value > 0 else "") + shown(value).replace("-", "−")
