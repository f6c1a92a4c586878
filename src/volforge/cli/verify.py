"""`volforge verify`: whether results are what their run has left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def verify(
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    expect: Annotated[str, typer.Option(help="SHA-256 of the crate, as an earlier call printed it.")] = "",
) -> None:
    """Hash every file of a run again, and name what is changed or gone; exits with 1 if something is.

    Example: volforge verify results
    """
    from volforge.errors import VolforgeError
    from volforge.report.crate import CRATE
    from volforge.report.verify import verify as look

    verdict = look(results)
    for name, why in verdict.changed.items():
        typer.echo(f"changed: {name}: {why}")
    for word, names in (("missing", verdict.missing), ("leads out of the results", verdict.links)):
        for name in names:
            typer.echo(f"{word}: {name}")
    for name in verdict.added:
        typer.echo(f"not of the run: {name}")
    typer.echo(f"{verdict.whole} files are as the run has left them; {CRATE} has SHA-256 {verdict.crate}")
    if expect and expect.lower() != verdict.crate:
        raise VolforgeError("the crate is another one than expected", str(results / CRATE), "get the results anew")
    if not verdict.is_good:
        count = len(verdict.changed) + len(verdict.missing) + len(verdict.links)
        remedy = "run again: what is missing is made anew; delete what is changed before"
        raise VolforgeError(f"{count} files are not as the run has left them", str(results), remedy)
