"""Pictures that an arm leaves for the page beside those of its cases; what they show is the task's affair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from volforge.cohort.collect import as_tsv
from volforge.volume.folders import read_rows
from volforge.whole_file import write_whole

FOLDER = "pictures"
TABLE = "pictures.tsv"


@dataclass(frozen=True)
class Shown:
    """A picture.

    Attributes:
        file: PNG, or a GIF that moves; relative to the folder of the table.
        title: Heading under which pictures of all arms are gathered.
        caption: What it shows.
    """

    file: str
    title: str
    caption: str


COLUMNS = tuple(f.name for f in fields(Shown))


def write_pictures(folder: Path, shown: Sequence[Shown]) -> None:
    """Write pictures.tsv beside the pictures that it names."""
    write_whole(folder / TABLE, as_tsv(COLUMNS, [asdict(s) for s in shown]))


def read_pictures(folder: Path) -> list[Shown]:
    """The pictures of a folder; none where it has no table."""
    if not (folder / TABLE).exists():
        return []
    return [Shown(**{c: r[c] for c in COLUMNS}) for r in read_rows(folder / TABLE, "a table of pictures", COLUMNS)]
