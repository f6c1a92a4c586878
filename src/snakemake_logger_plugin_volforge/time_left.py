"""The time that a run still takes, from the durations of its own jobs and of those of earlier runs in its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

DURATIONS = Path(".snakemake/volforge/durations.json")
MOST_KEPT = 20_000  # jobs whose durations are kept

# Seconds on two cores in the embedded default run: what is known of a rule before a job of it has ended. Only their
# ratios count once anything has.
TYPICAL_S = {
    "train_model": 60.0, "train_slice_encoder": 20.0, "train_judging_segmenter": 20.0, "predict": 10.0, "measure": 8.0,
    "make_phantoms": 6.0, "report": 12.0, "draw_figures": 5.0, "make_table": 2.0, "import_scan": 1.5, "cut_scan": 1.0,
    "make_distances": 2.0, "collect_measures": 0.5, "index_recipe": 0.5, "collect_scans": 0.5,
    "write_crate": 2.0,
}  # fmt: skip
OTHER_S = 0.02  # settings, written by the leading process
WEIGHT = 1.0  # of what was known before, in jobs
OVERDUE = 1.3  # a job that takes longer than expected is thought to take so much longer than it has
LAST = ("predict", "measure", "draw_figures", "report", "write_crate")  # of the last study, one after the other
FEWEST_S = 20.0  # of work that must have ended before the speed of this machine is judged


class TimeLeft:
    """Estimates the time left.

    A job of an earlier run in this folder is expected to take as long as it did then; another one as long as the jobs
    of its rule that have ended, with what is typical of the rule as one job more; what runs already has less to go.
    The sum is divided by the number of jobs that ran side by side on average.

    Args:
        earlier: Seconds by rule and job (`key_of`), of earlier runs.
    """

    def __init__(self, earlier: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self.total: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.found: dict[str, dict[str, float]] = {}
        self._earlier = {rule: dict(jobs) for rule, jobs in (earlier or {}).items()}
        self._running: dict[int, tuple[str, str, float]] = {}
        self._squares: dict[str, float] = {}
        self._busy = 0.0
        self._expected = 0.0  # of the jobs that have ended, before they began
        self._since: float | None = None
        self._began: float | None = None

    def plan(self, counts: Mapping[str, int]) -> None:
        """Take the numbers of jobs by rule."""
        self.total = {rule: n for rule, n in counts.items() if rule != "total"}

    def start(self, job: int, rule: str, now: float, key: str = "") -> None:
        """A job starts; times in seconds of any clock that does not jump."""
        self._pass(now)
        self._running[job] = (rule, key, now)

    def finish(self, job: int, now: float) -> None:
        """A job has finished."""
        self._pass(now)
        if job not in self._running:
            return
        rule, key, began = self._running.pop(job)
        self._expected += self._known(rule, key)
        self.done[rule] = self.done.get(rule, 0) + 1
        self.seconds[rule] = self.seconds.get(rule, 0.0) + now - began
        self._squares[rule] = self._squares.get(rule, 0.0) + (now - began) ** 2
        self.found.setdefault(rule, {})[key] = now - began

    def fail(self, job: int, now: float) -> None:
        """A job has failed; it may come again."""
        self._pass(now)
        self._running.pop(job, None)

    @property
    def running(self) -> list[str]:
        """Rules at work."""
        return sorted({rule for rule, _, _ in self._running.values()})

    def seconds_left(self, now: float) -> float | None:
        """The estimate; None before anything has finished."""
        if not sum(self.done.values()) or self._began is None:
            return None
        speed = self._speed()
        going: dict[str, int] = {}
        left = longest = 0.0
        for rule, key, began in self._running.values():
            going[rule] = going.get(rule, 0) + 1
            whole, lasted = self._each(rule, key, speed), now - began
            rest = max(whole - lasted, (OVERDUE - 1) * lasted if lasted > whole else 0.0)
            left += rest
            longest = max(longest, rest)
        for rule, count in self.total.items():
            waiting = max(0, count - self.done.get(rule, 0) - going.get(rule, 0))
            left += waiting * self._mean(rule, waiting, speed)
        passed = now - self._began
        beside = (self._busy + self._pending(now)) / passed if passed > 0 else 1.0
        chain = sum(
            self._each(r, "", speed) for r in LAST if self.total.get(r, 0) > self.done.get(r, 0) + going.get(r, 0)
        )
        return max(longest + chain, left / max(1.0, beside))

    def _pass(self, now: float) -> None:
        if self._began is None:
            self._began = now
        self._busy += self._pending(now)
        self._since = now

    def _pending(self, now: float) -> float:
        """Job seconds since the last event."""
        return 0.0 if self._since is None else (now - self._since) * len(self._running)

    def _known(self, rule: str, key: str) -> float:
        """What was expected of a job before this run."""
        jobs = self._earlier.get(rule, {})
        if key in jobs:
            return jobs[key]
        return sum(jobs.values()) / len(jobs) if jobs else TYPICAL_S.get(rule, OTHER_S)

    def _speed(self) -> float:
        """How much longer jobs take here than was expected."""
        took = sum(self.seconds.values())
        return (took + FEWEST_S) / (self._expected + FEWEST_S)

    def _each(self, rule: str, key: str, speed: float) -> float:
        """Expected duration of one job."""
        if key in self._earlier.get(rule, {}):
            return self._earlier[rule][key] * speed
        done = self.done.get(rule, 0)
        return (self._known(rule, key) * speed * WEIGHT + self.seconds.get(rule, 0.0)) / (WEIGHT + done)

    def _margin(self, rule: str) -> float:
        """Half the spread of a rule's jobs: the long ones of a run tend to come last."""
        done = self.done.get(rule, 0)
        if done < 2:
            return 0.0
        mean = self.seconds[rule] / done
        return 0.5 * math.sqrt(max(0.0, self._squares[rule] / done - mean**2))

    def _mean(self, rule: str, waiting: int, speed: float) -> float:
        """Expected duration of the jobs of a rule that have not begun."""
        if not waiting:
            return 0.0
        begun = {key for r, key, _ in self._running.values() if r == rule} | set(self.found.get(rule, {}))
        rest = [s for key, s in self._earlier.get(rule, {}).items() if key not in begun]
        if len(rest) >= waiting:
            return speed * sum(rest) / len(rest)
        each = self._each(rule, "", speed) + self._margin(rule)
        # a job that still runs says that such jobs take at least so long
        return each if not rest else (speed * sum(rest) + (waiting - len(rest)) * each) / waiting


def key_of(wildcards: Mapping[str, object]) -> str:
    """A job of a rule, by its wildcards."""
    return "/".join(f"{k}={v}" for k, v in wildcards.items())


def read_durations(path: Path) -> dict[str, dict[str, float]]:
    """Durations of earlier runs; none where there is no file, or one that was not written whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(r): {str(k): float(s) for k, s in jobs.items()} for r, jobs in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # an estimate of the time left must not end a run


def write_durations(
    path: Path, earlier: Mapping[str, Mapping[str, float]], found: Mapping[str, Mapping[str, float]]
) -> None:
    """Keep the durations of a run beside earlier ones, the newest for each job."""
    kept = {rule: {**earlier.get(rule, {}), **found.get(rule, {})} for rule in dict.fromkeys([*earlier, *found])}
    if sum(map(len, kept.values())) > MOST_KEPT:
        kept = {rule: dict(jobs) for rule, jobs in found.items()}
    content = {rule: {key: round(s, 2) for key, s in jobs.items()} for rule, jobs in kept.items()}
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        new.replace(path)
    except OSError:
        return  # a full disk is told by the jobs
