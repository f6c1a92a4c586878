"""What jobs may ask for of SLURM, and what becomes of those that ask for more than there is."""

from __future__ import annotations

import re
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

from volforge.errors import VolforgeError
from volforge.lasting import leave_marker
from volforge.workflow.fail_once import RESOURCE, marker_of

NEVER = re.compile(r"PartitionTimeLimit|MaxMemPerLimit|(QOS|Assoc)Max\w*PerJob(Limit)?")
"""Reasons to wait that no waiting changes."""
DOUBTFUL = ("PartitionNodeLimit", "PartitionConfig", "BadConstraints", "InvalidAccount", "InvalidQOS")
"""Those that may pass: some are also said while nodes are down."""
REFUSALS = (
    "requested node configuration is not available", "memory specification can not be satisfied",
    "requested time limit is invalid", "more processors requested than permitted",
)  # fmt: skip
"""What `sbatch` says of a job that asks for more than any node, or than its partition allows."""


def never_fits(text: str) -> bool:
    """Whether a reason to wait, or words of `sbatch`, mean that a job cannot start as it was asked for."""
    return bool(NEVER.fullmatch(text)) or any(words in text.lower() for words in REFUSALS)


def give_up(job: Any, said: str) -> str:
    """Keep what SLURM says against a job, so that no further attempt asks for still more; what to tell the user.

    Args:
        job: Of Snakemake.
        said: The reason, or the words of `sbatch`.
    """
    asked = {k: job.resources.get(k) for k in ("mem_mb", "runtime", "gpu") if job.resources.get(k)}
    units = {"mem_mb": "MB", "runtime": "minutes", "gpu": "GPUs"}
    amounts = ", ".join(f"{v} {units[k]}" for k, v in asked.items())
    text = f"it asks for more than the cluster gives ({amounts or 'its own request'}), and can never start: {said}"
    remedy = "ask for less by --set-resources, or name a larger partition in partitions.yaml (volforge cluster check)"
    error = VolforgeError(text, "", remedy)
    key = None if job.is_group() else job.resources.get(RESOURCE)
    if isinstance(key, int):
        leave_marker(marker_of(key), error)
    return str(error)


def refuse_clusters(job: Any) -> None:
    """Raise `WorkflowError` for jobs of another cluster: their states could not be asked for."""
    named = [k for k in ("cluster", "clusters", "slurm_cluster") if job.resources.get(k)]
    if named:
        raise WorkflowError(f"resource '{named[0]}': several clusters are not supported; run on one of them")
