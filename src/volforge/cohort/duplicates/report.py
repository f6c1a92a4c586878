"""Which scans are compared, and the pairs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volforge.cohort.duplicates.find import Entry, Pair
from volforge.cohort.sheet import read_sheet
from volforge.errors import ProblemsError, VolforgeError, errors_of

COLUMNS = ("verdict", "kind", "cohort_a", "scan_a", "subject_a", "cohort_b", "scan_b", "subject_b",
           "residual_mm", "offset_mm", "overlap")  # fmt: skip


def entries_of(sources: Sequence[Path], root: Path | None) -> list[Entry]:
    """The scans of sheets and configurations.

    Raises:
        ProblemsError: a sheet or configuration has errors; phantom cohorts are left out.
        VolforgeError: fewer than two scans.
    """
    entries: list[Entry] = []
    for source in sources:
        if source.suffix.lower() in (".yaml", ".yml"):
            from volforge.workflow.run import load_run

            for name, cohort in load_run([source]).cohorts.items():
                if cohort.settings.phantom is None:
                    entries += [Entry(name, row) for row in cohort.rows.values()]
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
