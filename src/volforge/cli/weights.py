"""`volforge weights`: public weights of feature networks, and those that were published with a task's original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Public weights: fetch, list, published.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="inception (FID, KID) or alexnet (LPIPS).")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A copy on this machine; else it is downloaded.")
    ] = None,
) -> None:
    r"""Get a weights file once; only the file of the known SHA-256 is accepted.

    Example: volforge weights fetch inception --from \
      ~/pt_inception-2015-12-05-6726825d.pth
    """
    from volforge import weights

    typer.echo(str(weights.fetch(name, None if source is None else str(source))))


@app.command()
def published(
    task: Annotated[str, typer.Argument(help="Task that they belong to; `volforge weights list` names them.")],
    file: Annotated[Path, typer.Argument(help="The published file (.pth); it is read without running anything.")],
    part: Annotated[str, typer.Argument(help="What the file holds; `volforge weights list` has each task's.")],
    out: Annotated[Path, typer.Argument(help="Folder of the model to write.")],
) -> None:
    r"""Weights of a published system as the folder of a trained model; their own terms go on to hold.

    Example: volforge weights published translation latest_net_G_A.pth \
      generator model
    """
    from volforge import places
    from volforge.errors import VolforgeError
    from volforge.tasks import registry

    entry = registry.task(task).by_hand.get("published")
    if entry is None:
        able = [n for n in registry.TASKS if "published" in registry.task(n).by_hand]
        raise VolforgeError(f"the task {task} knows no published weights", "", f"tasks that do: {', '.join(able)}")
    places.at(entry)(file, part, out, say=typer.echo)


@app.command("list")
def list_() -> None:
    """List the known weights, where they come from, whether they are here; and what `published` reads, by task.

    Example: volforge weights list
    """
    from volforge import weights
    from volforge.tasks import registry

    for entry in weights.REGISTRY.values():
        path = weights.cached(entry.name)
        typer.echo(f"{entry.name}: {entry.use}\n  {entry.url}\n  SHA-256 {entry.sha256}\n  terms: {entry.licence}")
        typer.echo(f"  {path if path.exists() else 'not fetched'}")
    for task in registry.TASKS:
        for part, words in registry.task(task).published.items():
            typer.echo(f"published, {task} {part}: {words}")
