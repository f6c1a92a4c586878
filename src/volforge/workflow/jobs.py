"""What each job is told: paths, command-line arguments, settings, resources. Plain strings and numbers.

Jobs get only the fields that they use, so that an edit of a free column, or of another scan's row, makes
nothing again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from volforge.cohort.sheet import SheetRow
from volforge.config.models import Recipe
from volforge.config.scalars import without_places
from volforge.tasks.resolved import ResolvedCohort
from volforge.text_lines import lines_of
from volforge.volume.companions import behind, channel_of, companions, stat_of
from volforge.workflow.run import Run

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
    rois = {s.structure: list(s.roi) for s in cohort.structures if s.roi}
    if rois:  # cohorts without keep their settings, and what was made by them
        content["rois"] = rois
    if settings.qc_faces != "keep":
        content["qc_faces"] = settings.qc_faces
    if settings.balls is not None:
        content["balls"] = {"radius_mm": settings.balls.radius_mm, "joints": balls_of(cohort)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def balls_of(cohort: ResolvedCohort) -> list[dict[str, int]]:
    """Id of each side's condyle and of the ball over it."""
    wanted = cohort.settings.balls
    assert wanted is not None
    sides = {
        name: {s.side: s.id for s in cohort.structures if s.group == name and s.side}
        for name in (wanted.condyle, wanted.structure)
    }
    return [
        {"condyle": i, "id": sides[wanted.structure][side]}
        for side, i in sides[wanted.condyle].items()
        if side in sides[wanted.structure]
    ]


def makes_labels(cohort: ResolvedCohort, row: SheetRow) -> bool:
    """Whether the labels of a scan come from the cohort's command (not where its image is missing)."""
    wanted = cohort.settings.labels_command is not None and "labels" not in row.files and "image" in row.files
    return wanted and (cohort.settings.on_bad_scan == "stop" or os.path.exists(channel_of(row.files["image"])[0]))


def made_labels(cohort: str, scan: str) -> str:
    """Record of the label map that the cohort's command writes beside it."""
    return f"{RESULTS}/cohorts/{cohort}/made_labels/{scan}.json"


def existing_files(paths: Iterable[str]) -> list[str]:
    """The files with their companions (`.img` of `.hdr` ...), without those that do not exist."""
    found = []
    for path in (channel_of(p)[0] for p in paths):
        if os.path.exists(path):
            found += [path, *(str(c) for c in companions(Path(path)))]
    return found


def file_stamps(paths: Iterable[str]) -> list[str]:
    """Size and time of files, and a hash of names, sizes and times of all that stands behind folders, lists and
    headers: as a parameter it makes a job run again after an edit in place, and after an older file took a place."""
    return [_stamp(channel_of(path)[0]) for path in paths]


def _stamp(path: str) -> str:
    found = stat_of(path)
    if found is None:
        return "missing"
    # the time of a folder itself says nothing of an edit, and changes with files that nobody reads
    own = "folder" if stat.S_ISDIR(found.st_mode) else f"{found.st_size}:{found.st_mtime_ns}"
    held = [[name, s and s.st_size, s and s.st_mtime_ns] for name, s in behind(Path(path))]
    return f"{own}:{len(held)} files:{short_hash(held)}" if held else own


def source_files(cohort: ResolvedCohort, scan: str) -> list[str]:
    """Files of the sheet that an import reads, without those that do not exist."""
    return [] if cohort.settings.phantom is not None else existing_files(cohort.rows[scan].files.values())


def source_inputs(cohort: ResolvedCohort, scan: str) -> list[str]:
    """Input files of an import: what a rule makes.

    Files of the user are stamped (`source_stamps`) and are no inputs: Snakemake takes a job for failed that reads a
    file from the future (copied from a machine whose clock is ahead), makes it again once that time has come, or when
    its list of inputs has changed; it fills in braces, and its cluster jobs quote by `repr` only.
    """
    if cohort.settings.phantom is not None:
        return [f"{RESULTS}/phantoms/{cohort.name}/truth.json"]
    return [made_labels(cohort.name, scan)] if makes_labels(cohort, cohort.rows[scan]) else []


