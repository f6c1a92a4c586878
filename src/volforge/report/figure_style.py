"""How figures of a study look: colours of arms, sizes that a page shows as they are, where axes start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from volforge.config.studies import OURS
from volforge.metrics.measure import NOMINAL, better, unit_of
from volforge.volume.geometry import Array

# Okabe and Ito 2008: told apart with any colour vision; the first is that of our arm in every study of a page
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#000000")
MARKERS = ("o", "s", "^", "D")  # where the colours begin again
WIDTH = 5.2  # inch: as wide as a column of the page, so that text keeps its size there
TEXT = 9  # points
WIDE_RANGE = 50  # from here on equal steps would hide the smaller values

Section = Literal["measures", "agreement", "published", "calibration", "training"]


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes:
        figure: Of matplotlib.
        section: Heading of the page under which it stands.
        caption: What it shows.
    """

    figure: Any
    section: Section
    caption: str


def colour_of(arm: str, arms: Sequence[str]) -> str:
    """Colour of an arm, the same in every figure of the study; that of our arm in every study."""
    return COLOURS[0] if arm == OURS else COLOURS[1 + _place(arm, arms) % (len(COLOURS) - 1)]


def marker_of(arm: str, arms: Sequence[str]) -> str:
    """Marker of an arm: another one where the colours begin again."""
    return MARKERS[0] if arm == OURS else MARKERS[_place(arm, arms) // (len(COLOURS) - 1) % len(MARKERS)]


def _place(arm: str, arms: Sequence[str]) -> int:
    return [a for a in arms if a != OURS].index(arm)


def new_figure(height: float, columns: int = 1, width: float = WIDTH) -> tuple[Any, list[Any]]:
    """An empty figure and its axes from left to right; sizes in inch."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": TEXT, "axes.titlesize": TEXT, "axes.labelsize": TEXT}):
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=TEXT)
    return figure, list(axes)


def save(figure: Any, stem: Path) -> None:
    """Write a figure as SVG and PNG, the same bytes each time."""
    import matplotlib as mpl

    # ids of SVG elements from a fixed salt, no date: the same figure is the same file
    with mpl.rc_context({"svg.hashsalt": "volforge", "svg.fonttype": "none"}):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None})


def label_of(measure: str) -> str:
    """A measure with its unit and what is better."""
    unit = unit_of(measure)
    words = {"higher": "higher is better", "lower": "lower is better", "nominal": "best at its nominal level"}
    direction = words.get(better(measure), "")
    return measure + (f" [{unit}]" if unit != "1" else "") + (f", {direction}" if direction else "")


def scale_axis(axis: Any, measure: str, values: Array) -> None:
    """Let the axis of values start at a sensible place.

    Shares end at 1; what is better the lower starts at 0; ratios, and values over a wide range, stand on a logarithmic
    axis; the nominal level of a measure is a dashed line.

    Args:
        axis: Its x axis is scaled.
        measure: The measure.
        values: All that is drawn.
    """
    known = values[np.isfinite(values)]
    if measure in NOMINAL:
        axis.axvline(NOMINAL[measure], color="black", lw=0.8, ls="--", zorder=0)
    if not known.size:
        return
    low, high = float(known.min()), float(known.max())
    direction = better(measure)
    is_wide = low > 0 and high > WIDE_RANGE * low
    if (measure.endswith("_ratio") and direction == "nominal" and low > 0) or (is_wide and direction == "lower"):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}" if high < 10 * low else "")
    elif direction == "higher" and unit_of(measure) == "1" and high <= 1:
        start = min(0.9, np.floor(low * 10) / 10)
        axis.set_xlim(start - 0.01 * (1 - start), 1 + 0.02 * (1 - start))
    elif direction == "lower" and low >= 0:
        axis.set_xlim(-0.01 * high, 1.05 * high if high else 1)
