"""`volforge scan`: one scan at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="One scan: import, cut, restore, make labels; PNG export.")

Optional = Path | None


@app.command("import")
def import_(
    out: Annotated[Path, typer.Option(help="Result folder; it appears whole.")],
    image: Annotated[
        Optional, typer.Option(help="NIfTI, NRRD, MetaImage; DICOM: folder, multi-frame file, .txt list.")
    ] = None,
    labels: Annotated[
        Optional, typer.Option(help="Label map; folder or .tsv list with one structure per file; RTSTRUCT or SEG.")
    ] = None,
    body_mask: Annotated[Optional, typer.Option(help="Body mask; found in the image where not given.")] = None,
    defective: Annotated[Optional, typer.Option(help="Defective skull.")] = None,
    implant: Annotated[Optional, typer.Option(help="Implant, volume or STL.")] = None,
    made_labels: Annotated[Optional, typer.Option(help="Record of labels made by `scan label`.")] = None,
    scan: Annotated[str, typer.Option(help="Name of the scan; the folder's where empty.")] = "",
    modality: Annotated[str, typer.Option(help="CT, CBCT, MR or mask.")] = "CT",
    unit: Annotated[str, typer.Option(help="hu, hu+1024 (or another number) or arbitrary; empty: by modality.")] = "",
    settings: Annotated[Optional, typer.Option(help="settings.json of the cohort.")] = None,
    record_refusal: Annotated[
        bool, typer.Option(help="Write the record of a refused scan instead of failing.")
    ] = False,
) -> None:
    r"""Import a scan: canonical image, labels, body mask, QC picture and record.

    Example: volforge scan import --image ct.nii.gz --labels organs.nii.gz \
      --out scan
    """
    from volforge.cohort.sheet import MODALITIES
    from volforge.errors import VolforgeError
    from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
    from volforge.volume.units import UNITS, is_unit

    if modality not in MODALITIES:
        raise VolforgeError(f"unknown modality '{modality}'", remedy=f"use one of {', '.join(MODALITIES)}")
    unit = unit or {"CT": "hu"}.get(modality, "arbitrary")
    if not is_unit(unit):
        raise VolforgeError(f"unknown unit '{unit}'", remedy=f"use one of {', '.join(UNITS)}")
    columns = {
        "made_labels": made_labels,
        "image": image,
        "labels": labels,
        "body_mask": body_mask,
        "defective": defective,
        "implant": implant,
    }
    files = {c: p for c, p in columns.items() if p is not None}
    request = ScanRequest(scan or out.name, modality, unit, files)
    accepted = import_scan(request, ImportSettings.load(settings), out, record_refusal=record_refusal)
    typer.echo(f"{request.scan}: {'imported' if accepted else 'refused, see record.json'}")


@app.command()
def cut(
    scan: Annotated[Path, typer.Argument(help="Folder of an imported scan.")],
    recipe: Annotated[str, typer.Option(help="The recipe as JSON, with its `kind`.")],
    out: Annotated[Path, typer.Option(help="Result folder; it appears whole.")],
    structures: Annotated[str, typer.Option(help="Ids by structure as JSON, for regions around them.")] = "{}",
    record_refusal: Annotated[
        bool, typer.Option(help="Write the record of a refused scan instead of failing.")
    ] = False,
) -> None:
    r"""Cut an imported scan into slices or a region.

    Example: volforge scan cut scan --recipe \
      '{"kind": "slices", "spacing_mm": 2}' --out slices
    """
    from pydantic import TypeAdapter, ValidationError

    from volforge.cli.arguments import as_object
    from volforge.config.models import Recipe
    from volforge.errors import VolforgeError
    from volforge.volume.cut_scan import cut_scan

    try:
        model = TypeAdapter(Recipe).validate_json(recipe)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise VolforgeError(f"--recipe: {place}: {first['msg']}", remedy="see docs/configuration.md") from error
    ids = as_object(structures, "--structures")
    if not all(type(i) is int and i > 0 for i in ids.values()):
        raise VolforgeError("not ids by structure", "--structures", 'write {"liver": 1}; 0 is background')
    accepted = cut_scan(scan, model, out, structures=ids, record_refusal=record_refusal)
    typer.echo(f"{scan.name}: {'cut' if accepted else 'refused, see record.json'}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="Volume on the canonical grid of a scan.")],
    record: Annotated[Path, typer.Option(help="record.json of the scan.")],
    out: Annotated[Path, typer.Option(help="File to write: .nii.gz, or .dcm for a DICOM segmentation.")],
    series: Annotated[
        Optional, typer.Option(help="For .dcm: the DICOM series that the scan was imported from; its patient is named.")
    ] = None,
    structures: Annotated[Optional, typer.Option(help="For .dcm: structures table of the cohort.")] = None,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--signal", help="What the file holds; asked for if slices must be resampled."),
    ] = None,
) -> None:
    r"""Write a canonical volume on the grid of the scan's source file: same shape, axes and affine.

    Example: volforge scan restore scan/body.nii.gz --record scan/record.json \
      --out body.nii.gz
    """
    from volforge.volume.restore import restore_as_segmentation, restore_file

    if out.suffix.lower() == ".dcm":
        restore_as_segmentation(file, record, out, series, structures)
    else:
        restore_file(file, record, out, labels=labels)
    typer.echo(str(out))


@app.command("label")
def label_(
    image: Annotated[Path, typer.Option(help="Image file.")],
    out: Annotated[Path, typer.Option(help="Record to write, .json; the map lies beside it as .nii.gz.")],
    command: Annotated[str, typer.Option(help="Program and arguments as a JSON list.")],
    version_command: Annotated[str, typer.Option(help="Program that prints its version, as a JSON list.")] = "[]",
    record_refusal: Annotated[bool, typer.Option(help="Record that the program failed instead of failing.")] = False,
) -> None:
    r"""Make the label map of a scan by an outside program, and record which.

    Example: volforge scan label --image ct.nii.gz --out labels.json --command \
      '["my_program", "{image}", "{labels}"]'
    """
    from volforge.cli.arguments import as_words
    from volforge.errors import VolforgeError
    from volforge.volume.label_command import run_label_command
    from volforge.whole_file import refuse_places

    words, version = as_words(command, "--command"), as_words(version_command, "--version-command")
    if not words:
        raise VolforgeError("no program is named", "--command", 'write ["program", "{image}", "{labels}"]')
    if not image.exists():
        raise VolforgeError("file not found", str(image), "check the path")
    if out.suffix != ".json":
        raise VolforgeError("the record is written as .json", f"--out {out}", "name such a file")
    refuse_places({"--out": out, "the map beside --out": out.with_suffix(".nii.gz")}, {"--image": image})
    run_label_command(image, out, words, version, record_refusal=record_refusal)
    typer.echo(str(out))


@app.command()
def export(
    recipe: Annotated[Path, typer.Argument(help="Folder of a recipe of a cohort: .../recipes/<recipe>.")],
    scans: Annotated[Path, typer.Option(help="scans.tsv of the cohort.")],
    out: Annotated[Path, typer.Option(help="Folder to write: train|val|test / images|labels.")],
) -> None:
    r"""Export slices as 8-bit PNG in the published layout.

    Example: volforge scan export results/cohorts/mine/recipes/axial --scans \
      results/cohorts/mine/scans.tsv --out png
    """
    from volforge.volume.export_png import export_png

    count = export_png(recipe, scans, out)
    typer.echo(f"{count} slices in {out}")


@app.command()
def fill(
    mask: Annotated[Path, typer.Argument(help="Binary volume.")],
    out: Annotated[Path, typer.Option(help="NIfTI file to write, on the mask's grid.")],
    radius: Annotated[int, typer.Option(help="Of the neighbourhood, in voxels.")] = 1,
    majority: Annotated[int, typer.Option(help="Votes over half of the neighbours that make a voxel.")] = 1,
    sweeps: Annotated[int, typer.Option(help="Most sweeps of one call.")] = 10,
    calls: Annotated[int, typer.Option(help="Most calls.")] = 31,
) -> None:
    """Fill the holes of a mask by vote; as published: a voxel joins from 14 of its 27 neighbours on.

    Example: volforge scan fill mask.nii.gz --out filled.nii.gz --radius 1
    """
    from volforge.volume.voting import Voting, fill_file

    before, after = fill_file(mask, out, Voting((radius, radius, radius), majority, sweeps, calls))
    typer.echo(f"{after - before} voxels joined the {before} of {mask}: {out}")
