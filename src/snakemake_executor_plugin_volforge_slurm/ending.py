"""The end of a run from outside: commands of SLURM that do not answer are waited for only so long, then ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

CLIENTS = ("sbatch", "squeue", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "sshare")
SCANCEL_S = 40.0
"""For all `scancel` of the end together. A busy controller may need half a minute; Ctrl-C should not take longer than one."""
THREADS_S = 10.0
"""For a submission that is on its way, and for a query of states."""


def clients_below(pid: int) -> list[int]:
    """Commands of SLURM that a process has started, itself or through a shell."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            child = int(folder.name)
            parents[child] = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().split(b"\0")[:3]  # a script stands behind its interpreter
            names[child] = {Path(os.fsdecode(w)).name for w in words if w}
    found = []
    for child in parents:
        above, seen = child, set()
        while above in parents and above not in seen and above != pid:
            seen.add(above)
            above = parents[above]
        if above == pid and child != pid and names.get(child, set()) & set(CLIENTS):
            found.append(child)
    return found


@contextlib.contextmanager
def commands_ended(after_s: float = THREADS_S) -> Iterator[None]:
    """A block that waits for threads: commands of SLURM that this process waits for are ended after a while."""
    is_over = threading.Event()

    def end() -> None:
        is_over.wait(after_s)
        while not is_over.is_set():  # a thread may go on with another command
            for pid in clients_below(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            is_over.wait(0.2)

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
