"""What the page says of a study: its tables, figures and cases."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.metrics.measure import better
from volforge.report.aggregate import measures_frame
from volforge.report.cohort_view import Picture, picture, read_rows
from volforge.report.formats import main_cell, published_value, shown, sides_cells, source_numbers, test_cells
from volforge.report.more_pictures import pictures_of
from volforge.report.overview import Headline, first_rows, headline
from volforge.report.overview_words import BETTER, MARKS, line_of
from volforge.report.published import PublishedNumber, read_published
from volforge.report.strips import strip_pictures
from volforge.report.table import LESS, Cell, StudyTable, TableRow, study_table
from volforge.study.predictions import PANEL
from volforge.volume.folders import read_json

if TYPE_CHECKING:
    import pandas as pd

SECTIONS = {
    "measures": "Measures by arm",
    "agreement": "Agreement",
    "published": "Beside published numbers",
    "calibration": "Calibration",
    "training": "Training",
}
THUMB = (220, 60)  # pixels of the small picture of a typical case
TYPICAL = ("worst", "median", "best")
SAME_TIME = 0.75  # of the longest training; machines that also do other work vary by a tenth or two

CASE_NOTE = (
    "Input, prediction, reference and error; in the error orange is too much or too bright, blue too little or too "
    "dark. Values are means over structures and sides."
)


@dataclass
class CaseRow:
    """A case of an arm that is opened: its values, its slices, and its surfaces as JSON where they turn."""

    arm: str
    scan: str
    subject: str
    place: str
    rank: str
    values: list[str]
    slices: Picture | None = None
    view: str = ""
    source: Path | None = None
    badness: float = 0.0  # by the first measure; folds and seeds can be told apart by it


@dataclass
class StudyView:
    """A study as shown."""

    name: str
    about: str
    headline: dict[str, Any]
    typical: list[Picture]
    thumb: Picture | None
    first: dict[str, Any]
    blocks: list[dict[str, Any]]
    has_less: bool
    has_unlearnt: bool
    statistics: list[list[str]]
    tests: list[list[str]]
    sides: list[list[str]]
    cost: list[list[str]]
    notes: list[str]
    figures: dict[str, list[Picture]]
    case_measures: list[str]
    shown_cases: list[CaseRow]
    case_rows: list[list[str]]
    networks: list[str] = field(default_factory=list)
    made_from: dict[str, str] = field(default_factory=dict)
    case_note: str = CASE_NOTE
    samples: list[Picture] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)

    @property
    def has_views(self) -> bool:
        """Whether some case has surfaces to turn."""
        return any(c.view for c in self.shown_cases)


def view_study(results: Path, name: str) -> StudyView:
    """Gather what the page shows of a study.

    Args:
        results: Folder of results.
        name: The study.
    """
    folder = results / "studies" / name
    settings = read_json(folder / "table.settings.json")
    measures = folder / "measures.tsv"
    table = study_table(measures, settings)
    frame = measures_frame(measures)
    found = headline(frame, table)
    cost = read_rows(folder / "cost.tsv")
    wanted, cases, rows = _cases(folder, frame, table, settings["parts"])
    typical, thumb = _typical(cases, table, found)
    return StudyView(
        name,
        f"{table.task.replace('_', ' ')} on the cohort {table.cohort}",
        line_of(found, table.budgets, equal_time=table.equal_time),
        typical,
        thumb,
        _block(table, "", first_rows(table)),
        [_block(table, s, [r for r in table.rows if r.label_source == s]) for s in _sources(table)],
        LESS in table.arms.values(),
        any(not v.holds for v in table.learnt.values()),
        [
            _statistics(r.structure, r.measure, table.heading(arm), cell)
            for r in table.rows
            for arm, cell in r.cells.items()
        ],
        [test_cells(r, t) for r in table.rows for t in r.tests if t.p is not None],
        [sides_cells(r) for r in table.sides],
        [_rounded(r) for r in cost],
        [*table.notes, *unequal_times(table, cost), *(f"{arm}: {note}" for arm, note in table.arm_notes.items())],
        _figures(folder / "figures"),
        wanted,
        cases,
        rows,
        _networks(folder, settings["parts"]),
        table.made_from,
        table.display.note or CASE_NOTE,
        _samples(folder, settings["parts"]),
        strip_pictures(folder, settings["parts"]) | pictures_of(folder, settings["parts"]),
    )


def _sources(table: StudyTable) -> list[str]:
    """Label sources of the rows: a block for each, since their scores stay apart."""
    return list(dict.fromkeys(r.label_source for r in table.rows))


def _block(table: StudyTable, source: str, rows: list[TableRow]) -> dict[str, Any]:
    """Rows of the main table with a cell for each arm."""
    lines = []
    for r in rows:
        counts = sorted({c.images or c.summary.n for c in r.cells.values()})
        published = [c.published for c in r.cells.values() if c.published]
        lines.append(
            {
                "structure": r.structure,
                "measure": r.measure,
                "unit": "" if r.unit == "1" else r.unit,
                "mark": MARKS[better(r.measure)],
                "better": BETTER[better(r.measure)],
                "n": str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}",
                "cells": [
                    {"text": main_cell(r.cells.get(a)), "best": a == r.best, "loses": _loses(r.cells.get(a))}
                    for a in table.arms
                ],
                "published": "; ".join(f"{p.arm} {published_value(p)}" for p in published),
                "source": "; ".join(dict.fromkeys(f"{p.source} {p.caveat}" for p in published)),
            }
        )
    less = [a for a, kind in table.arms.items() if kind == LESS]
    arms = [
        {
            "heading": table.heading(a),
            "role": table.roles.get(a, ""),
            "had_less": a in less,
            "starts_less": a == (less[0] if less else None),
        }
        for a in table.arms
    ]
    with_published = any(line["published"] for line in lines)
    return {"source": source, "rows": lines, "arms": arms, "with_published": with_published}


def _typical(cases: list[CaseRow], table: StudyTable, found: Headline) -> tuple[list[Picture], Picture | None]:
    """Worst, median and best case of our arm (or of the first one with pictures), and the median one, small."""
    from PIL import Image

    arm = found.ours.arm if found.ours and any(c.arm == found.ours.arm for c in cases) else ""
    arm = arm or next((a for a in table.arms if any(c.arm == a for c in cases)), "")
    own = [c for c in cases if c.arm == arm and c.slices is not None]
    by_rank = {r: sorted((c for c in own if c.rank == r), key=lambda c: c.badness) for r in TYPICAL}
    places = {"worst": -1, "best": 0}  # of all folds and seeds; of their medians the one in the middle
    chosen = [found[places.get(r, (len(found) - 1) // 2)] for r, found in by_rank.items() if found]
    middle = next((c for c in chosen if c.rank == "median"), next(iter([*chosen, *own]), None))
    thumb = None
    if middle is not None and middle.source is not None:
        image = Image.open(middle.source).convert("RGB")
        image.thumbnail(THUMB)
        thumb = picture(image, f"{table.study}: {middle.scan}, {arm}, a typical case")
    return [c.slices for c in chosen if c.slices is not None], thumb


def _rounded(cost: Mapping[str, str]) -> list[str]:
    """A row of cost.tsv for people."""
    measured = ("train_device_hours", "predict_seconds_per_case", "peak_memory_gib")
    return [shown(float(v)) if k in measured and v else v for k, v in cost.items() if k != "study"]


def unequal_times(table: StudyTable, cost: Sequence[Mapping[str, str]]) -> list[str]:
    """A warning where trainings planned for the same time took another one; measured, hence not in the table."""
    hours = {c["arm"]: float(c["train_device_hours"]) for c in cost if table.budgets.get(c["arm"])}
    most = max(hours.values(), default=0.0)
    short = [f"{a} {h / most:.2f}" for a, h in hours.items() if h < SAME_TIME * most]
    if not table.equal_time or not short:
        return []
    return [
        f"Planned for the same time of training, and some took much less than the longest (1): {', '.join(short)}. "
        "They had less, or waited less for the processor: not a fair comparison before that is known."
    ]


def _loses(cell: Cell | None) -> str:
    return cell.loses_to if cell is not None else ""


def _statistics(structure: str, measure: str, arm: str, cell: Cell) -> list[str]:
    s = cell.summary
    return [
        structure,
        measure,
        arm,
        str(cell.images or s.n),
        str(cell.failures),
        shown(s.mean),
        shown(s.sd),
        shown(s.median),
        f"{shown(s.q25)} to {shown(s.q75)}",
        f"{shown(s.ci_low)} to {shown(s.ci_high)}",
    ]


def _figures(folder: Path) -> dict[str, list[Picture]]:
    """Figures by the heading of their section."""
    found: dict[str, list[Picture]] = {}
    for entry in read_json(folder / "figures.json"):
        drawn = _figure(folder / f"{entry['name']}.svg", entry["caption"])
        found.setdefault(SECTIONS[entry["section"]], []).append(drawn)
    return {title: found[title] for title in SECTIONS.values() if title in found}


def _figure(path: Path, caption: str) -> Picture:
    """A figure as it is, drawn by the browser."""
    import re

    text = path.read_text(encoding="utf-8")
    sides = dict(re.findall(r'\b(width|height)="([\d.]+)pt"', text[: text.index(">", text.index("<svg"))]))
    size = (round(float(sides["width"]) * 4 / 3), round(float(sides["height"]) * 4 / 3))
    uri = "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
    return Picture(uri, size, caption)


CASE = ["arm", "fold", "seed", "scan", "sample"]


def _cases(
    folder: Path, frame: pd.DataFrame, table: StudyTable, parts: list[list[Any]]
) -> tuple[list[str], list[CaseRow], list[list[str]]]:
    """The main measures, cases that are open to their slices, and every case as a row of the long table."""
    from PIL import Image

    if frame.empty:
        return [], [], []
    own = frame[frame["scan"] != ""]
    only = table.display.judged_in  # image measures have rows by tissue too
    own = own[own["structure"].isin(only)] if only else own
    named = set(own["measure"])
    present = [m for m in table.display.shown if m in named]
    subjects = own.drop_duplicates(CASE, keep="last").set_index(CASE)["subject"]
    own = own[own["measure"].isin(present)]
    order = own.drop_duplicates(CASE).set_index(CASE).index
    texts = [_means(own[own["measure"] == m], order) for m in present]
    opened: dict[tuple[Any, ...], tuple[str, Path, float]] = {}
    for arm, fold, seed in parts:
        path = folder / arm / f"fold{fold}" / f"seed{seed}" / "cases" / "cases.tsv"
        for line in read_rows(path):
            key = (arm, int(fold), int(seed), line["scan"], int(line["sample"]))
            opened[key] = (line["rank"], path.parent / line["file"], float(line.get("badness") or 0))
    shown_cases, rows = [], []
    places: dict[tuple[int, int, int], str] = {}
    for case, subject, *values in zip(order, subjects.reindex(order), *texts, strict=True):
        arm, fold, seed, scan, sample = case
        place = places.setdefault(
            (fold, seed, sample), f"fold {fold}, seed {seed}" + (f", sample {sample}" if sample else "")
        )
        rows.append([scan, subject, arm, place, *values])
        if case not in opened:
            continue
        rank, file, badness = opened[case]
        caption = f"{scan}, {arm}{', ' + rank if rank else ''}: {table.display.picture}. " + ", ".join(
            f"{m} {t}" for m, t in zip(present, values, strict=True)
        )
        turning = file.with_suffix(".view.json")
        view = turning.read_text(encoding="utf-8") if turning.exists() else ""
        slices = picture(Image.open(file), caption)
        shown_cases.append(CaseRow(arm, scan, subject, place, rank, list(values), slices, view, file, badness))
    return present, shown_cases, rows


def _means(own: pd.DataFrame, order: pd.MultiIndex) -> list[str]:
    """Means of a measure over structures and sides by case, with the number of failures; cases without it have none."""
    found = own.groupby(CASE, sort=False)["value"].agg(["mean", "count", "size"]).reindex(order)
    made: dict[str, str] = {}
    texts = []
    for mean, known, size in zip(found["mean"], found["count"].fillna(0), found["size"].fillna(0), strict=True):
        text, failed = shown(mean) if known else "–", int(size - known)
        text += f" ({failed} without a value)" if failed else ""
        texts.append(made.setdefault(text, text))  # few texts stand for many cases
    return texts


def _samples(folder: Path, parts: list[list[Any]]) -> list[Picture]:
    """One label map of every arm that paints some, with its real image and all samples: the case in the middle."""
    from PIL import Image

    found: dict[str, Picture] = {}
    for arm, fold, seed in parts:
        part = folder / arm / f"fold{fold}" / f"seed{seed}"
        panels = {p.name.removesuffix(PANEL): p for p in sorted((part / "predictions").glob(f"*{PANEL}"))}
        if arm in found or not panels:
            continue
        ranks = {line["rank"]: line["scan"] for line in read_rows(part / "cases" / "cases.tsv")}
        scan = ranks["median"] if ranks.get("median") in panels else next(iter(panels))
        caption = f"{scan}, {arm}: label map, real image where there is one, and the samples, as they are."
        found[arm] = picture(Image.open(panels[scan]), caption)
    return list(found.values())


def _networks(folder: Path, parts: list[list[Any]]) -> list[str]:
    """Feature networks with their hashes, as the measures name them."""
    found = []
    for arm, fold, seed in parts:
        for entry in read_json(folder / arm / f"fold{fold}" / f"seed{seed}" / "cases" / "features.json"):
            counts = f", {entry['real']} real and {entry['synthetic']} synthetic slices" if "real" in entry else ""
            found.append(f"{entry['network']}, SHA-256 {entry['sha256']}{counts}")
    return list(dict.fromkeys(found))


@dataclass
class PublishedView:
    """A file of published numbers as shown."""

    title: str
    notes: list[str]
    rows: list[list[str]]
    sources: list[str]


def view_published(path: Path) -> PublishedView:
    """A whole table of published numbers with sources and caveats."""
    table = read_published(path)
    places = source_numbers(table.numbers)

    def row(p: PublishedNumber) -> list[str]:
        unit, n = "" if p.unit == "1" else p.unit, "" if p.n is None else str(p.n)
        place = str(places[p.source, p.caveat])
        return [p.table, p.arm, p.structure, p.measure, published_value(p), unit, n, p.cohort, place]

    sources = [f"{source} {caveat}".strip() for source, caveat in places]
    return PublishedView(path.stem.replace("_", " "), table.notes, [row(p) for p in table.numbers], sources)


def views(
    results: Path, request: Mapping[str, Any], not_run: Mapping[str, str]
) -> tuple[list[StudyView], list[PublishedView]]:
    """All studies that were run, and all published tables, that the report's request names."""
    studies = [view_study(results, s) for s in request["studies"] if s not in not_run]
    return studies, [view_published(Path(p)) for p in request["published"]]
