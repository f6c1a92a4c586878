"""`volforge validate`: every problem of a configuration and its sheets, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def validate(
    configfiles: Annotated[
        list[Path] | None,
        typer.Argument(help="Configuration files, later ones win; config.yaml or config/config.yaml if none."),
    ] = None,
) -> None:
    """Check a configuration and all its sheets, before anything runs.

    Example: volforge validate my.yaml
    """
    from volforge.errors import ProblemsError, errors_of
    from volforge.workflow.run import resolve
    from volforge.workflow.shipped import own_configuration

    files = configfiles or [own_configuration() or Path("config/config.yaml")]
    loaded, cohorts, studies = resolve(files)
    if errors_of(loaded.problems):
        raise ProblemsError(loaded.problems)
    for problem in loaded.problems:
        typer.echo(str(problem), err=True)
    scans = sum(len(c.rows) for c in cohorts.values())
    names = " + ".join(str(f) for f in files)
    typer.echo(f"{names}: {len(cohorts)} cohorts, {scans} scans, {len(studies)} studies, no error")
