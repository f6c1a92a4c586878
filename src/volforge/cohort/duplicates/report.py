"""Which scans are compared, and the pairs as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from volforge.cohort.duplicates.find import Entry, Pair
from volforge.cohort.sheet import SheetRow, read_sheet
from volforge.errors import ProblemsError, VolforgeError, errors_of

COLUMNS = ("verdict", "kind", "cohort_a", "scan_a", "subject_a", "cohort_b", "scan_b", "subject_b",
           "residual_mm", "offset_mm", "overlap")  # fmt: skip


def entries_of(
    sources: Sequence[Path], root: Path | None, cohorts_of: Callable[[Path], Mapping[str, Iterable[SheetRow]]]
) -> list[Entry]:
    """The scans of sheets and configurations.

    Args:
        sources: Sample sheets; configurations by their ending, `.yaml` or `.yml`.
        root: Folder that the paths of the sheets start from.
        cohorts_of: Reads a configuration: the scans to compare, by cohort.

    Raises:
        ProblemsError: a sheet has errors.
        VolforgeError: fewer than two scans.
    """
    entries: list[Entry] = []
    for source in sources:
        if source.suffix.lower() in (".yaml", ".yml"):
            entries += [Entry(name, row) for name, rows in cohorts_of(source).items() for row in rows]
            continue
        sheet = read_sheet(source, root=root)
        if errors_of(sheet.problems):
            raise ProblemsError(sheet.problems)
        entries += [Entry(source.name.rsplit(".", 1)[0], row) for row in sheet.rows]
    if len(entries) < 2:
        raise VolforgeError("fewer than two scans", ", ".join(map(str, sources)), "name sheets with more")
    return entries


def pairs_text(pairs: Sequence[Pair]) -> str:
    """The pairs as TSV."""
    lines = ["\t".join(COLUMNS)]
    for p in pairs:
        cells = [
            p.verdict,
            p.kind,
            p.a.cohort,
            p.a.row.scan,
            p.a.row.subject,
            p.b.cohort,
            p.b.row.scan,
            p.b.row.subject,
        ]
        lines.append("\t".join([*cells, f"{p.residual_mm:.3f}", f"{p.offset_mm:.3f}", f"{p.overlap:.3f}"]))
    return "\n".join(lines) + "\n"
