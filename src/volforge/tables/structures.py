"""The table of structures of a cohort: name, integer id, colour, side and group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from volforge.errors import Problem
from volforge.tables.names import tidy_name
from volforge.tables.table import read_table

NAME = re.compile(r"^[a-z0-9][a-z0-9_]{0,63}$")
COLUMNS = ("structure", "id", "colour", "side", "group", "roi")


@dataclass(frozen=True)
class Structure:
    """A named label.

    Attributes:
        structure: Name, lower-case letters, digits and _.
        id: Its value in label maps, 1 to 65535.
        colour: `#rrggbb`.
        side: `left`, `right` or empty.
        group: Free name of a family of structures, may be empty.
        roi: Names that mean it in DICOM structure sets and segmentations, as their author wrote them.
    """

    structure: str
    id: int
    colour: str
    side: str = ""
    group: str = ""
    roi: tuple[str, ...] = ()


# twenty colours that differ on light and dark ground (after Sasha Trubetskoy's list of distinct colours)
PALETTE = [
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#46f0f0",
    "#f032e6",
    "#bcf60c",
    "#fabebe",
    "#008080",
    "#e6beff",
    "#9a6324",
    "#fffac8",
    "#800000",
    "#aaffc3",
    "#808000",
    "#ffd8b1",
    "#000075",
    "#a9a9a9",
]


def default_colour(value: int) -> str:
    """The colour of an id that names none."""
    return PALETTE[(value - 1) % len(PALETTE)]


def read_structures(path: Path, name: str | None = None) -> tuple[list[Structure], list[Problem]]:
    """Read a structures table; every problem of it is returned, none raised."""
    table = read_table(path, name)
    for column in ("structure", "id"):
        if table.header and column not in table.header:
            table.add(0, column, "", "required column is missing", f"columns: {' '.join(COLUMNS)}")
    structures: list[Structure] = []
    names: dict[str, int] = {}
    ids: dict[int, int] = {}
    rois: dict[str, int] = {}
    for line, row in table.rows if {"structure", "id"} <= set(table.header) else []:
        label, number = row["structure"], row["id"]
        table.has_unseen(line, "group", row.get("group", ""))
        if not table.has_unseen(line, "structure", label) and not NAME.match(label):
            table.add(line, "structure", label, "not a name", "use lower-case letters, digits and _")
        if label in names:
            table.add(line, "structure", label, f"stands already in line {names[label]}", "keep one")
        names.setdefault(label, line)
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 65535:
            table.add(line, "id", number, "not an id", "use a whole number from 1 to 65535; 0 is background")
            continue
        value = int(number)
        if value in ids:
            table.add(line, "id", number, f"stands already in line {ids[value]}", "give each structure its own")
        ids.setdefault(value, line)
        colour = row.get("colour", "") or default_colour(value)
        if not re.match(r"^#[0-9a-fA-F]{6}$", colour):
            table.add(line, "colour", colour, "not a colour", "write #rrggbb")
        side = row.get("side", "")
        if side not in ("", "left", "right"):
            table.add(line, "side", side, "unknown side", "left, right or empty")
        roi = tuple(n for n in map(tidy_name, row.get("roi", "").split("\\")) if n)
        for text in roi:
            if rois.setdefault(text, line) != line:
                table.add(line, "roi", text, f"stands already in line {rois[text]}", "keep one")
        structures.append(Structure(label, value, colour.lower(), side, row.get("group", ""), roi))
    groups: dict[str, int] = {}
    for line, row in table.rows:
        groups.setdefault(row.get("group", ""), line)
    table.refuse_twins("group", groups)
    return structures, table.problems
