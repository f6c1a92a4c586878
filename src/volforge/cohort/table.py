"""Reading a hand-written table (TSV or CSV) so that every cell still knows its line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from volforge.errors import Problem


@dataclass
class Table:
    """A table as written.

    Attributes:
        file: The file as named.
        header: Column names.
        rows: (1-based line, cells by column) of every row that is not empty.
        comments: Lines before the header that begin with `#`, without the sign.
        problems: What is wrong with the form of the file.
    """

    file: str
    header: list[str] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, column: str, value: str, message: str, remedy: str) -> None:
        """Note a problem at a cell."""
        self.problems.append(Problem(self.file, line, column, value, message, remedy))


def read_table(path: Path, name: str | None = None) -> Table:
    """Read a TSV or CSV; the suffix decides the delimiter (`.csv`: comma, else tab).

    A byte-order mark, Windows line ends and comment lines before the header are accepted; a wrong
    delimiter, ragged rows, stray white space, repeated columns and other encodings are problems.
    """
    table = Table(name or str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        table.add(0, "", "", "file not found", "check the path; it is relative to the file that names it")
        return table
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        table.add(line, "", "", "not UTF-8 text", "save the sheet as UTF-8")
        return table
    except OSError as error:
        table.add(0, "", "", f"cannot be read: {error.strerror}", "check path and permissions")
        return table
    if "\0" in text:
        table.add(text[: text.index("\0")].count("\n") + 1, "", "", "not a text table", "export it as TSV")
        return table
    lines = text.splitlines(keepends=True)
    start = 0
    while start < len(lines) and (lines[start].startswith("#") or not lines[start].strip()):
        table.comments += [lines[start][1:].strip()] if lines[start].startswith("#") else []
        start += 1
    if start == len(lines):
        table.add(0, "", "", "the table is empty", "write a header line and one row per entry")
        return table
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    # `strict` makes an unclosed quote an error, where the default silently swallows the rows after it
    reader = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=delimiter, strict=True)
    line = start + 1
    try:
        for cells in reader:
            first_line, line = line, start + reader.line_num + 1
            if not any(c.strip() for c in cells):
                continue
            if not table.header:
                if not _take_header(table, first_line, cells, delimiter):
                    return table
            else:
                _take_row(table, first_line, cells)
    except csv.Error as error:
        table.add(line, "", "", f"cannot be split into cells: {error}", "close the quotes")
        return table
    if not table.rows and not table.problems:
        table.add(0, "", "", "the table has no row", "write one row per entry")
    return table


def _take_header(table: Table, line: int, cells: list[str], delimiter: str) -> bool:
    names = {"\t": "tabs", ",": "commas", ";": "semicolons"}
    if len(cells) == 1:
        other = max((d for d in "\t,;" if d != delimiter), key=cells[0].count)
        if cells[0].count(other):
            table.add(
                line,
                "",
                cells[0][:60],
                f"columns are separated by {names[other]}, {names[delimiter]} are expected",
                "save it as .tsv with tabs or .csv with commas",
            )
            return False
    header = []
    for cell in cells:
        if cell != cell.strip():
            table.add(line, cell.strip(), cell, "stray white space in a column name", "remove it")
        name = cell.strip()
        if name and name in header:
            table.add(line, name, "", "the column stands twice", "keep one")
        header.append(name)
    table.header = header
    return True


def _take_row(table: Table, line: int, cells: list[str]) -> None:
    if len(cells) > len(table.header) and any(c.strip() for c in cells[len(table.header) :]):
        table.add(
            line,
            "",
            "",
            f"{len(cells)} cells in a row, {len(table.header)} columns in the header",
            "check the delimiters of this line",
        )
    row = {}
    for name, cell in zip(table.header, cells + [""] * len(table.header), strict=False):
        if cell != cell.strip():
            table.add(line, name, cell, "stray white space at the ends of a cell", "remove it")
        if name:
            row[name] = cell.strip()
    table.rows.append((line, row))
