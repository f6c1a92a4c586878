"""`volforge weights`: public weights of feature networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Public weights of feature networks: fetch, list.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="inception (FID, KID) or alexnet (LPIPS).")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A copy on this machine; else it is downloaded.")
    ] = None,
) -> None:
    """Get a weights file once; only the file of the known SHA-256 is accepted."""
    from volforge import weights

    typer.echo(str(weights.fetch(name, None if source is None else str(source))))


@app.command("list")
def list_() -> None:
    """List the known weights, where they come from, and whether they are here."""
    from volforge import weights

    for entry in weights.REGISTRY.values():
        path = weights.cached(entry.name)
        typer.echo(f"{entry.name}: {entry.use}\n  {entry.url}\n  SHA-256 {entry.sha256}\n  terms: {entry.licence}")
        typer.echo(f"  {path if path.exists() else 'not fetched'}")
