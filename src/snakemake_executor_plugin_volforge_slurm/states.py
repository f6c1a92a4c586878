"""States of SLURM jobs as squeue and sacct print them, and how the two are read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

ENDED = (
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_ME", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
    "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL",
)  # fmt: skip
"""How ended states begin; columns may be cut short. Any other word is a job that waits or runs."""
HELD = ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")


@dataclass(frozen=True)
class State:
    """A state as printed, such as `CANCELLED by 1000`.

    Attributes:
        text: The state.
        reason: Why a job waits, as the queue says; `None` and empty say nothing.
    """

    text: str
    reason: str = ""

    @property
    def name(self) -> str:
        """Its first word, without the `+` of shortened columns."""
        return self.text.split()[0].rstrip("+") if self.text.split() else ""

    @property
    def is_alive(self) -> bool:
        """Whether the job waits or runs."""
        return not self.name.startswith(ENDED)

    @property
    def is_held(self) -> bool:
        """Whether it waits for somebody to release it."""
        return self.name in HELD

    @property
    def is_success(self) -> bool:
        """Whether it ended well."""
        return self.name == "COMPLETED"


def queries(run: str, days: int = 7) -> dict[str, list[str]]:
    """The commands that list all jobs of a run (their name), tasks of arrays by their own id.

    As `id|state`; the queue also says a reason, `id|state|reason`.
    """
    since = f"{datetime.now() - timedelta(days=days):%Y-%m-%dT%H:%M}"
    return {
        "squeue": ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", "--name", run],
        "sacct": [
            "sacct", "-X", "--noheader", "--parsable2", "--format=JobID,State", "--starttime", since, "--name", run,
        ],
    }  # fmt: skip


def parse_states(text: str) -> dict[str, State]:
    """States by job id; a line for several tasks (`12_[3-5,9]`) counts for each."""
    states = {}
    for line in text.splitlines():
        job, mark, rest = line.partition("|")
        state, _, reason = rest.partition("|")
        if mark and state.strip():
            for number in _tasks(job.strip()):
                states[number] = State(state.strip(), reason.strip())
    return states


def _tasks(job: str) -> list[str]:
    """`12_[3-5,9%2]` as 12_3, 12_4, 12_5, 12_9."""
    parent, bracket, inside = job.partition("_[")
    if not bracket:
        return [job]
    tasks = []
    for piece in inside.rstrip("]").split("%")[0].split(","):
        low, _, high = piece.partition("-")
        if low.isdigit() and (high or low).isdigit():
            tasks += [f"{parent}_{n}" for n in range(int(low), int(high or low) + 1)]
    return tasks


def merged(queue: Mapping[str, State] | None, accounts: Mapping[str, State] | None) -> dict[str, State]:
    """Both views of the jobs as one; None: no answer.

    What the queue holds alive is alive (a requeued job has an ended record in the accounts), unless the accounts
    say that it completed. The accounts learn late that a job ended, and keep records of jobs that never did: what
    they hold alive and an answering queue does not know is left out. The queue forgets ended jobs: there the
    accounts count.
    """
    states = {}
    for job, state in (accounts or {}).items():
        if not (state.is_alive and queue is not None and job not in queue):
            states[job] = state
    for job, state in (queue or {}).items():
        other = states.get(job)
        if other is not None and other.is_success and state.is_alive:
            continue
        if other is not None and not other.is_alive and not state.is_alive:
            continue  # both ended: the accounts say it more fully
        states[job] = state
    return states
