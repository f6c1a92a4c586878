"""Seeded damage to files, for tests that nothing crashes, hangs or fills the memory.

`VOLFORGE_FUZZ=20 pytest tests/hostile` tries twenty times as many files, other ones each time.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from volforge.errors import VolforgeError

TIMES = int(os.environ.get("VOLFORGE_FUZZ", "1"))
SECONDS = 30  # for one file: all are small
MOST_GROWTH = 1 << 30  # bytes of memory that one file may take

WORDS = (
    b"\xff\xff", b"\xff\x7f", b"\xff\xff\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\xff" * 8, b"99999999", b"-1",
    b"0", b"1e308", b"nan", b"\0", b"\n", b":", b"(", b"\\", b"\x80", b"\x18\xfc" * 40,
)  # fmt: skip


def fuzz(examples: int):
    """Settings of a test: the same examples in CI every time, more and other ones on request."""
    return settings(
        max_examples=examples * TIMES, derandomize=TIMES == 1, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes, int], bytes]:
    """A function that damages content, mostly in its first bytes (the header)."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(("overwrite", "overwrite", "insert", "remove", "cut")),
                st.floats(0, 1, exclude_max=True),
                st.sampled_from(WORDS) | st.binary(min_size=1, max_size=8),
                st.booleans() | st.just(True),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def damaged(content: bytes, header: int) -> bytes:
        changed = bytearray(content)
        for kind, share, word, in_header in steps:
            at = min(int(share * (min(header, len(changed)) if in_header else len(changed))), len(changed))
            if kind == "overwrite":
                changed[at : at + len(word)] = word
            elif kind == "insert":
                changed[at:at] = word
            elif kind == "remove":
                del changed[at : at + len(word)]
            else:
                del changed[at:]
        return bytes(changed)

    return damaged


@contextmanager
def bounded() -> Iterator[None]:
    """A block that ends in time, takes little memory, and raises nothing but a clear error."""

    def late(*_: object) -> None:
        raise AssertionError(f"no end within {SECONDS} s")

    error: VolforgeError | None = None
    before = signal.signal(signal.SIGALRM, late)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(SECONDS)
    try:
        yield
    except VolforgeError as caught:
        error = caught
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if error is not None:
        told = [(p.message, p.remedy) for p in getattr(error, "problems", ())] or [(error.message, error.remedy)]
        assert all(message and remedy for message, remedy in told), f"no remedy: {error}"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) * 1024 < MOST_GROWTH


def small_ct(shape: tuple[int, int, int] = (24, 24, 24), radius: float = 8) -> np.ndarray:
    """A ball of water in air with a little noise, int16 HU."""
    grid = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    noise = np.random.default_rng(0).integers(-5, 6, shape)
    return (np.where((grid**2).sum(axis=0) <= radius**2, 40, -1000) + noise).astype(np.int16)
