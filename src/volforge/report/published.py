"""Published numbers as data: `config/papers/published/*.tsv`."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.metrics.measure import unit_of
from volforge.text_lines import lines_of

COLUMNS = (
    "study", "arm", "structure", "measure", "value", "spread", "spread_kind", "n", "unit", "source", "caveat",
    "cohort", "table",
)  # fmt: skip
SHARES = ("dice", "iou", "sensitivity", "precision", "boundary_dice_10mm", "outline_dice", "ssim", "ms_ssim")


@dataclass(frozen=True)
class PublishedNumber:
    """One number of a paper.

    Attributes:
        study: Task it belongs to.
        arm: Published method.
        structure: What it speaks of.
        measure: Name as in our measures, with `legacy_` where only the published code computes it so.
        value: The number.
        spread: Its spread, None where not given.
        spread_kind: `sd` or empty.
        n: Subjects, None where not given.
        unit: Unit, `1` where there is none.
        source: Where it stands.
        caveat: What limits a comparison.
        cohort: Data that it was measured on.
        table: Title under which rows belong together.
    """

    study: str
    arm: str
    structure: str
    measure: str
    value: float
    spread: float | None
    spread_kind: str
    n: int | None
    unit: str
    source: str
    caveat: str
    cohort: str
    table: str


@dataclass(frozen=True)
class PublishedTable:
    """A file of published numbers.

    Attributes:
        notes: Comment lines at its head.
        numbers: Its rows.
    """

    notes: list[str]
    numbers: list[PublishedNumber]


def read_published(path: Path) -> PublishedTable:
    """Read a table of published numbers.

    Raises:
        VolforgeError: No file, missing columns, or values that are no numbers, all named.
    """
    remedy = "see config/README.md for its columns"
    try:
        lines = lines_of(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise VolforgeError(f"cannot be read: {error}", str(path), "check the path; save it as UTF-8") from error
    notes = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    content = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not content:
        raise VolforgeError("the table is empty", str(path), remedy)
    reader = csv.DictReader((line for _, line in content), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        raise VolforgeError(f"columns are missing: {', '.join(missing)}", str(path), remedy)
    numbers, wrong = [], []
    for (line, _), row in zip(content[1:], reader, strict=True):
        try:
            if None in row.values() or None in row:
                raise ValueError(f"{len(COLUMNS)} cells are needed, empty ones too")
            value = float(row["value"])
            if not math.isfinite(value):
                raise ValueError(f"value '{row['value']}' is no number")
            if unit_of(row["measure"]) != "1" and row["unit"] != unit_of(row["measure"]):
                raise ValueError(f"unit of {row['measure']} is {unit_of(row['measure'])}, not '{row['unit']}'")
            if row["measure"] in SHARES and not 0 <= value <= 1:
                raise ValueError(f"{row['measure']} is a share, 0 to 1, not {value:g}")
            numbers.append(
                PublishedNumber(
                    **{k: row[k] for k in ("study", "arm", "structure", "measure", "spread_kind", "unit", "source")},
                    **{k: row[k] for k in ("caveat", "cohort", "table")},
                    value=float(row["value"]),
                    spread=float(row["spread"]) if row["spread"] else None,
                    n=int(row["n"]) if row["n"] else None,
                )
            )
        except (TypeError, ValueError) as error:
            wrong.append(f"line {line}: {error}")
    if wrong:
        raise VolforgeError("; ".join(wrong), str(path), remedy)
    return PublishedTable(notes, numbers)
