"""Why a training ends before its last step: a signal, or the time that the job has."""

from __future__ import annotations

import signal
import time
from types import FrameType

STOPPED = 75  # exit code: "try again later" (EX_TEMPFAIL)


class Stop:
    """Listens for signals of the scheduler and watches the clock; asked after every step.

    Args:
        minutes: Time from now; None: no limit.
    """

    def __init__(self, minutes: float | None = None):
        self.until = time.monotonic() + 60 * minutes if minutes is not None else None
        self.reason = ""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.reason = f"signal {signal.Signals(number).name}"

    def asked(self) -> bool:
        """Whether to stop now."""
        if not self.reason and self.until is not None and time.monotonic() > self.until:
            self.reason = "the time limit"
        return bool(self.reason)
