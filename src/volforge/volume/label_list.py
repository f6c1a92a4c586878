"""Lists of structures: a small table that says which file, and which of its values, holds each structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.tables.table import read_table
from volforge.volume.companions import channel_of
from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Part:
    """Where one structure is drawn.

    Attributes:
        structure: Its name.
        file: Volume, surface, picture, or folder of pictures.
        values: Ranges (lowest, highest) of the values that mean it; empty: all but 0.
    """

    structure: str
    file: Path
    values: tuple[tuple[int, int], ...] = ()

    def hit(self, array: Array) -> Array:
        """Where the structure lies, as bool."""
        if not self.values:
            return np.asarray(array > 0)
        return np.logical_or.reduce([(array >= low) & (array <= high) for low, high in self.values])


def read_label_list(path: Path) -> list[Part]:
    """Read a list of structures.

    Args:
        path: TSV with the columns `structure`, `file` (from the list's folder) and, where a file holds several
            structures, `value`: a number, a range such as `55-70`, or several of them with commas.

    Raises:
        ScanError: naming the first problem of the table; files that do not exist.
    """
    table = read_table(path)
    for column in ("structure", "file"):
        if table.header and column not in table.header:
            table.add(0, column, "", "required column is missing", "columns: structure file value")
    for line, cells in table.rows:
        table.has_unseen(line, "structure", cells.get("structure", ""))
    if table.problems:
        problem = table.problems[0]
        place = f"line {problem.line}: " if problem.line else ""
        raise ScanError(f"{place}{problem.message}", str(path), problem.remedy)
    parts = []
    for line, cells in table.rows:
        if not cells["structure"] or not cells["file"]:
            raise ScanError(f"line {line}: structure and file are needed", str(path), "fill both cells")
        file = path.parent / cells["file"]
        if not Path(channel_of(str(file))[0]).exists():
            raise ScanError(f"line {line}: file not found: {file}", str(path), "paths start from the list's folder")
        parts.append(Part(cells["structure"], file, _ranges(cells.get("value", ""), line, path)))
    return parts


def _ranges(text: str, line: int, path: Path) -> tuple[tuple[int, int], ...]:
    ranges = []
    for piece in filter(None, (p.strip() for p in text.split(","))):
        low, _, high = piece.partition("-")
        try:
            ranges.append((int(low), int(high or low)))
            if ranges[-1][0] > ranges[-1][1]:
                raise ScanError(f"line {line}: '{piece}' runs backwards", str(path), "write the lower value first")
        except ValueError as error:
            raise ScanError(f"line {line}: '{piece}' is no value", str(path), "write 63, 55-70, or 1,2,3") from error
    return tuple(ranges)
