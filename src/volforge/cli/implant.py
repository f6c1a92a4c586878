"""`volforge implant`: defects of complete skulls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Cranial implants: cohorts of defects from complete skulls.")


@app.callback()
def _noun() -> None:
    """A noun keeps its verb, even while it has but one."""


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
    bone_hu: Annotated[float, typer.Option(help="Lowest value of bone, for CT.")] = 150.0,
    root: Annotated[Path | None, typer.Option(help="Folder that the sheet's paths start from.")] = None,
) -> None:
    """Take defects out of the complete skulls of a sheet: volumes, records, a sheet with subjects and folds kept."""
    from volforge import places
    from volforge.tasks import registry

    entries = registry.task("implant").by_hand
    given = {"kinds": kind, "places": place, "sizes": size}
    words = {key: tuple(values) for key, values in given.items() if values}
    plan = places.at(entries["plan"])(per_skull, seed=seed, bone_hu=bone_hu, **words)
    written = places.at(entries["defects"])(sheet, out, plan, root, typer.echo)
    typer.echo(str(written))
