"""Figures of a study as SVG and PNG: the same bytes for the same measures, colours that everybody tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.metrics.agreement import Agreement, agreement
from volforge.metrics.measure import better, unit_of
from volforge.report.aggregate import measures_frame, rows_in_order, subject_values
from volforge.report.table import StudyTable
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array

if TYPE_CHECKING:
    import pandas as pd

# Okabe and Ito 2008: told apart with any colour vision
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#000000")
MARKERS = ("o", "s", "^", "D")  # for the ninth arm and on
MOST_STRUCTURES = 12
FEW_POINTS = 8


def write_figures(measures: Path, table: StudyTable, runs: Sequence[tuple[str, Path]], out: Path) -> list[str]:
    """Write all figures of a study into a folder that appears whole.

    Args:
        measures: measures.tsv of the study.
        table: Its table.
        runs: Arm and folder of every fold and seed: calibration.tsv in `cases`, history.tsv below `models`.
        out: Folder to write: `<figure>.svg` and `.png`.

    Returns:
        Names of the figures.
    """
    frame = measures_frame(measures)
    drawn: dict[str, Any] = {}
    if not frame.empty:
        every = subject_values(frame)
        sources = list(dict.fromkeys(every["label_source"]))
        for source in sources:  # scores of different label sources are never joined
            values = every[every["label_source"] == source]
            ending = f"_{source or 'none'}" if len(sources) > 1 else ""
            for measure in table.display.shown:
                if measure in set(values["measure"]):
                    drawn[f"box_{measure}{ending}"] = _boxes(values, measure, list(table.arms))
            drawn |= {f"{n}{ending}": f for n, f in _bland_altman(values, list(table.arms)).items()}
        drawn |= _sides(table)
        drawn |= _published(table)
    drawn |= _calibration(runs, list(table.arms))
    drawn |= _histories(runs, list(table.arms))
    with whole_folder(out) as folder:
        for name, figure in drawn.items():
            _save(figure, folder / name)
        write_json(folder / "figures.json", list(drawn))
    return list(drawn)


def colour_of(arm: str, arms: Sequence[str]) -> str:
    """Colour of an arm, the same in every figure of the study."""
    return COLOURS[list(arms).index(arm) % len(COLOURS)]


def marker_of(arm: str, arms: Sequence[str]) -> str:
    """Marker of an arm: another one where the colours begin again."""
    return MARKERS[list(arms).index(arm) // len(COLOURS) % len(MARKERS)]


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _save(figure: Any, stem: Path) -> None:
    import matplotlib as mpl

    # ids of SVG elements from a fixed salt, no date: the same figure is the same file
    with mpl.rc_context({"svg.hashsalt": "volforge", "svg.fonttype": "none"}):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None})


def _label(measure: str) -> str:
    unit = unit_of(measure)
    direction = {"higher": "higher is better", "lower": "lower is better", "nominal": "best at its nominal level"}.get(
        better(measure), ""
    )
    return measure + (f" [{unit}]" if unit != "1" else "") + (f"\n{direction}" if direction else "")


def _boxes(values: pd.DataFrame, measure: str, arms: Sequence[str]) -> Any:
    """Box plots with a point per subject: a group per structure, a box per arm."""
    own = values[values["measure"] == measure]
    own = own[np.isfinite(own["value"].astype(float))]
    structures = [s for _, s, m in rows_in_order(values) if m == measure]
    structures = list(dict.fromkeys(structures))[:MOST_STRUCTURES]
    present = [a for a in arms if (own["arm"] == a).any()]
    width = max(4.0, min(14.0, 1.6 + 0.55 * len(structures) * (len(present) + 0.6)))
    figure, (axis,) = _figure(width, 3.4)
    step = len(present) + 0.8
    for s, structure in enumerate(structures):
        for a, arm in enumerate(present):
            points = own[(own["structure"] == structure) & (own["arm"] == arm)]["value"].to_numpy(float)
            if not points.size:
                continue
            x, colour = s * step + a, colour_of(arm, arms)
            axis.boxplot(
                points, positions=[x], widths=0.6, showfliers=False, manage_ticks=False,
                medianprops={"color": "black"}, boxprops={"color": colour}, whiskerprops={"color": colour},
                capprops={"color": colour},
            )  # fmt: skip
            # spread sideways by rank, so that the figure does not depend on chance
            aside = (np.argsort(np.argsort(points, kind="stable")) % 5 - 2) * 0.08
            axis.plot(
                x + aside,
                points,
                marker_of(arm, arms),
                ms=3,
                color=colour,
                alpha=0.6,
                label=arm if s == 0 else None,
                mew=0,
            )
    axis.set_xticks([s * step + (len(present) - 1) / 2 for s in range(len(structures))], structures, rotation=20)
    axis.set_ylabel(_label(measure))
    axis.grid(axis="y", lw=0.4, alpha=0.5)
    handles = [_handle(a, arms) for a in present]
    axis.legend(handles=handles, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _handle(arm: str, arms: Sequence[str]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker_of(arm, arms), ls="", color=colour_of(arm, arms), label=arm)


def _bland_altman(values: pd.DataFrame, arms: Sequence[str]) -> dict[str, Any]:
    """Difference of volumes against their mean by subject (Bland and Altman 1986), one figure per structure."""
    drawn = {}
    volumes = values[values["measure"].isin(["volume_mm3", "reference_volume_mm3"])]
    for structure in list(dict.fromkeys(volumes["structure"]))[:MOST_STRUCTURES]:
        own = volumes[volumes["structure"] == structure]
        wide = own.pivot_table(index=["arm", "subject"], columns="measure", values="value", sort=False).dropna()
        if not len(wide) or len(wide.columns) < 2:
            continue
        present = [a for a in arms if a in wide.index.get_level_values("arm")]
        figure, axes = _figure(max(3.2, 2.6 * len(present)), 3.0, len(present))
        for axis, arm in zip(axes, present, strict=True):
            part = wide.loc[arm] / 1000
            own, other = part["volume_mm3"].to_numpy(), part["reference_volume_mm3"].to_numpy()
            _limits(axis, own, other, agreement(own, other), colour_of(arm, arms), arm, "ml")
        axes[0].set_ylabel(f"{structure}: predicted − reference [ml]")
        drawn[f"bland_altman_{structure}"] = figure
    return drawn


def _limits(axis: Any, first: Array, second: Array, found: Agreement, colour: str, title: str, unit: str) -> None:
    """Differences against means, the bias, and the limits of agreement."""
    axis.plot((first + second) / 2, first - second, "o", ms=4, color=colour, alpha=0.7, mew=0)
    axis.axhline(found.bias, color="black", lw=1)
    spread = 1.96 * found.sd
    for limit in (found.low, found.high) if found.n > 1 else ():
        axis.axhline(limit, color="black", lw=0.8, ls="--")
    axis.axhline(0, color="grey", lw=0.5)
    limits = f", limits ±{spread:.3g}" if found.n > 1 else ""
    axis.set_title(f"{title}\nbias {found.bias:.3g}{limits} {unit}", fontsize=8)
    axis.set_xlabel(f"mean of both [{unit}]")


def _sides(table: StudyTable) -> dict[str, Any]:
    """Left less right against their mean, a figure per measure and label source."""
    drawn = {}
    sources = list(dict.fromkeys(r.label_source for r in table.sides))
    for source in sources:
        for measure in dict.fromkeys(r.measure for r in table.sides):
            rows = [r for r in table.sides if (r.label_source, r.measure) == (source, measure)]
            if not rows:
                continue
            figure, axes = _figure(max(3.2, 2.6 * len(rows)), 3.0, len(rows))
            for axis, r in zip(axes, rows, strict=True):
                colour = colour_of(r.arm, list(table.arms))
                _limits(axis, r.left, r.right, r.found, colour, r.arm, unit_of(measure))
            axes[0].set_ylabel(f"{measure}: left − right")
            drawn[f"sides_{measure}" + (f"_{source or 'none'}" if len(sources) > 1 else "")] = figure
    return drawn


def _published(table: StudyTable) -> dict[str, Any]:
    """Published values beside ours: points with spread, ours filled, published open, by measure."""
    drawn = {}
    for measure in table.display.shown:
        ours = [(r.structure, a, c) for r in table.rows if r.measure == measure for a, c in r.cells.items()]
        matched = [c.published for _, _, c in ours if c.published is not None]
        theirs = [*matched, *(p for p in table.published if p.measure == measure)]
        structures = [s for s in dict.fromkeys(o[0] for o in ours) if any(p.structure == s for p in theirs)]
        if not structures:
            continue
        figure, axes = _figure(max(5.5, 5.2 * len(structures)), 4.0, len(structures))
        for axis, structure in zip(axes, structures, strict=True):
            rows: list[tuple[str, float, float | None, bool]] = [
                (a, c.summary.mean, c.summary.sd, True) for s, a, c in ours if s == structure
            ]
            # published methods may have been measured on several cohorts: each is a point of its own
            rows += [
                (f"{p.arm}, {p.cohort}"[:60], p.value, p.spread, False) for p in theirs if p.structure == structure
            ][:24]
            for y, (_, value, spread, is_ours) in enumerate(rows):
                style = {"mfc": COLOURS[0] if is_ours else "white", "color": COLOURS[0] if is_ours else "black"}
                known = spread is not None and np.isfinite(spread)
                axis.errorbar(value, y, xerr=spread if known else None, fmt="o", ms=5, lw=0.9, **style)
            axis.set_yticks(range(len(rows)), [r[0] for r in rows], fontsize=7)
            axis.invert_yaxis()
            axis.set_title(f"{structure}", fontsize=9)
            axis.set_xlabel(_label(measure))
            axis.grid(axis="x", lw=0.4, alpha=0.5)
        figure.suptitle(
            "filled: this run; open: published" + ("" if matched else " (other data, other size)"), fontsize=9
        )
        drawn[f"published_{measure}"] = figure
    return drawn


def _calibration(runs: Sequence[tuple[str, Path]], arms: Sequence[str]) -> dict[str, Any]:
    """Accuracy against confidence of every arm that states one; folds and seeds are joined."""
    import pandas as pd

    curves: dict[str, list[pd.DataFrame]] = {}
    for arm, folder in runs:
        path = folder / "cases" / "calibration.tsv"
        if path.exists():
            part = pd.read_csv(path, sep="\t")
            if len(part):
                curves.setdefault(arm, []).append(part)
    if not curves:
        return {}
    figure, (axis,) = _figure(4.4, 3.6)
    axis.plot([0, 1], [0, 1], color="grey", lw=0.8, ls="--", label="perfect")
    for arm, parts in curves.items():
        joined = pd.concat(parts).fillna(0.0)
        for column in ("confidence", "accuracy"):
            joined[column] *= joined["count"]
        sums = joined.groupby("low")[["count", "confidence", "accuracy"]].sum()
        sums = sums[sums["count"] > 0]
        axis.plot(
            sums["confidence"] / sums["count"], sums["accuracy"] / sums["count"], "o-", ms=4,
            color=colour_of(arm, arms), label=arm,
        )  # fmt: skip
    axis.set_xlabel("stated confidence")
    axis.set_ylabel("share of right voxels")
    axis.legend(frameon=False, fontsize=8)
    return {"calibration": figure}


def _histories(runs: Sequence[tuple[str, Path]], arms: Sequence[str]) -> dict[str, Any]:
    """Training curves: every column of the models' history.tsv over steps (losses, and FID or SSIM where kept)."""
    import pandas as pd

    found: dict[str, list[tuple[str, Any, Any]]] = {}
    for arm, folder in runs:
        for path in sorted(folder.glob("models/*/history.tsv")):
            history = pd.read_csv(path, sep="\t")
            if "step" not in history:
                continue
            for column in (c for c in history.columns if c != "step"):
                known = history[["step", column]].dropna()
                if len(known):
                    found.setdefault(column, []).append((arm, known["step"].to_numpy(), known[column].to_numpy()))
    drawn = {}
    for column, lines in found.items():
        figure, (axis,) = _figure(5.0, 3.2)
        for arm, steps, values in lines:
            marker = "o" if len(steps) <= FEW_POINTS else None  # a line of one point would not be seen
            axis.plot(steps, values, lw=1.1, color=colour_of(arm, arms), alpha=0.8, marker=marker, ms=3)
        axis.set_xlabel("step")
        axis.set_ylabel(column)
        axis.legend(handles=[_handle(a, arms) for a in dict.fromkeys(x[0] for x in lines)], frameon=False, fontsize=8)
        drawn[f"history_{column}"] = figure
    return drawn
