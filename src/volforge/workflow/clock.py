"""Results from the future: the clock was ahead when they were made, and was set right since.

Snakemake takes a job for failed whose output is older than its input. With an input from tomorrow that would be every
job that reads it, in this run and in all others until tomorrow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from volforge.workflow.jobs import RESULTS

STEP_S = 1e-3  # between results of different times
SLACK_S = 2.0  # clocks of a file server and of this machine differ


def is_of_future(path: str | Path, now: float) -> bool:
    """Whether a file bears a time that has not come; one that is not there does not."""
    try:
        return os.lstat(path).st_mtime > now + SLACK_S
    except OSError:
        return False


def set_back(outputs: Iterable[str], folder: Path = Path(), now: float | None = None) -> int:
    """Give results from the future the time of now, in their order: what was made later stays newer.

    Args:
        outputs: Of the steps of a run; if one of them is from the future, all results are looked at.
        folder: That the run is started in.
        now: Seconds since 1970; None: the time of now.

    Returns:
        How many files and folders were given another time; those of other owners keep theirs.
    """
    moment = time.time() if now is None else now
    if not any(is_of_future(folder / path, moment) for path in outputs):
        return 0
    found: list[tuple[float, Path]] = []
    for place, folders, files in os.walk(folder / RESULTS, topdown=False, followlinks=True):
        for path in (Path(place) / name for name in (*files, *folders)):
            with suppress(OSError):  # another run may take its scratch away
                at = path.lstat().st_mtime
                if at > moment + SLACK_S:
                    found.append((at, path))
    ranks = {at: i for i, at in enumerate(sorted({at for at, _ in found}))}
    count = 0
    for at, path in found:
        when = moment - (len(ranks) - 1 - ranks[at]) * STEP_S
        with suppress(OSError):
            os.utime(path, (when, when), follow_symlinks=False)
            count += 1
    return count
