"""Sample sheets: one row per scan, checked as a whole before anything runs."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from volforge.errors import Problem
from volforge.tables.table import Table, read_table
from volforge.volume.companions import channel_of
from volforge.volume.units import UNITS, is_unit

FILE_COLUMNS = ("image", "labels", "body_mask", "defective", "implant")
COLUMNS = (
    "subject", "scan", "modality", "contrast", "unit", "frame", *FILE_COLUMNS, "label_source", "split", "fold",
)  # fmt: skip
MODALITIES = ("CT", "CBCT", "MR", "mask")
SPLITS = ("train", "val", "test")
LABEL_SOURCES = ("expert", "derived", "model", "predicted", "phantom")
NAMES = ("subject", "scan", "modality", "contrast", "unit", "frame", "label_source", "split", "fold")
FREE_NAMES = ("subject", "contrast", "frame")  # any text, so that two may look alike
RESERVED = ("index.tsv",)  # stands beside the scans in a recipe's folder
SCAN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


@dataclass(frozen=True)
class SheetRow:
    """One scan of a sheet, cells checked and paths resolved.

    Attributes:
        line: 1-based line in the sheet.
        fold: Fold that the sheet asks for, None where it does not.
        files: Path of each file column that is filled.
        missing: File columns whose file does not exist.
        free: The other columns.
    """

    line: int
    subject: str
    scan: str
    modality: str
    contrast: str = ""
    unit: str = ""
    frame: str = ""
    label_source: str = ""
    split: str = ""
    fold: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    free: dict[str, str] = field(default_factory=dict)


@dataclass
class Sheet:
    """A sample sheet as read: rows, the comment lines at its head, and every problem."""

    rows: list[SheetRow]
    comments: list[str]
    problems: list[Problem]


def read_sheet(
    path: Path,
    *,
    root: Path | None = None,
    name: str | None = None,
    check_files: bool = True,
    missing_is_error: bool = True,
    has_labels_command: bool = False,
) -> Sheet:
    """Read and check a sample sheet.

    Args:
        path: TSV or CSV.
        root: Folder that relative paths start from; the sheet's own where None.
        name: How messages call the file.
        check_files: Look whether the named files exist (not for those that a rule makes).
        missing_is_error: A missing file stops the run; otherwise it is a warning and that scan is refused.
        has_labels_command: Scans without labels are given some later.
    """
    table = read_table(path, name)
    if not table.header:
        return Sheet([], table.comments, table.problems)
    _check_header(table)
    base = root if root is not None else path.parent
    rows: list[SheetRow] = []
    if {"subject", "scan", "modality"} <= set(table.header):
        exists = _Existence() if check_files else None
        rows = [_row(table, line, cells, base, exists, missing_is_error) for line, cells in table.rows]
        _check_whole(table, rows, has_labels_command)
    return Sheet(rows, table.comments, table.problems)


def _check_header(table: Table) -> None:
    for column in ("subject", "scan", "modality"):
        if column not in table.header:
            near = difflib.get_close_matches(column, table.header, n=1, cutoff=0.7)
            remedy = f"rename '{near[0]}'?" if near else f"known columns: {' '.join(COLUMNS)}"
            table.add(0, column, "", "required column is missing", remedy)
    for name in table.header:
        if name and name not in COLUMNS:
            free = [c for c in COLUMNS if c not in table.header]
            near = difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.82)
            if near:  # a free column would be ignored in silence, and with it a column of files
                table.add(0, name, "", f"looks like column '{near[0]}' misspelt", "rename one of the two")


class _Existence:
    """Whether files exist, by one listing per folder: a stat per file is slow on network file systems."""

    def __init__(self) -> None:
        self._listings: dict[str, set[str]] = {}

    def __call__(self, path: str) -> bool:
        folder, name = os.path.split(path.rstrip("/"))
        if folder not in self._listings:
            try:
                self._listings[folder] = set(os.listdir(folder))
            except OSError:
                self._listings[folder] = set()
        return name in self._listings[folder] or os.path.exists(path)


def _row(
    table: Table,
    line: int,
    cells: dict[str, str],
    base: Path,
    exists: _Existence | None,
    missing_is_error: bool,
) -> SheetRow:
    def get(column: str) -> str:
        return cells.get(column, "")

    def vocabulary(column: str, words: tuple[str, ...]) -> str:
        value = get(column)
        if value and value not in words and column not in hidden:
            near = difflib.get_close_matches(value.lower(), [w.lower() for w in words], n=1, cutoff=0.5)
            hint = next((w for w in words if near and w.lower() == near[0]), None)
            remedy = f"did you mean '{hint}'?" if hint else f"use one of: {', '.join(words)}"
            table.add(line, column, value, f"unknown {column}", remedy)
        return value

    hidden = {column for column in NAMES if table.has_unseen(line, column, get(column))}
    if not get("subject"):
        table.add(line, "subject", "", "a scan without subject cannot be split safely", "name the patient")
    if "scan" not in hidden and (not SCAN.match(get("scan")) or get("scan") in RESERVED):
        table.add(
            line,
            "scan",
            get("scan"),
            "not a scan name",
            "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
        )
    if not get("modality"):
        table.add(line, "modality", "", "modality is empty", f"use one of: {', '.join(MODALITIES)}")
    modality = vocabulary("modality", MODALITIES)
    unit = get("unit")
    if not is_unit(unit):
        vocabulary("unit", UNITS)
    if unit.startswith("hu") and modality in ("MR", "mask"):
        table.add(line, "unit", unit, f"{modality} has no Hounsfield units", "leave it empty")
    fold = get("fold")
    if fold and not (fold.isascii() and fold.isdigit() and len(fold) <= 3):
        if "fold" not in hidden:
            table.add(line, "fold", fold, "not a fold", "use a whole number from 0 to 999")
        fold = ""
    files: dict[str, str] = {}
    missing: list[str] = []
    for column in FILE_COLUMNS:
        value = get(column)
        if not value:
            continue
        files[column] = from_here(os.path.join(base, value))
        if exists is not None and not exists(channel_of(files[column])[0]):
            missing.append(column)
            near = _nearest_file(files[column])
            table.problems.append(
                Problem(
                    table.file,
                    line,
                    column,
                    value,
                    f"file not found: {files[column]}",
                    near or "relative paths start from the sheet's folder, or from the cohort's `root`",
                    "error" if missing_is_error else "warning",
                )
            )
    if not files:
        table.add(line, "image", "", "the row names no file", "fill image or labels")
    elif modality != "mask" and set(files) <= {"body_mask"}:
        table.add(line, "image", "", "a body mask alone is no scan", "fill image or labels")
    return SheetRow(
        line=line,
        subject=get("subject"),
        scan=get("scan"),
        modality=modality,
        contrast=get("contrast"),
        unit=unit or {"CT": "hu"}.get(modality, "arbitrary"),
        frame=get("frame"),
        label_source=vocabulary("label_source", LABEL_SOURCES),
        split=vocabulary("split", SPLITS),
        fold=int(fold) if fold else None,
        files=files,
        missing=tuple(missing),
        free={k: v for k, v in cells.items() if k not in COLUMNS},
    )


def from_here(path: str | Path) -> str:
    """A path relative to the working directory if it lies below, else absolute: moving a project changes nothing."""
    here, there = os.getcwd(), os.path.abspath(path)
    return os.path.relpath(there, here) if there.startswith(here + os.sep) else there


def _nearest_file(path: str) -> str:
    folder = Path(path).absolute().parent
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises where a folder above may not be entered)
        while not os.path.isdir(folder):  # noqa: PTH112
            folder = folder.parent
        return f"the folder {folder} exists, what follows does not"
    try:
        names = os.listdir(folder)
    except OSError as error:
        return f"the folder {folder} cannot be read: {error.strerror}"
    near = difflib.get_close_matches(Path(path).name, names, n=1, cutoff=0.8)
    return f"did you mean '{near[0]}'?" if near else ""


def _check_whole(table: Table, rows: list[SheetRow], has_labels_command: bool) -> None:
    by_scan: dict[str, SheetRow] = {}
    by_file: dict[str, SheetRow] = {}
    by_pair: dict[tuple[str, str], SheetRow] = {}
    by_subject: dict[str, list[SheetRow]] = defaultdict(list)
    for row in rows:
        first = by_scan.setdefault(row.scan.lower(), row)
        if first is not row:
            case = "" if first.scan == row.scan else f" as '{first.scan}': names must differ in more than case"
            table.add(row.line, "scan", row.scan, f"stands already in line {first.line}{case}", "rename one")
        by_subject[row.subject].append(row)
        main = _main_file(row)
        if main:
            first = by_file.setdefault(main, row)
            second = _second_file(row)
            if second and first.subject == row.subject and (row.modality == "mask" or _second_file(first)):
                first = by_pair.setdefault((main, second), row)
            if first is not row:
                leak = " under another subject, which would leak" if first.subject != row.subject else ""
                remedy = "keep one" if leak else "keep one; two raters of one image need labels of their own each"
                table.add(row.line, "image", main, f"the same file stands in line {first.line}{leak}", remedy)
        if "labels" in row.files and not row.label_source:
            table.add(
                row.line,
                "label_source",
                "",
                "labels without their source",
                f"say who drew them: {', '.join(LABEL_SOURCES)}",
            )
        if row.label_source and "labels" not in row.files and not has_labels_command:
            table.add(row.line, "label_source", row.label_source, "a source without labels", "fill labels")
    for subject, scans in by_subject.items():
        for column in ("split", "fold"):
            values = {getattr(r, column) for r in scans}
            if len(values) > 1:
                shown = ", ".join(sorted(str(v) if v not in ("", None) else "(empty)" for v in values))
                table.add(
                    scans[-1].line,
                    column,
                    str(getattr(scans[-1], column) or ""),
                    f"subject '{subject}' stands in several: {shown}; that would leak between them",
                    f"give all its scans (lines {', '.join(str(r.line) for r in scans)}) the same {column}",
                )
    _check_files_of_others(table, rows)
    _check_looks(table, rows)


def _check_files_of_others(table: Table, rows: list[SheetRow]) -> None:
    """No file serves two subjects, in whatever column and under whatever name (links); volumes of a 4-D file may."""
    seen: dict[str, tuple[SheetRow, str]] = {}
    for row in rows:
        for column, name in row.files.items():
            file, mark, number = name.partition("#")
            first, there = seen.setdefault(os.path.realpath(file) + mark + number, (row, column))
            is_said = name == _main_file(row) == _main_file(first)
            if first.subject != row.subject and not is_said:
                where = f"line {first.line}, column {there}"
                text = f"the same file stands in {where}, under another subject, which would leak"
                table.add(row.line, column, name, text, "give each subject files of its own, or one name")


def _main_file(row: SheetRow) -> str:
    """The file that a row is about."""
    return row.files.get("image") or row.files.get("labels") or row.files.get("defective") or ""


def _second_file(row: SheetRow) -> str:
    """What may differ where one image stands twice: several defects of a skull, labels of several raters."""
    if row.modality == "mask":
        return row.files.get("defective", "")
    return row.files.get("labels", "") if "image" in row.files else ""


def _check_looks(table: Table, rows: list[SheetRow]) -> None:
    """Names that cannot be told apart by eye are errors, subjects that differ in case alone are warned of."""
    for column in FREE_NAMES:
        lines: dict[str, int] = {}
        for row in rows:
            lines.setdefault(getattr(row, column), row.line)
        alike = table.refuse_twins(column, lines)
        folded: dict[str, list[str]] = defaultdict(list)
        for looks, name in alike.items() if column == "subject" else ():
            folded[looks.casefold()].append(name)
        for first, *others in folded.values():
            table.problems += [
                Problem(
                    table.file,
                    lines[other],
                    column,
                    other,
                    f"differs from '{first}' only in case",
                    "if that is one patient, write it the same way, or its scans may leak between splits",
                    "warning",
                )
                for other in others
            ]
