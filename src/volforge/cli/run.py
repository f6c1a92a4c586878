"""`volforge run`: the workflow on the project in this folder, by Snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

REST = "volforge_snakemake_arguments"


class _WithRest(TyperCommand):
    """A command that keeps what stands after `--` as it is, for Snakemake."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[REST] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS OF SNAKEMAKE]"]


app = typer.Typer(add_completion=False)


@app.command(cls=_WithRest)
def run(
    ctx: typer.Context,
    configfiles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="CONFIG", help="Configuration, later ones win; config.yaml or config/config.yaml if none."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Only say what would run.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Send the jobs to a SLURM cluster.")] = False,
) -> None:
    """Run the project in this folder; results go to results/, the page to read first is results/report.html.

    The line of Snakemake that this stands for is printed; the exit code is Snakemake's.

    Example: volforge run -n

    Example: volforge run my.yaml --slurm -- --jobs 20 tables
    """
    import os
    import shlex
    import sys

    from volforge.workflow.start import arguments

    words = arguments(configfiles or [], dry_run=dry_run, slurm=slurm, others=ctx.meta[REST])
    typer.echo(shlex.join(["snakemake", *words]), err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # in place of this process: signals and the exit code are Snakemake's own
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *words])
