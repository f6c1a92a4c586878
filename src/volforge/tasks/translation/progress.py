"""How far a translation is: lines with the time left, as trainings write them."""

from __future__ import annotations

import sys
import time

SECONDS = 10.0  # between two lines; a scan that takes less says nothing


class Progress:
    """Lines of one view of one scan.

    Args:
        name: What is translated, for the line.
        seconds: Between two lines.
    """

    def __init__(self, name: str, seconds: float = SECONDS):
        self.name, self.seconds = name, seconds
        self.start = self.told = time.monotonic()
        self.done = self.computed = 0

    def __call__(self, done: int, total: int, *, found: bool = False) -> None:
        """Tell how many slices are done, from time to time.

        Args:
            done: Slices that are done.
            total: All of them.
            found: The last ones were found finished: they say nothing of how long a slice takes.
        """
        now = time.monotonic()
        if found and not self.computed:
            self.start = now
        self.computed += 0 if found else done - self.done
        self.done = done
        if now - self.told < self.seconds or not self.computed:
            return
        self.told = now
        each = (now - self.start) / self.computed
        left = int((total - done) * each)
        print(
            f"{self.name}: slice {done} of {total}, {each:.2f} s a slice, "
            f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left",
            file=sys.stderr,
            flush=True,
        )