def source_stamps(cohort: ResolvedCohort, scan: str) -> list[str]:
    """Stamps of the source files of a scan, by column of the sheet."""
    return [] if cohort.settings.phantom is not None else file_stamps(cohort.rows[scan].files.values())


def import_arguments(cohort: ResolvedCohort, scan: str) -> str:
    """Arguments of `volforge scan import` that the sheet decides, quoted for a shell."""
    row = cohort.rows[scan]
    words = ["--scan", scan, "--modality", row.modality, "--unit", row.unit]
    files = dict(row.files)
    if makes_labels(cohort, row):
        files["made_labels"] = made_labels(cohort.name, scan)
    for column, path in files.items():
        words += [f"--{column.replace('_', '-')}", path]
    return shlex.join(words)


def recipe_json(run: Run, recipe: str) -> str:
    """A recipe as one line of JSON."""
    model: Recipe = run.configuration.recipes[recipe]
    return json.dumps(model.model_dump(), separators=(",", ":"))


def indices(run: Run) -> list[str]:
    """Index of every recipe of every cohort."""
    return [f"{RESULTS}/cohorts/{c}/recipes/{r}/index.tsv" for c in run.cohorts for r in run.recipes_of(c)]


def exports(run: Run) -> list[str]:
    """What tells that the PNG folders of a cohort and recipe are written: of recipes that cut slices."""
    recipes = run.configuration.recipes
    pairs = [(c, r) for c in run.cohorts for r in run.recipes_of(c) if recipes[r].kind == "slices"]
    return [f"{RESULTS}/cohorts/{c}/png/{r}/export.json" for c, r in pairs]


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
    rows = cohort.rows.values()
    return short_hash(
        [[r.subject, r.scan, r.modality, r.free.get("case", ""), *filter(None, [r.contrast])] for r in rows]
    )


def import_memory_mb(cohort: ResolvedCohort, scan: str, attempt: int) -> int:
    """Memory that an import asks for: by the size of the files on disk, more on each attempt."""
    row = cohort.rows[scan]
    if cohort.settings.phantom is not None:
        return 1000 * attempt
    size = 0.0
    for path in existing_files(row.files.values()):
        # a gzip CT holds about half its raw bytes, slices hold them all; binary masks a thousandth, hence the floor
        size += (60 if os.path.isfile(path) and not path.lower().endswith(".txt") else 12) * _bytes_of(path) / 2**20
    whole = 1000 * math.ceil(min(3000 + size, 24000) / 1000)  # whole GB: jobs that ask alike share an array
    return whole * attempt


def _bytes_of(path: str) -> float:
    """Size of a file, or about that of a folder or list of slices: the first one's, times their number."""
    folder = Path(path)
    if folder.is_dir():
        names = [folder / n for n in sorted(os.listdir(path)) if not n.startswith(".")]
    elif path.lower().endswith(".txt"):
        lines = lines_of(folder.read_text(encoding="utf-8", errors="replace"))
        names = [folder.parent / t for t in lines if t.strip() and not t.startswith("#")]
    else:
        return folder.stat().st_size
    first = next((n for n in names[:4] if n.is_file()), None)
    return first.stat().st_size * len(names) if first else 0


def short_hash(content: Any) -> str:
    """16 hexadecimal digits of the content's JSON."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def report_settings(run: Run) -> str:
    """What the report reads of the configuration, as one line of JSON."""
    cohorts = {
        name: {
            "sheet": c.sheet.name,
            "comments": c.comments,
            "licence": c.settings.licence,
            "phantom": c.settings.phantom is not None,
            "structures": [[s.structure, s.id, s.colour, s.side, s.group] for s in c.structures],
            "recipes": run.recipes_of(name),
        }
        for name, c in run.cohorts.items()
    }
    content = {
        "report": run.configuration.report.model_dump(),
        "cohorts": cohorts,
        "studies": list(run.studies),
        "published": run.published,
        "configuration": without_places(run.configuration.model_dump(exclude_defaults=True)),
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def report_templates() -> str:
    """A hash of the page's templates, which no module imports."""
    package = Path(__file__).parents[1]
    files = [p for part in ("pages", "report") for p in sorted((package / part / "templates").iterdir())]
    return short_hash([p.read_text(encoding="utf-8") for p in files])
