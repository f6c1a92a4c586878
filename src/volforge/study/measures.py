"""`measures.tsv`: measures as tidy rows, the only thing that tables are made of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volforge.cohort.collect import as_tsv
from volforge.errors import VolforgeError
from volforge.metrics.measure import Measure, number
from volforge.volume.folders import read_rows
from volforge.whole_file import refuse_places, write_whole

COLUMNS = (
    "study", "arm", "fold", "seed", "cohort", "subject", "scan", "side", "structure", "sample", "measure", "value",
    "unit", "label_source", "status", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """What a measure was taken of; the first columns of a row."""

    study: str
    arm: str
    fold: int
    seed: int
    cohort: str
    subject: str = ""
    scan: str = ""
    side: str = ""
    sample: int = 0
    label_source: str = ""


def row(origin: Origin, measure: Measure) -> dict[str, object]:
    """One row: ten significant digits, an empty cell for no value."""
    return {
        "study": origin.study,
        "arm": origin.arm,
        "fold": origin.fold,
        "seed": origin.seed,
        "cohort": origin.cohort,
        "subject": origin.subject,
        "scan": origin.scan,
        "side": origin.side,
        "structure": measure.structure,
        "sample": origin.sample,
        "measure": measure.measure,
        "value": number(measure.value),
        "unit": measure.unit,
        "label_source": origin.label_source,
        "status": measure.status,
        "n": measure.n,
    }


def write_measures(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Write measures.tsv."""
    write_whole(path, as_tsv(COLUMNS, list(rows)))


def read_measures(path: Path) -> list[dict[str, str]]:
    """Rows of a measures.tsv.

    Raises:
        VolforgeError: Columns are missing.
    """
    return read_rows(path, "a table of measures", COLUMNS)


def collect(parts: Sequence[Path], out: Path) -> int:
    """Join the measures of all arms, folds and seeds of a study, in the order given."""
    refuse_places({"--out": out}, {str(part): part for part in parts})
    places = [part.resolve() for part in parts]
    if twice := [str(p) for n, p in enumerate(parts) if places[n] in places[:n]]:
        raise VolforgeError(f"a table stands twice: {', '.join(twice)}", "", "name each part once")
    text, count = io.StringIO(newline=""), 0
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
    writer.writeheader()
    for part in parts:  # a million rows are text at once, and mappings a part at a time
        rows = read_measures(part)
        writer.writerows(rows)
        count += len(rows)
    write_whole(out, text.getvalue())
    return count
