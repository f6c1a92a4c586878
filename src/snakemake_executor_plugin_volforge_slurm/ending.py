"""The end of a run from outside: commands of SLURM that do not answer are waited for only so long, then ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLIENTS = ("sbatch", "squeue", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "sshare")
SCANCEL_S = 40.0
"""For all `scancel` of the end together: a busy controller may need half a minute; Ctrl-C takes less than one."""
THREADS_S = 10.0
"""For a submission that is on its way, and for a query of states."""


def cancel_by_name(run: str, patience_s: float, logger: Any, *options: str) -> float:
    """Cancel all jobs of a run; where that fails, say what may be left and how to end it.

    Args:
        run: Name of its jobs.
        patience_s: How long `scancel` may take.
        logger: Of Snakemake.
        options: Further ones of `scancel`.

    Returns:
        The patience that is left, 0 after a failure: it would not go better now.
    """
    call = ["scancel", *options, "--name", run]
    began = time.monotonic()
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=patience_s, check=False)
        error = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
    except subprocess.TimeoutExpired:
        error = f"no answer within {patience_s:.0f} s"
    except OSError as reason:
        error = str(reason)
    if error:
        logger.warning(f"Jobs of run {run} may still be there ({error}). To cancel them: {' '.join(call)}")
        return 0.0
    return max(5.0, patience_s - (time.monotonic() - began))


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
