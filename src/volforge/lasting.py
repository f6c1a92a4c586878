"""Failures that no further attempt changes: a job leaves a marker of its own, and its next attempts read it.

The workflow names the marker in an environment variable and looks for it (`volforge.workflow.fail_once`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.whole_file import write_whole

VARIABLE = "VOLFORGE_LASTING"
"""Names the marker of the job that a command is run by; the command line reads it."""
LACKING = ("out of memory", "cuda", "cudnn", "nccl")  # words of torch for a device that is full, or in trouble
NOTE = "  (not tried again in this run: another attempt would end the same; a new start of the workflow tries it again)"


def is_lasting(error: BaseException) -> bool:
    """Whether an error will not go away by itself.

    Only what we say ourselves of settings and data is lasting. Everything else may pass, and is worth another attempt:

    - a `VolforgeError` that says so (`may_pass`), or that stands for one of the following, by its cause or context;
    - too little memory, of the machine or of a GPU, and what else a GPU reports;
    - what the system says of a disk, a network or a process (an `OSError` with a number, a time-out): a mount may
      come back, space may be freed. Libraries also raise `OSError` without a number for damaged content: lasting;
    - errors of any other kind. They may be mistakes of ours, which last, but a library without memory, with half a
      file or with a broken device raises anything. Two attempts that were not needed cost less than a run that ends
      for a moment's trouble; of trainings the third ends at once (`volforge.training.attempt`).

    Signals, time limits and lost nodes raise nothing here.
    """
    return isinstance(error, VolforgeError) and not any(_may_pass(e) for e in _behind(error))


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that led to it."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__ or error
    yield from seen


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, VolforgeError):
        return error.may_pass
    if isinstance(error, OSError):
        return error.errno is not None or isinstance(error, (TimeoutError, ConnectionError))
    if isinstance(error, RuntimeError):
        return any(word in str(error).lower() for word in LACKING)
    return isinstance(error, (MemoryError, subprocess.SubprocessError))


def leave_marker(marker: Path, error: BaseException) -> None:
    """Keep what a lasting error says for further attempts, and say so; of several processes of a job the first counts.

    Without a marker (the disk is full, say) the job is tried again.
    """
    if not is_lasting(error) or marker.exists():
        return
    try:
        write_whole(marker, f"volforge: {error}\n{NOTE}\n")
    except VolforgeError as reason:
        print(f"  (tried again, since that could not be noted: {reason.message})", file=sys.stderr)
    else:
        print(NOTE, file=sys.stderr)
