"""`volforge implant`: defects of complete skulls, models, one skull by hand; what trained models see and do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Cranial implants: defects, models, one skull by hand.")


Scans = Annotated[Path, typer.Option(help="scans.tsv of a cohort with defective skulls and their implants.")]
Names = Annotated[list[str] | None, typer.Option(help="A scan; repeatable; else the first.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Out = Annotated[Path, typer.Argument(help="Folder to write.")]


def _entry(name: str) -> Callable[..., Any]:
    from volforge import places
    from volforge.tasks import registry

    found: Callable[..., Any] = places.at(registry.task("implant").by_hand[name])
    return found


@app.command()
def defects(
    sheet: Annotated[Path, typer.Argument(help="Sample sheet with complete skulls: masks, or CT whose bone is taken.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; what lies there and fits is kept.")],
    per_skull: Annotated[int, typer.Option(min=1, max=999, help="Defects of every skull.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="burr_box, cuboid, sphere or irregular; repeatable; else all.")
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            help="frontal, parietal, temporal, vertex, occipital, bilateral or any; repeatable; else any.",
        ),
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="small, medium, large or any; repeatable; else any.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 1,
    bone_hu: Annotated[float, typer.Option(help="Lowest value of bone in a CT, HU.")] = 150.0,
    root: Annotated[Path | None, typer.Option(help="Folder that the sheet's paths start from.")] = None,
) -> None:
    r"""Take defects out of the complete skulls of a sheet: volumes, records, a sheet with subjects and folds kept.

    Example: volforge implant defects skulls.tsv defects --per-skull 5 --kind \
      sphere --size large
    """
    given = {"kinds": kind, "places": place, "sizes": size}
    words = {key: tuple(values) for key, values in given.items() if values}
    plan = _entry("plan")(per_skull, seed=seed, bone_hu=bone_hu, **words)
    written = _entry("defects")(sheet, out, plan, root, typer.echo)
    typer.echo(str(written))


@app.command()
def features(
    models: Annotated[list[Path], typer.Argument(help="Folders of trained models; seeds of one, for its stability.")],
    out: Out,
    scans: Scans,
    scan: Names = None,
    axis: Annotated[str, typer.Option(help="Axis of the projection: x, y or z.")] = "z",
    how: Annotated[str, typer.Option(help="sum, mean or max along it.")] = "sum",
    layer: Annotated[
        list[str] | None, typer.Option(help="A layer, as torch names it; repeatable; else all stages.")
    ] = None,
    device: Device = "cpu",
) -> None:
    r"""Feature maps: sheets of channels, their scores (shape or hole) and stability, and a page of it all.

    Example: volforge implant features model features --scans \
      results/cohorts/skull/scans.tsv --axis z
    """
    _entry("features")(models, scans, out, scan or (), axis, how, layer or (), device, typer.echo)


@app.command()
def boundary(
    out: Out,
    scans: Scans,
    scan: Names = None,
    units: Annotated[str, typer.Option(help="mm, or voxels: the published map.")] = "mm",
) -> None:
    r"""The signed distance map of true implants, as the boundary loss sees it: three planes, and surfaces.

    Example: volforge implant boundary boundary --scans \
      results/cohorts/skull/scans.tsv --units mm
    """
    _entry("boundary")(scans, out, scan or (), units, typer.echo)


@app.command()
def patches(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model that sees patches.")],
    out: Out,
    scans: Scans,
    scan: Names = None,
    webp: Annotated[bool, typer.Option("--webp", help="Lossless WebP instead of GIF.")] = False,
    device: Device = "cpu",
) -> None:
    r"""The patches of a model at work, as a picture that moves; and how often they keep their rule.

    Example: volforge implant patches model patches --scans \
      results/cohorts/skull/scans.tsv
    """
    _entry("patches")(model, scans, out, scan or (), ".webp" if webp else ".gif", device, typer.echo)


@app.command()
def keras(
    file: Annotated[Path, typer.Argument(help="A published .h5 file; it needs the package h5py.")],
    out: Out,
    variant: Annotated[str, typer.Option(help="ae_mse, ae_boundary, ae_dice_boundary, gan or ae_patch.")],
) -> None:
    """Published Keras weights as the folder of a trained model.

    Example: volforge implant keras ae_mse.h5 model --variant ae_mse
    """
    _entry("keras")(file, variant, out, typer.echo)


@app.command()
def trial(
    data: Annotated[
        Path, typer.Argument(help="Folder of triples: complete_skull, defective_skull, implant / NNN.nrrd.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write sheets and defects into; what lies there is kept.")],
    tested: Annotated[list[str], typer.Option(help="Triples that are tested: 032, or 032-039; repeatable.")],
    seed: Annotated[int, typer.Option(help="Seed of the defects elsewhere.")] = 1,
) -> None:
    """Sheets of a trial: skulls to learn from, skulls to test with their own defects, and with defects elsewhere.

    Example: volforge implant trial ~/data/SkullFix trial --tested 032-039
    """
    for sheet in _entry("trial")(data, out, tested, seed, typer.echo):
        typer.echo(str(sheet))


@app.command()
def fit(
    sheet: Annotated[Path, typer.Argument(help="Sample sheet with complete skulls: masks, or CT whose bone is taken.")],
    out: Annotated[Path, typer.Argument(help="Folder of the model; it appears whole.")],
    licence: Annotated[
        str,
        typer.Option(help="Terms of the model; else the line `# licence: ...` of the sheet, and one must be there."),
    ] = "",
    skulls: Annotated[int | None, typer.Option(min=3, help="Learn from so many subjects; else all.")] = None,
    settings: Annotated[str, typer.Option(help="Settings of the model as JSON; see docs/implants.md.")] = "{}",
    seed: Annotated[int, typer.Option(help="Seed of the choice of subjects and of trial defects.")] = 1,
    bone_hu: Annotated[float, typer.Option(help="Lowest value of bone in a CT, HU.")] = 150.0,
    root: Annotated[Path | None, typer.Option(help="Folder that the sheet's paths start from.")] = None,
) -> None:
    r"""Fit a model to the complete skulls of a sheet: what `implant predict` closes holes by.

    Example: volforge implant fit skulls.tsv model --licence "CC BY 4.0" \
      --root ~/data/skulls
    """
    from volforge.cli.arguments import as_object

    content = as_object(settings, "--settings")
    used = _entry("fit")(sheet, out, licence, content, skulls, seed=seed, bone_hu=bone_hu, root=root, say=typer.echo)
    typer.echo(f"model of {used} skulls in {out}")


@app.command()
def predict(
    scan: Annotated[Path, typer.Argument(help="Skull with a hole: CT or mask; NIfTI, NRRD, MetaImage, DICOM folder.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it appears whole.")],
    model: Annotated[Path, typer.Option(help="Folder of a fitted model of skulls.")],
    modality: Annotated[str, typer.Option(help="CT, CBCT or mask; empty: a scan of two values is a mask.")] = "",
    unit: Annotated[str, typer.Option(help="Of a CT: hu, hu+1024 (or another number).")] = "hu",
    bone_hu: Annotated[float, typer.Option(help="Lowest value of bone in a CT, HU.")] = 150.0,
    gap_mm: Annotated[float, typer.Option(help="Clearance between implant and bone, mm.")] = 0.0,
    thin: Annotated[
        float | None, typer.Option(help="Share of the volume that thinning from inside leaves, 0 to 1.")
    ] = None,
    drainage: Annotated[
        str, typer.Option(help="Holes: diameter,spacing,margin in mm, such as 2,12,8; empty: none.")
    ] = "",
    min_cm3: Annotated[float, typer.Option(help="Implants smaller than so many cm3 are dropped.")] = 0.2,
    least_mm2: Annotated[
        float | None,
        typer.Option(help="Area of the smallest hole that is closed, mm2; else 130, and 15 % of the largest."),
    ] = None,
    faces: Annotated[
        int, typer.Option(help="Most faces of an implant's mesh; the skull gets twice as many.")
    ] = 100_000,
    space: Annotated[str, typer.Option(help="Axes of the meshes: RAS or LPS.")] = "RAS",
    formats: Annotated[list[str] | None, typer.Option("--format", help="nifti, nrrd; NIfTI is always written.")] = None,
) -> None:
    r"""Close the hole of one skull: completed skull, implant, meshes for printing, numbers, a page.

    Example: volforge implant predict skull.nii.gz case1 --model model \
      --gap-mm 0.5
    """
    options = _entry("options")(
        modality=modality,
        unit=unit,
        bone_hu=bone_hu,
        gap_mm=gap_mm,
        thin=thin,
        drainage=_entry("drainage")(drainage),
        min_cm3=min_cm3,
        faces=faces,
        space=space,
        formats=tuple(formats or ()),
        least_mm2=least_mm2,
    )
    _entry("case")(scan, model, out, options, lambda line: typer.echo(line, err=True))
    typer.echo(str(out / "qc.html"))
