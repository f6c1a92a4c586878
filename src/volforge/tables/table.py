"""Reading a hand-written table (TSV or CSV) so that every cell still knows its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from volforge.errors import Problem
from volforge.tables.characters import looks_of, spelt, unseen
from volforge.text_lines import content_of, lines_of

LARGEST = 1 << 27  # bytes


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

    def has_unseen(self, line: int, column: str, name: str) -> bool:
        """Whether a name holds a character that nobody sees; it is noted as a problem, by code point and name."""
        character = unseen(name)
        if character:
            text = f"holds {character}, which nobody sees: the name looks like another one and is not it"
            self.add(line, column, name, text, "delete the character, or type the name anew")
        return bool(character)

    def refuse_twins(self, column: str, lines: Mapping[str, int]) -> dict[str, str]:
        """Note names that cannot be told apart by eye.

        Args:
            column: What the names are.
            lines: First line of each name.

        Returns:
            The first name of each looks.
        """
        first: dict[str, str] = {}
        for name in filter(None, lines):
            other = first.setdefault(looks_of(name), name)
            if other != name:
                text = f"looks like {spelt(other)} of line {lines[other]} and is another {column}: {spelt(name)}"
                self.add(lines[name], column, name, text, "write it the same way in all rows, or make it differ")
        return first


def read_table(path: Path, name: str | None = None) -> Table:
    """Read a TSV or CSV; the suffix decides the delimiter (`.csv`: comma, else tab).

    A byte-order mark, Windows line ends and comment lines before the header are accepted; a wrong
    delimiter, rows longer than their header, stray white space, repeated columns and other encodings are problems.
    """
    table = Table(name or str(path))
    try:
        content = content_of(path, LARGEST)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        table.add(0, "", "", "file not found", "check the path; it is relative to the file that names it")
        return table
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        table.add(line, "", "", "not UTF-8 text", "save the sheet as UTF-8")
        return table
    except OSError as error:
        table.add(0, "", "", f"cannot be read: {error.strerror}", "check path and permissions")
        return table
    if "\0" in text:
        table.add(text[: text.index("\0")].count("\n") + 1, "", "", "not a text table", "export it as TSV")
        return table
    lines = lines_of(text, keep_ends=True)
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
        table.has_unseen(line, name, name)
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
