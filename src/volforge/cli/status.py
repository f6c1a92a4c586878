"""`volforge status`: where a run stands, on one machine or on a cluster, while it goes on or after it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from volforge.workflow.status import Journal, Standing

app = typer.Typer(add_completion=False)


@app.command()
def status(
    configfiles: Annotated[
        list[Path] | None, typer.Argument(help="Configuration files; those of the last run in this folder if none.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List every step, not only those at work or in trouble.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every step as JSON.")] = False,
) -> None:
    """Say what is done, running, queued, waiting, failed and why; exits with 1 if something failed.

    Example: volforge status --all
    """
    from volforge.errors import VolforgeError
    from volforge.workflow.run import load_run
    from volforge.workflow.shipped import own_configuration
    from volforge.workflow.status import JOURNAL, read_journal, standings

    journal = read_journal(JOURNAL)
    files = configfiles or [Path(f) for f in (journal.configfiles if journal else [])]
    own = own_configuration()
    if not files and own is not None:
        files = [own]
    if not files:
        raise VolforgeError(
            "no run was started in this folder, and no configuration is named", str(Path.cwd()), "name its files"
        )
    if journal is not None and {f.absolute() for f in files} != {Path(f) for f in journal.configfiles}:
        typer.echo(f"the last run here was of {', '.join(journal.configfiles)}: what lies on disk counts", err=True)
        journal = None
    found = standings(load_run(files, check_files=False), journal)
    if as_json:
        typer.echo(json.dumps([_entry(s) for s in found], ensure_ascii=False, indent=1))
    else:
        typer.echo(_in_words(journal))
        _print_table(found)
        _print_details(found, all_)
    if any(s.state == "failed" for s in found):
        raise typer.Exit(1)


def _entry(s: Standing) -> dict[str, object]:
    return {
        "part": s.step.part, "rule": s.step.rule, **s.step.wildcards, "state": s.state, "seconds": round(s.seconds),
        "slurm": s.slurm, "attempts": s.attempts, "why": s.why,
    }  # fmt: skip


def _in_words(journal: Journal | None) -> str:
    if journal is None:
        return "no run recorded in this folder (runs with one of the profiles are): what lies on disk"
    import time

    from volforge.workflow.duration import in_words
    from volforge.workflow.status import GO_ON

    since = in_words(time.time() - journal.began)
    if journal.ended is not None:
        return f"the last run ended {in_words(time.time() - journal.ended)} ago"
    if journal.is_alive is None:
        return f"a run began {since} ago on {journal.host}; whether it goes on cannot be seen from here"
    if journal.is_alive:
        return f"a run goes on since {since} (process {journal.pid})"
    return f"a run began {since} ago and was ended from outside; {GO_ON}"


def _print_table(found: list[Standing]) -> None:
    from rich.console import Console
    from rich.table import Table

    from volforge.workflow.status import STATES, counts

    table = Table("part", *STATES, box=None, pad_edge=False)
    colours = {"done": "green", "running": "cyan", "failed": "bold red", "refused": "yellow"}
    for part, row in counts(found).items():
        cells = [f"[{colours[s]}]{row[s]}[/]" if row[s] and s in colours else str(row[s] or "·") for s in STATES]
        table.add_row(part, *cells)
    Console().print(table)


def _print_details(found: list[Standing], everything: bool) -> None:
    from volforge.workflow.duration import in_words

    shown = ("running", "queued", "failed", "refused")
    for s in found:
        if not everything and s.state not in shown and not (s.state == "waiting" and s.why):
            continue
        text = f"{s.state}: {s.step.part}{f', scan {s.step.scan}' if s.step.scan else ''} ({s.step.rule}"
        text += f", {in_words(s.seconds)}" if s.seconds else ""
        text += f", SLURM job {s.slurm}" if s.slurm else ""
        text += f", attempt {s.attempts}" if s.attempts > 1 else ""
        typer.echo(text + ")")
        for line in s.why.splitlines():
            typer.echo(f"    {line}")
