"""What jobs may ask for of SLURM."""

from __future__ import annotations

from typing import Any

from snakemake_interface_common.exceptions import WorkflowError


def refuse_clusters(job: Any) -> None:
    """Raise `WorkflowError` for jobs of another cluster: their states could not be asked for."""
    named = [k for k in ("cluster", "clusters", "slurm_cluster") if job.resources.get(k)]
    if named:
        raise WorkflowError(f"resource '{named[0]}': several clusters are not supported; run on one of them")
