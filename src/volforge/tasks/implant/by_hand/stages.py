"""How long the stages of one case take."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """Seconds by stage, of the clock and of the processors.

    Args:
        say: Told the name of each stage when it begins.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None):
        self.say = say
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens within to a stage."""
        self.say(name)
        wall, own = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - wall
            self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - own

    @property
    def record(self) -> dict[str, object]:
        """Seconds of all stages and their sum, and the peak of the memory of this process."""
        return {
            "seconds": {n: round(s, 2) for n, s in self.seconds.items()},
            "processor_seconds": {n: round(s, 2) for n, s in self.processor.items()},
            "seconds_in_all": round(sum(self.seconds.values()), 2),
            "processor_seconds_in_all": round(sum(self.processor.values()), 2),
            "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),  # KiB on Linux
        }
