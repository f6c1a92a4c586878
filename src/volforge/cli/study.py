"""`volforge study`: results of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Results of a run: the report page.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="Folder of results.")],
    out: Annotated[Path, typer.Option(help="Page to write.")],
    provenance: Annotated[Path, typer.Option(help="provenance.json to write.")],
    settings: Annotated[Path, typer.Option(help="report.json: title, cohorts, recipes, configuration.")],
) -> None:
    """Write the report page and the provenance of a run."""
    from volforge.report.page import write_report

    write_report(results, out, provenance, json.loads(settings.read_text(encoding="utf-8")))
    typer.echo(str(out))
