"""States of SLURM jobs as squeue and sacct print them, and how the two are read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

ALIVE = (
    "PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING",
    "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "SPECIAL_EXIT", "RESV_DEL_HOLD",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """A state as printed, such as `CANCELLED by 1000`."""

    text: str

    @property
    def name(self) -> str:
        """Its first word, without the `+` of shortened columns."""
        return self.text.split()[0].rstrip("+") if self.text.split() else ""

    @property
    def is_alive(self) -> bool:
        """Whether the job waits or runs."""
        return self.name in ALIVE

    @property
    def is_success(self) -> bool:
        """Whether it ended well."""
        return self.name == "COMPLETED"


def queries(run: str, days: int = 7) -> dict[str, list[str]]:
    """The commands that list all jobs of a run (their name), as `id|state`; tasks of arrays by their own id."""
    since = f"{datetime.now() - timedelta(days=days):%Y-%m-%dT%H:%M}"
    return {
        "squeue": ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", "--name", run],
        "sacct": [
            "sacct", "-X", "--noheader", "--parsable2", "--format=JobID,State", "--starttime", since, "--name", run,
        ],
    }  # fmt: skip


def parse_states(text: str) -> dict[str, State]:
    """States by job id; lines that stand for several waiting tasks (`12_[3-9]`) are left out."""
    states = {}
    for line in text.splitlines():
        job, mark, state = line.partition("|")
        if mark and state.strip() and "[" not in job:
            states[job.strip()] = State(state.strip())
    return states


def merged(queue: Mapping[str, State], accounts: Mapping[str, State]) -> dict[str, State]:
    """Both views of the jobs as one.

    What the queue holds alive is alive (a requeued job has an ended record in the accounts), unless the accounts
    say that it completed. What only one of them knows counts as it says: the queue forgets ended jobs, and the
    accounts learn of them late.
    """
    states = dict(accounts)
    for job, state in queue.items():
        other = accounts.get(job)
        if other is not None and other.is_success and state.is_alive:
            continue
        if other is not None and not other.is_alive and not state.is_alive:
            continue  # both ended: the accounts say it more fully
        states[job] = state
    return states
