"""Rows of the table of benchmarks: one piece of work, done by volforge and by others, in turns in one process.

A row is timed only after the results of all who do it were compared. Ours and the peers take turns, so that a busy
machine slows all of them; a ratio is taken within a turn, and the table shows the median of the ratios with the
lowest and the highest. One thread each, unless a row says otherwise.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 8.0  # that the turns of a row may take together, beyond the fewest
FEWEST, MOST = 3, 15
SHORT = 0.02  # seconds; a shorter call is repeated within its turn
EVEN = 0.95  # a ratio from here to 1 is no lead of the peer
NEAR = 1.5  # times a limit from which on a row must say why


@dataclass(frozen=True)
class Scale:
    """How large the work is.

    Attributes:
        quick: Small, one turn: only whether results agree is of interest.
        folder: For files; removed at the end.
    """

    quick: bool
    folder: Path

    def of(self, whole: Any, quick: Any) -> Any:
        """The one or the other."""
        return quick if self.quick else whole


def close(rtol: float = 1e-6, atol: float = 0.0) -> Callable[[Any, Any], str]:
    """A comparison of numbers, within a tolerance."""

    def same(ours: Any, theirs: Any) -> str:
        a, b = (np.asarray(v, np.float64) for v in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
        return "equal" if np.array_equal(a, b) else f"within {max(rtol, atol):g}"

    return same


def identical(ours: Any, theirs: Any) -> str:
    """The comparison of values that must be the same, bit for bit where they are arrays."""
    if isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
    elif ours != theirs:
        raise AssertionError(f"{ours!r} is not {theirs!r}")
    return "equal"


@dataclass(frozen=True)
class Peer:
    """Who else does the work of a row.

    Attributes:
        name: As the table shows it.
        call: Does the work; returns what is compared.
        same: Compares our result with that of the peer; returns words for the table, raises `AssertionError`.
        needs: Modules; where one is not installed, the table says so.
        is_limit: A part of the work that cannot be left out: ours can be near, and no faster.
        share: Of the work that the call does; its time is counted up to the whole.
        least: Ratio that the project promises; 0: none.
        why: Why the peer is ahead, or why ours is further than 1.5 times from its limit.
    """

    name: str
    call: Callable[[], Any]
    same: Callable[[Any, Any], str] = identical
    needs: tuple[str, ...] = ()
    is_limit: bool = False
    share: float = 1.0
    least: float = 0.0
    why: str = ""

    @property
    def missing(self) -> str:
        """The first module that is not installed; empty where all are."""
        return next((m for m in self.needs if importlib.util.find_spec(m) is None), "")


@dataclass(frozen=True)
class Row:
    """A piece of work.

    Attributes:
        name: What is done, with its size.
        ours: Does it; returns what is compared.
        peers: Who else does it. Without any, only our time is shown.
        turns: At most.
        unit: Of what is shown, where calls measure themselves.
        measures_itself: Calls return (value, result) instead of the result: seconds until something, MiB.
        why: What a reader should know of a row without peers.
    """

    name: str
    ours: Callable[[], Any]
    peers: tuple[Peer, ...] = ()
    turns: int = MOST
    unit: str = "s"
    measures_itself: bool = False
    why: str = ""


@dataclass(frozen=True)
class Line:
    """What is known of a row and one peer.

    Attributes:
        topic: Heading that it stands under.
        row, peer: Names; the peer's is empty where the row has none.
        kind: `peer`, `limit` or `alone`.
        unit: Of `ours` and `theirs`.
        ours, theirs: Medians; NaN where nothing was measured.
        ratio, low, high: Median, least and greatest of theirs / ours within a turn.
        turns: How many.
        agreement: Words of the comparison.
        problem: Why there are no figures, or that results differ, or that a promise was missed.
        is_wrong: Results differ, or a promise was missed: the run fails.
        note: Remark of the row, where one is due.
    """

    topic: str
    row: str
    peer: str
    kind: str
    unit: str
    ours: float = np.nan
    theirs: float = np.nan
    ratio: float = np.nan
    low: float = np.nan
    high: float = np.nan
    turns: int = 0
    agreement: str = ""
    problem: str = ""
    is_wrong: bool = False
    note: str = ""

    @property
    def is_behind(self) -> bool:
        """Whether the peer is ahead, or ours is further from a limit than it should be."""
        return self.ratio < (1 / NEAR if self.kind == "limit" else EVEN)


def measured(topic: str, row: Row, *, quick: bool) -> Iterator[Line]:
    """Compare the results of a row, take turns, and tell what was seen.

    Args:
        topic: Heading of the row.
        row: The work.
        quick: No turns beside the calls that are compared.
    """
    here = [p for p in row.peers if not p.missing]
    for peer in row.peers:
        if peer.missing:
            reason = f"{peer.missing} is not installed"
            yield Line(topic, row.name, peer.name, _kind(peer), row.unit, problem=f"not measured: {reason}")
    first, ours = _once(row, row.ours, 1)
    calls, values, words, wrong = [row.ours], [[first]], {}, {}
    for peer in here:
        value, theirs = _once(row, peer.call, 1)
        calls.append(peer.call)
        values.append([value])
        try:
            words[peer.name] = peer.same(ours, theirs)
        except AssertionError as error:
            wrong[peer.name] = " ".join(str(error).split())[:300] or "results differ"
        del theirs
    del ours
    turns = 1
    if not quick:  # the first calls loaded libraries, compiled, and filled caches: they do not count
        repeats = [_repeats(row, v[0]) for v in values]
        spent = sum(v[0] for v in values) if row.unit == "s" else SECONDS
        turns = min(row.turns, max(FEWEST, int(SECONDS / max(spent, 1e-9))))
        values = [[] for _ in calls]
        for turn in range(turns):
            for k in range(len(calls)):
                n = (k + turn) % len(calls)
                values[n].append(_once(row, calls[n], repeats[n])[0])
    own = statistics.median(values[0])
    if not row.peers:
        yield Line(topic, row.name, "", "alone", row.unit, own, turns=turns, note=row.why)
    for peer, found in zip(here, values[1:], strict=True):
        theirs_each = [v / peer.share for v in found]
        ratios = [t / o for t, o in zip(theirs_each, values[0], strict=True)]
        line = Line(
            topic, row.name, peer.name, _kind(peer), row.unit, own, statistics.median(theirs_each),
            statistics.median(ratios), min(ratios), max(ratios), turns, words.get(peer.name, ""),
        )  # fmt: skip
        yield _judged(line, peer, wrong.get(peer.name, ""), quick)


def _kind(peer: Peer) -> str:
    return "limit" if peer.is_limit else "peer"


def _judged(line: Line, peer: Peer, wrong: str, quick: bool) -> Line:
    """A line with what is to be said of it."""
    if wrong:
        return replace(line, problem=f"results differ: {wrong}", is_wrong=True)
    if not quick and line.ratio < peer.least:
        return replace(line, problem=f"{line.ratio:.1f} times, promised {peer.least:g}", is_wrong=True, note=peer.why)
    if line.is_behind:
        return replace(line, note=peer.why or "not explained yet")
    return line


def _repeats(row: Row, seconds: float) -> int:
    return 1 if row.measures_itself else max(1, int(np.ceil(SHORT / max(seconds, 1e-6))))


def _once(row: Row, call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """What a call takes, and its result."""
    if row.measures_itself:
        value, result = call()
        return float(value), result
    began = time.perf_counter()
    for _ in range(repeats):
        result = call()
    return (time.perf_counter() - began) / repeats, result
