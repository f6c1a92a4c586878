"""Strips of planes of one case that every arm of a study leaves, for a picture of all arms side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from volforge.cohort.collect import as_tsv
from volforge.volume.folders import read_rows
from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

FOLDER = "strips"
TABLE = "strips.tsv"


@dataclass(frozen=True)
class Strip:
    """A column of the picture.

    Attributes:
        file: PNG beside the table.
        place: `first` and `last` stand once beside all arms (what was read, and the truth); `arm` is the arm's own.
        label: Heading of the column; empty: the arm's name.
        title: Heading of the picture; strips of one title stand side by side.
        caption: What the planes are.
    """

    file: str
    place: Literal["first", "arm", "last"]
    label: str
    title: str
    caption: str


COLUMNS = tuple(f.name for f in fields(Strip))


def write_strips(folder: Path, strips: Sequence[tuple[Strip, Array]]) -> None:
    """Write strips with their table into the subfolder `strips`.

    Args:
        folder: Of the arm's cases.
        strips: Each with its picture, (rows, columns, 3) uint8; all of one size.
    """
    from PIL import Image

    out = folder / FOLDER
    out.mkdir()
    for strip, picture in strips:
        Image.fromarray(picture).save(out / strip.file)
    write_whole(out / TABLE, as_tsv(COLUMNS, [asdict(s) for s, _ in strips]))


def read_strips(folder: Path) -> list[Strip]:
    """The strips of a folder of cases; none where it has no table."""
    path = folder / FOLDER / TABLE
    if not path.exists():
        return []
    return [Strip(**{c: r[c] for c in COLUMNS}) for r in read_rows(path, "a table of strips", COLUMNS)]  # type: ignore[arg-type]
