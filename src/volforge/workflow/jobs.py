"""What each job is told: paths, command-line arguments, settings, resources. Plain strings and numbers.

Jobs get only the fields that they use, so that an edit of a free column, or of another scan's row, makes
nothing again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from volforge.cohort.sheet import SheetRow
from volforge.config.models import Recipe
from volforge.workflow.run import ResolvedCohort, Run

RESULTS = "results"


def scan_folder(cohort: str, scan: str) -> str:
    """Folder of an imported scan."""
    return f"{RESULTS}/cohorts/{cohort}/scans/{scan}"


def cohort_settings(cohort: ResolvedCohort) -> str:
    """`settings.json` of a cohort: all that its imports read, as one line of JSON."""
    settings = cohort.settings
    content = {
        "structures": {s.structure: s.id for s in cohort.structures},
        "colours": {s.structure: s.colour for s in cohort.structures},
        "label_grid": settings.label_grid,
        "mesh_frame": settings.mesh_frame,
        "background": settings.background,
        "body_mask": settings.body_mask.model_dump(),
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def makes_labels(cohort: ResolvedCohort, row: SheetRow) -> bool:
    """Whether the labels of a scan come from the cohort's command."""
    return cohort.settings.labels_command is not None and "labels" not in row.files and "image" in row.files


def made_labels(cohort: str, scan: str) -> str:
    """File that the cohort's command writes."""
    return f"{RESULTS}/cohorts/{cohort}/made_labels/{scan}.nii.gz"


def source_files(cohort: ResolvedCohort, scan: str) -> list[str]:
    """Input files of an import that exist before the run, or that a rule makes."""
    row = cohort.rows[scan]
    if cohort.settings.phantom is not None:
        return [f"{RESULTS}/phantoms/{cohort.name}/truth.json"]
    files = [p for c, p in row.files.items() if c not in row.missing]
    return [*files, made_labels(cohort.name, scan)] if makes_labels(cohort, row) else files


def import_arguments(cohort: ResolvedCohort, scan: str) -> str:
    """Arguments of `volforge scan import` that the sheet decides, quoted for a shell."""
    row = cohort.rows[scan]
    words = ["--scan", scan, "--modality", row.modality, "--unit", row.unit]
    files = dict(row.files)
    if makes_labels(cohort, row):
        files["labels"] = made_labels(cohort.name, scan)
    for column, path in files.items():
        words += [f"--{column.replace('_', '-')}", path]
    return shlex.join(words)


def recipe_json(run: Run, recipe: str) -> str:
    """A recipe as one line of JSON."""
    model: Recipe = run.configuration.recipes[recipe]
    return json.dumps(model.model_dump(), separators=(",", ":"))


def structure_ids(run: Run, cohort: str, recipe: str) -> str:
    """Ids by name of the structures that a region lies around, as JSON; empty for other recipes."""
    around = getattr(run.configuration.recipes[recipe], "around", "body")
    names = [] if isinstance(around, str) else around
    ids = {s.structure: s.id for s in run.cohorts[cohort].structures if s.structure in names}
    return json.dumps(ids, separators=(",", ":"))


def sheet_fields(cohort: ResolvedCohort) -> str:
    """A hash of the sheet's fields that the table of scans shows."""
    rows = [
        [r.scan, r.subject, r.modality, r.contrast, r.frame, r.label_source, r.split, r.fold, sorted(r.files)]
        for r in cohort.rows.values()
    ]
    return short_hash(rows)


def split_settings(cohort: ResolvedCohort) -> str:
    """Settings of splits and folds as JSON."""
    s = cohort.settings
    content = {
        "seed": s.seed,
        "folds": s.folds,
        "splits": s.splits.model_dump(),
        "on_bad_scan": s.on_bad_scan,
        "makes_labels": s.labels_command is not None,
    }
    return json.dumps(content, separators=(",", ":"))


def phantom_arguments(cohort: ResolvedCohort) -> str:
    """Arguments of `volforge cohort phantoms`, quoted for a shell."""
    phantom = cohort.settings.phantom
    assert phantom is not None
    words = ["--sheet", str(cohort.sheet), "--kind", phantom.kind, "--seed", str(phantom.seed)]
    if phantom.spacing_mm is not None:
        words += ["--spacing-mm", str(phantom.spacing_mm)]
    return shlex.join(words)


def phantom_rows(cohort: ResolvedCohort) -> str:
    """A hash of the fields that the phantoms are drawn from."""
    return short_hash([[r.subject, r.scan, r.modality, r.free.get("case", "")] for r in cohort.rows.values()])


def import_memory_mb(cohort: ResolvedCohort, scan: str, attempt: int) -> int:
    """Memory that an import asks for: by the size of the files on disk, more on each attempt."""
    row = cohort.rows[scan]
    if cohort.settings.phantom is not None:
        return 1000 * attempt
    size = sum(Path(p).stat().st_size for p in row.files.values() if Path(p).is_file()) / 2**20
    # a gzip CT holds about half its raw bytes; binary masks hold a thousandth, hence the floor
    return int(min(3000 + 60 * size, 24000) * attempt)


def short_hash(content: Any) -> str:
    """16 hexadecimal digits of the content's JSON."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def report_settings(run: Run) -> str:
    """What the report reads of the configuration, as one line of JSON."""
    cohorts = {
        name: {
            "sheet": str(c.sheet),
            "comments": c.comments,
            "licence": c.settings.licence,
            "phantom": c.settings.phantom is not None,
            "structures": [[s.structure, s.id, s.colour, s.side, s.group] for s in c.structures],
            "recipes": c.settings.recipes,
        }
        for name, c in run.cohorts.items()
    }
    content = {
        "report": run.configuration.report.model_dump(),
        "cohorts": cohorts,
        "configuration": run.configuration.model_dump(exclude_defaults=True),
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
