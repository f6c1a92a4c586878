"""`volforge measure`: measures of any two files or folders, by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from volforge.metrics.measure import Measure

app = typer.Typer(no_args_is_help=True, help="Measures of any two files or folders, by hand.")

Prediction = Annotated[Path, typer.Argument(help="A volume, or a folder of volumes.")]
Reference = Annotated[Path, typer.Argument(help="The reference, or a folder with files of the same names.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Table to write: .tsv or .json.")]


@app.command()
def overlap(
    prediction: Prediction,
    reference: Reference,
    structures: Annotated[
        str | None, typer.Option(help="Table with structure and id, or name=id,name=id; else every id.")
    ] = None,
    tolerance: Annotated[
        list[float] | None, typer.Option(help="Tolerance of the surface Dice, mm; repeatable.")
    ] = None,
    surface: Annotated[Literal["voxels", "elements"], typer.Option(help="Notion of a surface.")] = "voxels",
    boundary: Annotated[Path | None, typer.Option(help="Mask (defective skull) for the boundary Dice.")] = None,
    boundary_mm: Annotated[float, typer.Option(help="Width of the boundary about the bone, mm.")] = 10.0,
    distances: Annotated[bool, typer.Option(help="Measures of surfaces too.")] = True,
    out: Out = None,
) -> None:
    r"""Dice, IoU, HD, HD95, ASSD, surface Dice ... of label maps or masks, in mm from the affine.

    Example: volforge measure overlap prediction.nii.gz reference.nii.gz \
      --tolerance 1 --out measures.tsv
    """
    from volforge.by_hand import measure as by_hand

    table = Path(structures) if structures is not None and "=" not in structures else None
    _check_out(
        out, {"the prediction": prediction, "the reference": reference, "--structures": table, "--boundary": boundary}
    )
    metrics = by_hand.segmentation_metrics(tolerance or [1.0, 2.0], surface, boundary_mm, distances=distances)
    every = by_hand.pairs(prediction, reference)
    ids = by_hand.present_structures(every) if structures is None else by_hand.read_structures_option(structures)
    found = [(p.name, m) for p in every for m in by_hand.overlap(p, ids, metrics, boundary)]
    _show(found, out)


@app.command()
def image(
    prediction: Prediction,
    reference: Reference,
    mask: Annotated[Path | None, typer.Option(help="Mask or folder of masks; else the reference's body.")] = None,
    low: Annotated[float | None, typer.Option(help="Least value of the range; else -1024 HU.")] = None,
    high: Annotated[float | None, typer.Option(help="Greatest value of the range; else 3000 HU.")] = None,
    hu: Annotated[bool, typer.Option(help="Values are HU; --no-hu for other images, with --low and --high.")] = True,
    structural: Annotated[bool, typer.Option(help="SSIM and MS-SSIM too.")] = True,
    out: Out = None,
) -> None:
    """MAE, RMSE, PSNR, SSIM, MS-SSIM, NCC and MAE by tissue of images, inside a mask.

    Example: volforge measure image made real --mask bodies --out measures.tsv
    """
    from volforge.by_hand import measure as by_hand
    from volforge.errors import VolforgeError
    from volforge.metrics.image import ImageMetrics

    _check_out(out, {"the prediction": prediction, "the reference": reference, "--mask": mask})
    if not hu and (low is None or high is None):
        text = "images that are not in HU have no range of their own"
        raise VolforgeError(text, "--low, --high", "give both: PSNR and SSIM rest on them, and values are cut to them")
    low, high = -1024.0 if low is None else low, 3000.0 if high is None else high
    by_hand.check_range(low, high)
    metrics = ImageMetrics(low, high, hu, structural)
    found = [(p.name, m) for p in by_hand.pairs(prediction, reference) for m in by_hand.image(p, mask, metrics)]
    _show(found, out)


@app.command()
def distribution(
    synthetic: Annotated[Path, typer.Argument(help="Folder of synthetic pictures or volumes.")],
    real: Annotated[Path, typer.Argument(help="Folder of real ones.")],
    network: Annotated[str, typer.Option(help="`inception`, or weights.safetensors of a slice encoder.")] = "inception",
    low: Annotated[float, typer.Option(help="Value of volumes that becomes black, HU in a CT.")] = -1000.0,
    high: Annotated[float, typer.Option(help="Value of volumes that becomes white, HU in a CT.")] = 1000.0,
    seed: Annotated[int, typer.Option(min=0, help="Of subsets and halves.")] = 0,
    out: Out = None,
) -> None:
    """FID, KID and MMD (or Fréchet distance of a named network) of two sets of slices.

    Example: volforge measure distribution made real --low -1000 --high 1000
    """
    from volforge.by_hand.distribution import distribution as measure
    from volforge.metrics.distribution import FEW_IMAGES

    _check_out(out, {})
    found, about = measure(synthetic, real, network, (low, high), seed)
    _show([(synthetic.name, m) for m in found], out)
    least = min((m.n for m in found), default=0)
    typer.echo(f"features: {about}", err=True)
    if least < FEW_IMAGES:
        typer.echo(f"{least} images: under {FEW_IMAGES} these distances are biased upwards", err=True)


def _check_out(out: Path | None, inputs: Mapping[str, Path | None]) -> None:
    from volforge.errors import VolforgeError
    from volforge.whole_file import refuse_places

    if out is not None and out.suffix not in (".tsv", ".json"):
        raise VolforgeError("unknown ending", str(out), "use .tsv or .json")
    refuse_places({"--out": out}, inputs)


def _show(found: list[tuple[str, Measure]], out: Path | None) -> None:
    """A table on the terminal, one line per case and measure, or a summary of many cases; all of them in the file."""
    from rich.console import Console
    from rich.table import Table

    from volforge.metrics.statistics import summarise
    from volforge.report.formats import shown

    cases = list(dict.fromkeys(c for c, _ in found))
    one = len(cases) == 1
    table = Table(box=None, header_style="bold", title=None if one else f"{len(cases)} cases, mean ± SD")
    for column in ("structure", "measure", "value", "unit", "status" if one else "n, failures"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for key in dict.fromkeys((m.structure, m.measure, m.unit) for _, m in found):
        own = [m for _, m in found if (m.structure, m.measure, m.unit) == key]
        unit = "" if key[2] == "1" else key[2]
        if one:
            table.add_row(key[0], key[1], shown(own[0].value), unit, own[0].status)
        else:
            s = summarise([m.value for m in own])
            spread = "" if math.isnan(s.sd) else f" ± {shown(s.sd)}"
            table.add_row(key[0], key[1], shown(s.mean) + spread, unit, f"{s.n}, {sum(m.failed for m in own)}")
    Console().print(table)
    if out is not None:
        _write(found, out)


def _write(found: list[tuple[str, Measure]], out: Path) -> None:
    from volforge.cohort.collect import as_tsv
    from volforge.metrics.measure import number
    from volforge.volume.folders import write_json
    from volforge.whole_file import write_whole

    columns = ("case", "structure", "measure", "value", "unit", "status", "n")
    if out.suffix == ".tsv":
        rows = [(c, m.structure, m.measure, number(m.value), m.unit, m.status, m.n) for c, m in found]
        write_whole(out, as_tsv(columns, [dict(zip(columns, r, strict=True)) for r in rows]))
        return
    plain = [
        (c, m.structure, m.measure, m.value if math.isfinite(m.value) else None, m.unit, m.status, m.n)
        for c, m in found
    ]
    write_json(out, [dict(zip(columns, r, strict=True)) for r in plain])
