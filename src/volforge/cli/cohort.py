"""`volforge cohort`: sheets, phantoms, and the table of a cohort's scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Sample sheets, phantom cohorts, and the table of a cohort's scans.")


@app.command()
def check(
    sheet: Annotated[Path, typer.Argument(help="Sample sheet, TSV or CSV.")],
    root: Annotated[Path | None, typer.Option(help="Folder that relative paths start from.")] = None,
) -> None:
    """Check one sample sheet (and its structures) without a configuration."""
    from volforge.cohort.sheet import read_sheet
    from volforge.cohort.structures import read_structures
    from volforge.errors import ProblemsError, errors_of

    table = read_sheet(sheet, root=root)
    problems = list(table.problems)
    structures = sheet.with_name(sheet.name.rsplit(".", 1)[0] + ".structures.tsv")
    if structures.exists():
        problems += read_structures(structures)[1]
    if errors_of(problems):
        raise ProblemsError(problems)
    for problem in problems:
        typer.echo(str(problem))
    subjects = len({r.subject for r in table.rows})
    typer.echo(f"{sheet}: {len(table.rows)} scans of {subjects} subjects, no error")


@app.command()
def phantoms(
    sheet: Annotated[Path, typer.Option(help="Sheet of the cohort; one scan is drawn per row.")],
    kind: Annotated[str, typer.Option(help="tmj, skull or body.")],
    out: Annotated[Path, typer.Option(help="Result folder; it appears whole.")],
    seed: Annotated[int, typer.Option(help="Seed of subjects, noise and texture.")] = 1,
    spacing_mm: Annotated[float | None, typer.Option(help="Isotropic voxel size.")] = None,
) -> None:
    """Draw the scans of a phantom cohort."""
    from volforge.cohort.phantoms.make import make_cohort
    from volforge.cohort.sheet import read_sheet
    from volforge.errors import ProblemsError, errors_of

    table = read_sheet(sheet, check_files=False)
    if errors_of(table.problems):
        raise ProblemsError(table.problems)
    rows = [
        {"subject": r.subject, "scan": r.scan, "modality": r.modality, "case": r.free.get("case", "")}
        for r in table.rows
    ]
    make_cohort(kind, seed, rows, out, spacing_mm)
    typer.echo(f"{len(rows)} scans in {out}")


@app.command()
def collect(
    sheet: Annotated[Path, typer.Option(help="Sheet of the cohort.")],
    records: Annotated[Path, typer.Option(help="Folder with one folder per imported scan.")],
    out: Annotated[Path, typer.Option(help="scans.tsv to write.")],
    settings: Annotated[str, typer.Option(help="Seed, folds, shares of splits, on_bad_scan, as JSON.")],
) -> None:
    """Make the table of a cohort's scans from their records; refused scans end it, or are listed."""
    from volforge.cohort.collect import collect_scans
    from volforge.cohort.sheet import read_sheet

    table = read_sheet(sheet, check_files=False)
    accepted, refused = collect_scans(table.rows, records, out, json.loads(settings))
    typer.echo(f"{accepted} scans accepted, {refused} excluded: {out}")


@app.command()
def index(
    recipe: Annotated[Path, typer.Option(help="Folder of a recipe, with one folder per scan.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    out: Annotated[Path, typer.Option(help="index.tsv to write.")],
    on_bad_scan: Annotated[str, typer.Option(help="stop or exclude.")] = "stop",
) -> None:
    """Join the slice tables of a recipe into one, with the split and fold of each scan."""
    from volforge.cohort.collect import collect_index

    slices, refused = collect_index(recipe, scans, out, on_bad_scan)
    typer.echo(f"{slices} slices, {refused} scans without: {out}")
