"""Figures of agreement: predicted against true volumes, and left against right (Bland and Altman 1986)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from volforge.config.studies import OURS
from volforge.metrics.agreement import Agreement, agreement
from volforge.metrics.measure import unit_of
from volforge.report.figure_style import Drawn, colour_of, new_figure
from volforge.report.formats import shown
from volforge.report.sides import SidesRow
from volforge.report.table import StudyTable
from volforge.volume.geometry import Array

if TYPE_CHECKING:
    import pandas as pd

LIMITS = "dashed: limits of agreement (1.96 SD)"
MOST_STRUCTURES = 6
MOST_ARMS = 8
ROW = 2.3  # inch


def volumes(values: pd.DataFrame, arms: Sequence[str]) -> dict[str, Drawn]:
    """Difference of volumes against their mean by subject: a figure for each arm, a panel for each structure.

    Args:
        values: One value per arm and subject; see `volforge.report.aggregate.subject_values`.
        arms: Of the study, in its order.
    """
    drawn = {}
    own = values[values["measure"].isin(["volume_mm3", "reference_volume_mm3"])]
    for arm in _ours_first([a for a in arms if (own["arm"] == a).any()])[:MOST_ARMS]:
        part = own[own["arm"] == arm]
        wide = part.pivot_table(index=["structure", "subject"], columns="measure", values="value", sort=False).dropna()
        if not len(wide) or len(wide.columns) < 2:
            continue
        structures = list(dict.fromkeys(wide.index.get_level_values("structure")))
        shown = structures[:MOST_STRUCTURES]
        figure, axes = _panels(len(shown))
        for axis, structure in zip(axes, shown, strict=True):
            found = wide.loc[structure] / 1000
            mine, other = found["volume_mm3"].to_numpy(), found["reference_volume_mm3"].to_numpy()
            _limits(axis, mine, other, agreement(mine, other), colour_of(arm, arms), structure, "ml")
            axis.set_ylabel("predicted − reference [ml]")
        left = (
            f"; {len(structures) - len(shown)} further structures are not drawn" if len(structures) > len(shown) else ""
        )
        drawn[f"bland_altman_{arm}"] = Drawn(
            figure, "agreement", f"{arm}: volume against the reference by subject; {LIMITS}{left}"
        )
    return drawn


def sides(table: StudyTable) -> dict[str, Drawn]:
    """Left less right against their mean: a figure for each arm and label source, a panel for each measure."""
    drawn = {}
    sources = list(dict.fromkeys(r.label_source for r in table.sides))
    for source in sources:
        own = [r for r in table.sides if r.label_source == source]
        for arm in _ours_first(list(dict.fromkeys(r.arm for r in own)))[:MOST_ARMS]:
            rows = [r for r in own if r.arm == arm][:MOST_STRUCTURES]
            ending = f"_{source or 'none'}" if len(sources) > 1 else ""
            drawn[f"sides_{arm}{ending}"] = Drawn(
                _sides_of(rows, list(table.arms)),
                "agreement",
                f"{arm}{f' ({source})' if ending else ''}: left less right by subject, against their mean; {LIMITS}",
            )
    return drawn


def _ours_first(arms: list[str]) -> list[str]:
    return sorted(arms, key=lambda a: a != OURS)


def _sides_of(rows: Sequence[SidesRow], arms: Sequence[str]) -> Any:
    figure, axes = _panels(len(rows))
    for axis, r in zip(axes, rows, strict=True):
        unit = unit_of(r.measure)
        alike = [x for x in rows if x.measure == r.measure]
        title = f"{r.measure}\n{r.structure}" if len(alike) > 1 else r.measure
        _limits(axis, r.left, r.right, r.found, colour_of(r.arm, arms), title, unit)
        axis.set_ylabel("left − right" + (f" [{unit}]" if unit != "1" else ""))
    return figure


def _panels(count: int) -> tuple[Any, list[Any]]:
    """A figure of panels in rows of two, and their axes; the one that is left over is taken away."""
    across = min(2, count)
    down = -(-count // across)
    figure, first = new_figure(ROW * down + 0.3)
    first[0].remove()
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def _limits(axis: Any, first: Array, second: Array, found: Agreement, colour: str, title: str, unit: str) -> None:
    """Differences against means, the bias, and the limits of agreement."""
    axis.plot((first + second) / 2, first - second, "o", ms=4, color=colour, alpha=0.7, mew=0)
    axis.axhline(found.bias, color="black", lw=1)
    spread = 1.96 * found.sd
    for limit in (found.low, found.high) if found.n > 1 else ():
        axis.axhline(limit, color="black", lw=0.8, ls="--")
    axis.axhline(0, color="grey", lw=0.5)
    limits = f", limits ±{shown(spread)}" if found.n > 1 else ""
    axis.set_title(f"{title}\nbias {shown(found.bias)}{limits} {unit if unit != '1' else ''}".rstrip(), fontsize=8)
    axis.set_xlabel("mean of both" + (f" [{unit}]" if unit != "1" else ""), fontsize=9)
