"""One timer for Snakemake's scheduler, where it starts hundreds.

In Snakemake 9.27 every evaluation with ready jobs asks, for its rate limit, to be woken once more after the timespan
of that limit, and starts a thread for it. Each thread wakes the scheduler, which evaluates all ready jobs and asks
again: one chain of threads for every finished job, none of which ends while jobs are ready. Here a scheduler has one
thread that waits, and what is asked meanwhile is answered by its next wake or the one after. Rates, results and the
order of jobs are Snakemake's own.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from typing import Any

KNOWN = re.compile(r"9\.27(\.\d+)?")
"""Versions whose scheduler was read: others may keep their timers otherwise, and are left alone."""


class OneTimer:
    """Wakes a scheduler at the times that were asked for, from one daemon thread.

    The earliest and the latest time asked for are kept exactly. Those between fall together with the latest: every wake
    looks at all ready jobs, so none is needed for a job of its own.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._due = math.inf
        self._latest = -math.inf
        self._thread: threading.Thread | None = None

    def ask(self, delay: float) -> None:
        """Ask for a wake after so many seconds.

        Raises:
            RuntimeError: No thread can be started.
        """
        due = time.monotonic() + delay
        with self._changed:
            self._latest = max(self._latest, due)
            if due < self._due:
                self._due = due
                self._changed.notify()
            if self._thread is None:
                # a daemon, or the process would stay for it when all is done
                thread = threading.Thread(target=self._run, name="one-timer", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._wait()
            self._wake()

    def _wait(self) -> None:
        """Wait until the next wake is due.

        It is forgotten under the lock and before anybody is woken: who is woken may ask again at once, and a request
        that still met the old time would be answered by nobody.
        """
        with self._changed:
            while (left := self._due - time.monotonic()) > 0:
                self._changed.wait(None if left == math.inf else left)
            self._due = self._latest if self._latest > self._due else math.inf


def keep_one_timer(scheduler: Any = None, version: str | None = None) -> bool:
    """Let Snakemake's schedulers, also those made later, have one timer each.

    Calls beyond the first change nothing; other versions of Snakemake are left as they are, and a line says so.

    Args:
        scheduler: The class; Snakemake's own by default.
        version: That of Snakemake; the installed one by default.

    Returns:
        Whether schedulers have one timer.
    """
    from snakemake import __version__
    from snakemake.logging import logger
    from snakemake.scheduling import job_scheduler

    scheduler = scheduler or job_scheduler.JobScheduler
    version = version or __version__
    if KNOWN.fullmatch(version) is None or not hasattr(scheduler, "_schedule_reevalutation"):
        logger.info(f"Snakemake {version}: its scheduler keeps its own timers (known: 9.27); long runs may cost more.")
        return False
    scheduler._schedule_reevalutation = _ask
    return True


def _ask(self: Any, delay: float) -> None:
    """Takes the place of `JobScheduler._schedule_reevalutation`."""
    timer = self.__dict__.get("_one_timer")
    if timer is None:  # only the thread that schedules asks
        timer = self._one_timer = OneTimer(self._open_jobs.release)
    timer.ask(delay)
