"""`volforge cohort`: sheets, phantoms, and the table of a cohort's scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Sample sheets, phantom cohorts, and the table of a cohort's scans.")


@app.command()
def check(
    sheet: Annotated[Path, typer.Argument(help="Sample sheet, TSV or CSV.")],
    root: Annotated[Path | None, typer.Option(help="Folder that relative paths start from.")] = None,
) -> None:
    """Check one sample sheet (and its structures) without a configuration.

    Example: volforge cohort check my.tsv --root /data
    """
    from volforge.cohort.sheet import read_sheet
    from volforge.errors import ProblemsError, errors_of
    from volforge.tables.structures import read_structures

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
def discover(
    folder: Annotated[Path, typer.Argument(help="Folder that a data set was unpacked into.")],
    layout: Annotated[str, typer.Option(help="Name of its layout; `volforge cohort layouts` lists them.")],
    out: Annotated[Path, typer.Option(help="Sheet to write, .tsv; its structures and lists lie beside it.")],
    root: Annotated[Path | None, typer.Option(help="Write paths from this folder (the cohort's `root`).")] = None,
    modality: Annotated[str, typer.Option(help="CT, CBCT, MR or mask, where the layout does not tell.")] = "",
    label_source: Annotated[str, typer.Option(help="Who made the labels, where the layout does not tell.")] = "",
    unlabelled: Annotated[bool, typer.Option(help="Also list scans whose labels were not published.")] = False,
    pattern: Annotated[str, typer.Option(help="Layout pattern: '{subject}/{scan}.nii.gz'; / at the end: folder.")] = "",
    labels: Annotated[str, typer.Option(help="Layout pattern: labels, with the fields of --pattern.")] = "",
    body_mask: Annotated[str, typer.Option(help="Layout pattern: body masks.")] = "",
    defective: Annotated[str, typer.Option(help="Layout pattern: defective skulls.")] = "",
    implant: Annotated[str, typer.Option(help="Layout pattern: implants.")] = "",
    salt: Annotated[str, typer.Option(help="Layout dicom: mixed into the pseudonyms of patients.")] = "",
    pseudonymise: Annotated[
        Path | None, typer.Option(help="Give subjects and scans pseudonyms by the key in this file; made if absent.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace a sheet that exists.")] = False,
) -> None:
    r"""Write the sample sheet of a folder, with its structures, from the layout of a public data set.

    Example: volforge cohort discover ~/data/SkullFix --layout skullfix --out \
      skullfix.tsv
    """
    from volforge.cohort.layouts.discovery import Options
    from volforge.cohort.layouts.write import discover as write_sheet
    from volforge.cohort.pseudonyms import keep_key, open_key
    from volforge.cohort.sheet import LABEL_SOURCES, MODALITIES
    from volforge.errors import VolforgeError

    for value, words, option in ((modality, MODALITIES, "--modality"), (label_source, LABEL_SOURCES, "--label-source")):
        if value and value not in words:
            raise VolforgeError(f"unknown value '{value}'", option, f"one of {', '.join(words)}")
    if out.suffix.lower() != ".tsv" or out.is_dir():
        raise VolforgeError("sheets are written as .tsv files", str(out), "name a file such as mine.tsv")
    if out.exists() and not force:
        raise VolforgeError("the sheet exists", str(out), "name another, or pass --force")
    columns = {"image": pattern, "labels": labels, "body_mask": body_mask, "defective": defective, "implant": implant}
    patterns = {c: p for c, p in columns.items() if p}
    options = Options(modality, label_source, unlabelled, patterns, salt)
    names = open_key(pseudonymise, [out.absolute().parent]) if pseudonymise else None
    written = write_sheet(folder, layout, out, options, root, force=force, names=names)
    if pseudonymise and names:
        keep_key(pseudonymise, names)
    typer.echo(f"{out}: {written.scans} scans of {written.subjects} subjects, {written.labelled} with labels")
    if written.structures:
        typer.echo(f"{written.structures}: structures")
    for note in written.notes:
        typer.echo(f"  {note}")
    for what, why in written.left_out:
        typer.echo(f"left out: {what}: {why}")
    typer.echo(f"for your configuration (add `recipes`, see config/README.md):\n{written.entry}")


@app.command()
def pseudonymise(
    sheet: Annotated[Path, typer.Argument(help="Sample sheet, TSV or CSV.")],
    key: Annotated[Path, typer.Argument(help="Key file, aside from sheet and results; made if absent.")],
    out: Annotated[Path, typer.Option(help="Sheet to write, .tsv.")],
    keep: Annotated[list[str] | None, typer.Option(help="Free column to keep; all others are left out.")] = None,
) -> None:
    """Write a sheet whose subjects and scans have pseudonyms; the same key gives the same ones.

    Example: volforge cohort pseudonymise patients.tsv patients.key --out scans.tsv
    """
    from volforge.cohort.pseudonyms import pseudonymise_sheet

    scans, subjects = pseudonymise_sheet(sheet, key, out, keep or ())
    typer.echo(f"{out}: {scans} scans of {subjects} subjects; keep {key} to yourself")


@app.command()
def duplicates(
    sources: Annotated[list[Path], typer.Argument(help="Sample sheets, or configurations (.yaml) with their cohorts.")],
    out: Annotated[Path | None, typer.Option(help="Write the pairs as a table, .tsv.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that the paths of the sheets start from.")] = None,
    processes: Annotated[int, typer.Option(min=0, help="Scans read side by side; 0: one per core.")] = 0,
) -> None:
    r"""Find the same head under different subjects, in one cohort or several; exits with 1 if there is one.

    Example: volforge cohort duplicates skullfix.tsv skullbreak.tsv --out \
      pairs.tsv
    """
    import os
    from concurrent.futures import ProcessPoolExecutor

    from volforge.cohort.duplicates.find import find_duplicates, shape_of
    from volforge.cohort.duplicates.report import entries_of, pairs_text
    from volforge.cohort.sheet import SheetRow
    from volforge.whole_file import refuse_places, write_whole

    def say(text: str) -> None:
        typer.echo(text, err=True)

    def without_phantoms(configuration: Path) -> dict[str, list[SheetRow]]:
        from volforge.workflow.run import load_run

        cohorts = load_run([configuration]).cohorts
        return {n: list(c.rows.values()) for n, c in cohorts.items() if c.settings.phantom is None}

    refuse_places({"--out": out}, {str(s): s for s in sources})
    entries = entries_of(sources, root, without_phantoms)
    say(f"{len(entries)} scans are read")
    with ProcessPoolExecutor(processes or len(os.sched_getaffinity(0))) as pool:
        shapes = list(pool.map(shape_of, entries))
    for entry, shape in zip(entries, shapes, strict=True):
        if shape.refused:
            how = "compared by values only" if shape.values else "not compared"
            say(f"{how}: {entry.name}: {shape.refused}")
    pairs = find_duplicates(entries, shapes, say)
    for p in pairs:
        distance = "" if p.kind == "values" else f" ({p.kind}: {p.residual_mm:.2f} mm apart, {p.overlap:.0%} in common)"
        typer.echo(f"{p.verdict}: {p.a.name} and {p.b.name}{distance}")
    compared = sum(bool(s.maps) for s in shapes)
    typer.echo(f"{len(pairs)} pairs among {len(entries)} scans, {compared} of them compared by shape")
    if out is not None:
        write_whole(out, pairs_text(pairs))
    if pairs:
        raise typer.Exit(1)


@app.command()
def layouts() -> None:
    """List the layouts that `discover` knows: what each looks for, and the terms of the data set.

    Example: volforge cohort layouts
    """
    from volforge.cohort.layouts.registry import LAYOUTS

    for layout in LAYOUTS.values():
        typer.echo(f"{layout.name}: {layout.title}")
        typer.echo(f"    looks for {', '.join(layout.expects)}")
        typer.echo(f"    licence: {layout.licence}")


@app.command()
def phantoms(
    sheet: Annotated[Path, typer.Option(help="Sheet of the cohort; one scan is drawn per row.")],
    kind: Annotated[str, typer.Option(help="tmj, skull or body.")],
    out: Annotated[Path, typer.Option(help="Result folder; it appears whole.")],
    seed: Annotated[int, typer.Option(help="Seed of subjects, noise and texture.")] = 1,
    spacing_mm: Annotated[float | None, typer.Option(help="Voxel size, mm; the phantom's own if not given.")] = None,
) -> None:
    r"""Draw the scans of a phantom cohort.

    Example: volforge cohort phantoms --sheet skull.tsv --kind skull --out \
      phantoms --spacing-mm 2
    """
    from pydantic import ValidationError

    from volforge.cohort.phantoms.make import make_cohort
    from volforge.cohort.sheet import read_sheet
    from volforge.config.models import Phantom
    from volforge.errors import ProblemsError, VolforgeError, errors_of

    try:
        Phantom.model_validate({"kind": kind, "seed": seed, "spacing_mm": spacing_mm})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise VolforgeError(f"{first['msg']} ({first['input']})", option, "see docs/configuration.md") from error
    table = read_sheet(sheet, check_files=False)
    if errors_of(table.problems):
        raise ProblemsError(table.problems)
    rows = [
        {**{k: getattr(r, k) for k in ("subject", "scan", "modality", "contrast")}, "case": r.free.get("case", "")}
        for r in table.rows
    ]
    make_cohort(kind, seed, rows, out, spacing_mm)
    typer.echo(f"{len(rows)} scans in {out}")


@app.command()
def collect(
    sheet: Annotated[Path, typer.Option(help="Sheet of the cohort.")],
    records: Annotated[Path, typer.Option(help="Folder with one folder per imported scan.")],
    out: Annotated[Path, typer.Option(help="scans.tsv to write.")],
    settings: Annotated[
        str, typer.Option(help="JSON with seed, folds, splits (shares), on_bad_scan and makes_labels.")
    ],
) -> None:
    r"""Make the table of a cohort's scans from their records; refused scans end it, or are listed.

    Example: volforge cohort collect --sheet my.tsv --records \
      results/cohorts/mine/scans --out scans.tsv --settings \
      "$(cat collect.json)"
    """
    from volforge.cli.arguments import as_object
    from volforge.cohort.collect import collect_scans
    from volforge.cohort.sheet import read_sheet
    from volforge.errors import ProblemsError, VolforgeError

    how = as_object(settings, "--settings", "seed", "folds", "splits", "on_bad_scan", "makes_labels")
    kinds: dict[str, type | tuple[type, ...]] = {
        "seed": int, "folds": int, "splits": dict, "on_bad_scan": str, "makes_labels": bool,
    }  # fmt: skip
    odd = [key for key, kind in kinds.items() if not isinstance(how[key], kind)]
    if odd:
        text = f"{', '.join(f'{key} is {how[key]!r}' for key in odd)}"
        raise VolforgeError(text, "--settings", "write numbers for seed and folds, shares for splits, true or false")
    table = read_sheet(sheet, check_files=False)
    if not table.rows:
        raise ProblemsError(table.problems)
    accepted, refused = collect_scans(table.rows, records, out, how)
    typer.echo(f"{accepted} scans accepted, {refused} excluded: {out}")


@app.command()
def index(
    recipe: Annotated[Path, typer.Option(help="Folder of a recipe, with one folder per scan.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    out: Annotated[Path, typer.Option(help="index.tsv to write.")],
    on_bad_scan: Annotated[str, typer.Option(help="stop or exclude.")] = "stop",
) -> None:
    r"""Join the slice tables of a recipe into one, with the split and fold of each scan.

    Example: volforge cohort index --recipe results/cohorts/mine/recipes/axial \
      --scans results/cohorts/mine/scans.tsv --out index.tsv
    """
    from volforge.cohort.collect import collect_index

    slices, refused = collect_index(recipe, scans, out, on_bad_scan)
    typer.echo(f"{slices} slices, {refused} scans without: {out}")


@app.command()
def slices(
    recipe: Annotated[Path, typer.Argument(help="Folder of a recipe of kind slices: .../recipes/<recipe>.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    out: Annotated[Path, typer.Option(help="Folder to write: trainA, trainB, maskA, testA, testB.")],
    source: Annotated[str, typer.Option(help="Modality of A, or modality:contrast.")] = "MR",
    target: Annotated[str, typer.Option(help="Modality of B, or modality:contrast.")] = "CT",
    form: Annotated[str, typer.Option(help="float (.npz in HU or the MR's own scale), png16 or png8.")] = "float",
    legacy_stretch: Annotated[
        bool, typer.Option("--legacy-stretch", help="Stretch every slice to its own range, as published; png8 only.")
    ] = False,
    fold: Annotated[int | None, typer.Option(help="Fold that is tested; the split `test` where not given.")] = None,
) -> None:
    r"""Export slices of two modalities in the folders of published translation code.

    Example: volforge cohort slices results/cohorts/mine/recipes/axial --scans \
      results/cohorts/mine/scans.tsv --out slices --form png16
    """
    from volforge.volume.export_domains import DomainExport, export_domains

    def choice(text: str) -> dict[str, str | None]:
        modality, _, contrast = text.partition(":")
        return {"modality": modality, "contrast": contrast or None}

    wanted = DomainExport(choice(source), choice(target), form, legacy_stretch, fold)
    counts = export_domains(recipe, scans, out, wanted)
    typer.echo(f"{', '.join(f'{name} {count}' for name, count in counts.items())} slices in {out}")


@app.command()
def stack(
    folder: Annotated[Path, typer.Argument(help="Folder that holds trainA, trainB, maskA, testA, testB.")],
    out: Annotated[Path, typer.Option(help="Folder to write: sheet.tsv and volumes.")],
    spacing_mm: Annotated[
        str, typer.Option(help="Row, column and slice distance, mm: '1.5,1.5,4'; not read where export.json is.")
    ] = "1,1,1",
    axis: Annotated[str, typer.Option(help="axial, coronal or sagittal.")] = "axial",
    ct_window: Annotated[str, typer.Option(help="HU of the darkest and the brightest grey.")] = "-1000,1400",
    paired: Annotated[bool, typer.Option("--paired", help="A patient in A and in B was scanned in one frame.")] = False,
    lost_units: Annotated[
        bool, typer.Option("--lost-units", help="Take CT whose slices were stretched one by one, without a unit.")
    ] = False,
) -> None:
    """Stack slices in the folders of published translation code to volumes with a sheet.

    Example: volforge cohort stack slices --out volumes --spacing-mm 1.5,1.5,4
    """
    from volforge.cli.arguments import as_numbers
    from volforge.cohort.domain_folders import DomainImport, import_domains
    from volforge.errors import VolforgeError

    steps, window = as_numbers(spacing_mm, "--spacing-mm", 3), as_numbers(ct_window, "--ct-window", 2)
    if min(steps) <= 0 or window[0] >= window[1]:
        text = "lengths must be positive, and a window rises"
        raise VolforgeError(text, f"{spacing_mm}, {ct_window}", "write them as in --help")
    how = DomainImport((steps[0], steps[1], steps[2]), axis, (window[0], window[1]), paired, lost_units)
    scans, subjects = import_domains(folder, out, how)
    typer.echo(f"{scans} scans of {subjects} subjects in {out}; the sheet is {out / 'sheet.tsv'}")
