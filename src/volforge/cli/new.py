"""`volforge new`: the folder of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist, or be empty.")],
    data: Annotated[Path | None, typer.Argument(help="Folder that a data set was unpacked into.")] = None,
    layout: Annotated[
        str, typer.Option(help="How the data lie there; `volforge cohort layouts` lists the names.")
    ] = "",
    modality: Annotated[str, typer.Option(help="CT, CBCT, MR or mask, where the layout does not tell.")] = "",
    label_source: Annotated[str, typer.Option(help="Who made the labels, where the layout does not tell.")] = "",
    pattern: Annotated[str, typer.Option(help="Layout pattern: '{subject}/{scan}.nii.gz'; / at the end: folder.")] = "",
    labels: Annotated[str, typer.Option(help="Layout pattern: labels, with the fields of --pattern.")] = "",
    defective: Annotated[str, typer.Option(help="Layout pattern: defective skulls.")] = "",
    implant: Annotated[str, typer.Option(help="Layout pattern: implants.")] = "",
) -> None:
    """Make a project: a sample sheet, a configuration of the studies that the data allow, and the line that runs it.

    Without data it is a template to fill.

    Example: volforge new hippocampus --layout msd /data/Task04_Hippocampus
    """
    from volforge.cohort.layouts.discovery import Options
    from volforge.cohort.sheet import LABEL_SOURCES, MODALITIES
    from volforge.errors import VolforgeError
    from volforge.workflow.new_project import new_project, new_template, next_lines

    for value, words, option in ((modality, MODALITIES, "--modality"), (label_source, LABEL_SOURCES, "--label-source")):
        if value and value not in words:
            raise VolforgeError(f"unknown value '{value}'", option, f"one of {', '.join(words)}")
    if bool(layout) != (data is not None):
        lacking = "a folder of data needs --layout" if data is not None else "--layout needs the folder of the data"
        remedy = "volforge new FOLDER --layout NAME DATA; `volforge cohort layouts` lists the names"
        raise VolforgeError(lacking, str(data or layout), remedy)
    columns = {"image": pattern, "labels": labels, "defective": defective, "implant": implant}
    options = Options(modality, label_source, patterns={c: p for c, p in columns.items() if p})
    project = new_project(folder, layout, data, options) if data is not None else new_template(folder)
    written = project.written
    typer.echo(f"{project.folder}: {', '.join(project.files)}")
    if written is not None:
        typer.echo(f"{written.scans} scans of {written.subjects} subjects, {written.labelled} with labels")
        for note in written.notes:
            typer.echo(f"  {note}")
        for what, why in written.left_out:
            typer.echo(f"left out: {what}: {why}")
    for remark in project.remarks:
        typer.echo(remark)
    for name in project.studies:
        typer.echo(f"study {name}")
    for task, why in project.left_out.items():
        typer.echo(f"no {task}: {why}")
    first = f"fill scans.tsv and {project.files[0]}, then" if written is None else "run it with"
    typer.echo(f"\n{first}:\n  {' && '.join(next_lines(project))}")
