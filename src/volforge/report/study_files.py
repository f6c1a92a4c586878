"""The files of a study: tables, cost of its arms, figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import number
from volforge.report.formats import table_json, table_latex, table_markdown, table_tsv
from volforge.report.table import study_table
from volforge.volume.folders import read_json, write_json
from volforge.whole_file import write_whole

COST_COLUMNS = (
    "study", "arm", "parameters", "multiply_adds", "train_device_hours", "predict_seconds_per_case",
    "peak_memory_gib", "device",
)  # fmt: skip


def write_tables(measures: Path, settings: Mapping[str, Any], out: Path) -> None:
    """Write table.tsv, table.md, table.tex, table.json and cost.tsv.

    Time and memory differ from run to run and have a file of their own, so that the table keeps its bytes.
    """
    table = study_table(measures, settings)
    write_whole(out / "table.tsv", table_tsv(table))
    write_whole(out / "table.md", table_markdown(table))
    write_whole(out / "table.tex", table_latex(table))
    write_json(out / "table.json", table_json(table))
    write_whole(out / "cost.tsv", as_tsv(COST_COLUMNS, costs(settings, list(table.arms), out)))


def run_folders(settings: Mapping[str, Any], study: Path) -> list[tuple[str, Path]]:
    """Arm and folder of every fold and seed of the study; what earlier settings left behind is none of it."""
    return [(arm, study / arm / f"fold{fold}" / f"seed{seed}") for arm, fold, seed in settings["parts"]]


def costs(settings: Mapping[str, Any], arms: list[str], folder: Path) -> list[dict[str, object]]:
    """What every arm cost: the sum of training over folds and seeds, the mean of prediction by case, the peak."""
    rows = []
    for arm in arms:
        own = [f for a, f in run_folders(settings, folder) if a == arm]
        found = [f / "predictions" / "cost.json" for f in own]
        costs_ = [read_json(p) for p in found if p.exists()]
        models = [read_json(p) for f in own for p in sorted(f.glob("models/*/model.json"))]
        spent = [read_json(p) for f in own for p in sorted(f.glob("models/*/cost.json"))]
        folds = max(1, len(found))
        cases = sum(c["cases"] for c in costs_)
        rows.append(
            {
                "study": settings["study"],
                "arm": arm,
                "parameters": sum(m.get("parameters", 0) for m in models) // folds,
                "multiply_adds": sum(m.get("multiply_adds", 0) for m in models) // folds,
                "train_device_hours": number(sum(c["device_hours"] for c in spent)),
                "predict_seconds_per_case": number(sum(c["seconds"] for c in costs_) / cases) if cases else "",
                "peak_memory_gib": number(max((c["peak_memory_gib"] for c in costs_ + spent), default=math.nan)),
                "device": ", ".join(dict.fromkeys(c["device"] for c in costs_ + spent)),
            }
        )
    return rows


def write_study_figures(measures: Path, settings: Mapping[str, Any], out: Path) -> list[str]:
    """Draw all figures of a study into its folder `figures`."""
    from volforge.report.figures import write_figures

    table = study_table(measures, settings)
    return write_figures(measures, table, run_folders(settings, out.parent), out)
