"""`volforge cluster`: a SLURM cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="A SLURM cluster: look at it, and say what to set.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def check(
    job: Annotated[bool, typer.Option(help="Send one small job, to measure how late its files are seen here.")] = True,
    write: Annotated[
        Path | None, typer.Option(help="Write the partitions into this file, such as profiles/slurm/partitions.yaml.")
    ] = None,
) -> None:
    """Look at the cluster: accounting, partitions, GPUs, MinJobAge, latency; print the settings to use.

    Example: volforge cluster check --write profiles/slurm/partitions.yaml
    """
    from volforge.whole_file import write_whole
    from volforge.workflow.cluster import advice, look, partitions_yaml, probe_latency

    cluster = look()
    typer.echo(f"SLURM {cluster.version}")
    typer.echo(f"accounting: {'on' if cluster.has_accounting else 'off'}")
    if cluster.has_accounting:
        accounts = ", ".join(cluster.accounts) or "none found"
        typer.echo(f"accounts: {accounts}{' (jobs need one)' if cluster.enforces_accounts else ' (not required)'}")
    typer.echo(f"MinJobAge: {cluster.min_job_age_s} s; arrays of up to {cluster.max_array} tasks")
    for p in cluster.partitions:
        gpus = ", ".join(f"{n} x {m}" for m, n in p.gpus.items())
        limit = f"{p.max_minutes} min" if p.max_minutes else "no limit"
        typer.echo(
            f"partition {p.name}{' (default)' if p.is_default else ''}{'' if p.is_up else ' DOWN'}: {p.nodes} nodes, "
            f"up to {p.cpus} cores, {p.memory_mb} MB{f', GPUs {gpus}' if gpus else ''}, {limit}"
        )
    if job:
        probe_latency(cluster, Path.cwd())
        typer.echo(f"probe: {cluster.probe}")
        if cluster.latency_s is not None:
            typer.echo(f"shared file system: a file of a job was seen here after {cluster.latency_s:.1f} s")
    settings, remarks = advice(cluster)
    for remark in remarks:
        typer.echo(f"note: {remark}")
    typer.echo("\nprofiles/slurm/config.yaml:")
    for line in settings:
        typer.echo(f"  {line}")
    typer.echo("\nprofiles/slurm/partitions.yaml:")
    text = partitions_yaml(cluster)
    typer.echo("".join(f"  {line}\n" for line in text.splitlines()), nl=False)
    if write is not None:
        write_whole(write, text)
        typer.echo(f"written: {write}")
