"""Figures of a study as SVG and PNG: the same bytes for the same measures, colours that everybody tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.report import agreement_figures
from volforge.report.aggregate import measures_frame, rows_in_order, subject_values
from volforge.report.figure_style import Drawn, colour_of, label_of, marker_of, new_figure, save, scale_axis
from volforge.report.table import StudyTable
from volforge.volume.folders import whole_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 48  # of a box plot: structures times arms
MOST_PUBLISHED = 24
FEW_POINTS = 8
MOST_POINTS = 20_000  # of a box plot: a browser draws each of them
LINE = 0.21  # inch of a row


def write_figures(measures: Path, table: StudyTable, runs: Sequence[tuple[str, Path]], out: Path) -> list[str]:
    """Write all figures of a study into a folder that appears whole.

    Args:
        measures: measures.tsv of the study.
        table: Its table.
        runs: Arm and folder of every fold and seed: calibration.tsv in `cases`, history.tsv below `models`.
        out: Folder to write: `<figure>.svg` and `.png`, and `figures.json` with section and caption of each.

    Returns:
        Names of the figures.
    """
    frame = measures_frame(measures)
    arms = list(table.arms)
    drawn: dict[str, Drawn] = {}
    if not frame.empty:
        every = subject_values(frame)
        sources = list(dict.fromkeys(every["label_source"]))
        for source in sources:  # scores of different label sources are never joined
            values = every[every["label_source"] == source]
            ending = f"_{source or 'none'}" if len(sources) > 1 else ""
            for measure in table.display.shown:
                if measure in set(values["measure"]):
                    drawn[f"box_{measure}{ending}"] = _boxes(values, measure, arms, table.display.judged_in)
            drawn |= {f"{n}{ending}": f for n, f in agreement_figures.volumes(values, arms).items()}
        drawn |= agreement_figures.sides(table)
        drawn |= _published(table)
    drawn |= _calibration(runs, arms)
    drawn |= _histories(runs, arms)
    with whole_folder(out) as folder:
        for name, d in drawn.items():
            save(d.figure, folder / name)
        listed = [{"name": n, "section": d.section, "caption": d.caption} for n, d in drawn.items()]
        write_json(folder / "figures.json", listed)
    return list(drawn)


def _boxes(values: pd.DataFrame, measure: str, arms: Sequence[str], judged_in: Sequence[str]) -> Drawn:
    """Box plots with a point per subject: a group per structure, a named row per arm."""
    own = values[values["measure"] == measure]
    own = own[np.isfinite(own["value"].astype(float))]
    structures = list(dict.fromkeys(s for _, s, m in rows_in_order(values) if m == measure))
    structures = [s for s in judged_in if s in structures] or structures
    present = [a for a in arms if (own["arm"] == a).any()]
    shown = structures[: max(1, MOST_ROWS // max(1, len(present)))]
    rows = {
        (s, a): own[(own["structure"] == s) & (own["arm"] == a)]["value"].to_numpy(float)
        for s in shown
        for a in present
    }
    rows = {key: points for key, points in rows.items() if points.size}
    most = MOST_POINTS // max(1, len(rows))
    thinned = f"; {most} points of a row, evenly by rank" if any(p.size > most for p in rows.values()) else ""
    figure, (axis,) = new_figure(0.75 + LINE * (len(rows) + 1.4 * len(shown)))
    ticks, names, y, before = [], [], 0.0, ""
    for (structure, arm), points in rows.items():
        if structure != before:
            y += 1.4 if before else 0.7
            axis.text(0, y - 0.75, structure, transform=axis.get_yaxis_transform(), fontweight="bold", va="center")
            before = structure
        colour = colour_of(arm, arms)
        axis.boxplot(
            points, positions=[y], widths=0.6, showfliers=False, manage_ticks=False, orientation="horizontal",
            medianprops={"color": "black"}, boxprops={"color": colour}, whiskerprops={"color": colour},
            capprops={"color": colour},
        )  # fmt: skip
        # spread aside by rank, so that the figure does not depend on chance
        dots = points if points.size <= most else thin(points, most)
        aside = (np.argsort(np.argsort(dots, kind="stable")) % 5 - 2) * 0.08
        axis.plot(dots, y + aside, marker_of(arm, arms), ms=3, color=colour, alpha=0.6, mew=0)
        ticks.append(y)
        names.append(arm)
        y += 1
    axis.set_yticks(ticks, names)
    axis.set_ylim(y - 0.3, -0.7)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(label_of(measure))
    axis.grid(axis="x", lw=0.4, alpha=0.5)
    scale_axis(axis, measure, np.concatenate(list(rows.values())) if rows else np.zeros(0))
    left = f"; {len(structures) - len(shown)} further structures in the table" if len(structures) > len(shown) else ""
    return Drawn(figure, "measures", f"{measure} by structure and arm, a point per subject{thinned}{left}")


def thin(points: np.ndarray, most: int) -> np.ndarray:
    """So many of the points (N,), evenly by rank: the lowest and the highest among them; at least two."""
    return np.sort(points)[np.linspace(0, points.size - 1, max(2, most)).round().astype(int)]


def _published(table: StudyTable) -> dict[str, Drawn]:
    """Published values beside ours: points with spread, ours filled, published open, by measure and structure."""
    drawn = {}
    arms = list(table.arms)
    for measure in table.display.shown:
        ours = [(r.structure, a, c) for r in table.rows if r.measure == measure for a, c in r.cells.items()]
        matched = [c.published for _, _, c in ours if c.published is not None]
        theirs = [*matched, *(p for p in table.published if p.measure == measure)]
        structures = [s for s in dict.fromkeys(o[0] for o in ours) if any(p.structure == s for p in theirs)]
        for structure in structures:
            rows: list[tuple[str, float, float | None, str]] = [
                (a, c.summary.mean, c.summary.sd, colour_of(a, arms)) for s, a, c in ours if s == structure
            ]
            # published methods may have been measured on several cohorts: each is a point of its own
            shown = [p for p in theirs if p.structure == structure]
            left = len(shown) - MOST_PUBLISHED
            shown = shown[:MOST_PUBLISHED]
            rows += [(f"{p.arm}, {p.cohort}"[:44], p.value, p.spread, "") for p in shown]
            figure, (axis,) = new_figure(0.9 + LINE * len(rows))
            for y, (_, value, spread, colour) in enumerate(rows):
                style = {"mfc": colour or "white", "color": colour or "black"}
                known = spread is not None and np.isfinite(spread)
                axis.errorbar(value, y, xerr=spread if known else None, fmt="o", ms=5, lw=0.9, **style)
            axis.set_yticks(range(len(rows)), [r[0] for r in rows])
            axis.invert_yaxis()
            axis.set_xlabel(label_of(measure))
            axis.grid(axis="x", lw=0.4, alpha=0.5)
            name = f"published_{measure}" + (f"_{structure}" if len(structures) > 1 else "")
            others = len([p for p in shown if p not in matched])
            where = (
                f" ({'' if others == len(shown) else f'the last {others}: '}other data, other size)" if others else ""
            )
            more = f"; {left} further ones in the table" if left > 0 else ""
            caption = f"{measure} of {structure}: filled, this run; open, published{where}{more}"
            drawn[name] = Drawn(figure, "published", caption)
    return drawn


def _calibration(runs: Sequence[tuple[str, Path]], arms: Sequence[str]) -> dict[str, Drawn]:
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
    figure, (axis,) = new_figure(3.8)
    axis.plot([0, 1], [0, 1], color="grey", lw=0.8, ls="--", label="perfect")
    for arm, parts in curves.items():
        joined = pd.concat(parts).fillna(0.0)
        for column in ("confidence", "accuracy"):
            joined[column] *= joined["count"]
        sums = joined.groupby("low")[["count", "confidence", "accuracy"]].sum()
        sums = sums[sums["count"] > 0]
        axis.plot(
            sums["confidence"] / sums["count"], sums["accuracy"] / sums["count"], f"{marker_of(arm, arms)}-", ms=4,
            color=colour_of(arm, arms), label=arm,
        )  # fmt: skip
    axis.set_xlabel("stated confidence")
    axis.set_ylabel("share of right voxels")
    axis.legend(frameon=False, fontsize=9)
    caption = "stated confidence against the share of right voxels near the structures"
    return {"calibration": Drawn(figure, "calibration", caption)}


def _histories(runs: Sequence[tuple[str, Path]], arms: Sequence[str]) -> dict[str, Drawn]:
    """Training curves: every column of the models' history.tsv over steps (losses, and FID or SSIM where kept)."""
    import pandas as pd

    found: dict[str, list[tuple[str, Any, Any]]] = {}
    for arm, folder in runs:
        for path in sorted(folder.glob("models/*/history.tsv")):
            history = pd.read_csv(path, sep="\t")
            if "step" not in history or arm not in arms:
                continue
            for column in (c for c in history.columns if c != "step"):
                known = history[["step", column]].dropna()
                if len(known) > 1:  # one point is no curve
                    found.setdefault(column, []).append((arm, known["step"].to_numpy(), known[column].to_numpy()))
    drawn = {}
    for column, lines in found.items():
        named = list(dict.fromkeys(x[0] for x in lines))
        below = -(-len(named) // 2) if len(named) > FEW_POINTS else 0  # rows of a legend that has no place inside
        figure, (axis,) = new_figure(3.0 + LINE * below)
        for arm, steps, values in lines:
            marker = marker_of(arm, arms) if len(steps) <= FEW_POINTS else None
            axis.plot(steps, values, lw=1.1, color=colour_of(arm, arms), alpha=0.8, marker=marker, ms=3)
        axis.set_xlabel("step")
        axis.set_ylabel(column)
        handles = [_handle(a, arms) for a in named]
        if below:
            figure.legend(handles=handles, frameon=False, fontsize=9, loc="outside lower left", ncols=2)
        else:
            axis.legend(handles=handles, frameon=False, fontsize=9)
        drawn[f"history_{column}"] = Drawn(figure, "training", f"{column} in training")
    return drawn


def _handle(arm: str, arms: Sequence[str]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker_of(arm, arms), ls="-", color=colour_of(arm, arms), label=arm)
