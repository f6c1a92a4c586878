"""Results from the future: the clock was ahead when they were made, and was set right since.

Snakemake takes a job for failed whose output is older than its input. With an input from tomorrow that would be every
job that reads it, in this run and in all others until tomorrow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from volforge.workflow.jobs import RESULTS

SLACK_S = 2.0  # clocks of a file server and of this machine differ


def is_of_future(path: str | Path, now: float) -> bool:
    """Whether a file bears a time that has not come; one that is not there does not."""
    try:
        return os.lstat(path).st_mtime > now + SLACK_S
    except OSError:
        return False


def set_back(outputs: Iterable[str], folder: Path = Path(), now: float | None = None) -> int:
    """Give results from the future the time of now. All get the same one, so none is newer than another.

    Args:
        outputs: Of the steps of a run; if one of them is from the future, all results are looked at.
        folder: That the run is started in.
        now: Seconds since 1970; None: the time of now.

    Returns:
        How many files and folders were given another time.
    """
    moment = time.time() if now is None else now
    if not any(is_of_future(folder / path, moment) for path in outputs):
        return 0
    count = 0
    for place, folders, files in os.walk(folder / RESULTS, topdown=False):
        for path in (Path(place) / name for name in (*files, *folders)):
            if is_of_future(path, moment):
                os.utime(path, (moment, moment), follow_symlinks=False)
                count += 1
    return count
