"""One timer of the scheduler: rates are kept, nobody waits for ever, and other versions are left alone."""

import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT
from volforge.workflow import one_timer
from volforge.workflow.one_timer import OneTimer, keep_one_timer

PATIENCE_S = 60


class Clock:
    """A clock that moves by waiting, and a condition that waits so."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def condition(self):
        condition = threading.Condition()

        def wait(timeout):
            if timeout is None:
                raise LookupError("nothing is due")
            self.now += timeout

        condition.wait = wait
        return condition


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(one_timer, "time", clock)
    return clock


def timer_by_hand(clock):
    """A timer whose thread is the test: `_wait` returns when a wake is due."""
    timer = OneTimer(lambda: None)
    timer._thread = threading.current_thread()
    timer._changed = clock.condition()
    return timer


def test_an_earlier_time_replaces_a_later_one_which_is_not_lost(clock):
    timer = timer_by_hand(clock)
    timer.ask(10)
    timer.ask(1)
    timer.ask(4)
    timer._wait()
    assert clock.now == 101
    timer._wait()
    assert clock.now == 110
    with pytest.raises(LookupError):
        timer._wait()


def test_what_is_asked_when_woken_is_answered(clock):
    """A wake is forgotten before it is given: a new request must not be taken for it."""
    timer = timer_by_hand(clock)
    timer.ask(1)
    for wakes in range(1, 4):
        timer._wait()
        assert clock.now == 100 + wakes
        timer.ask(1)


def test_an_earlier_time_is_heard_while_the_thread_waits():
    woken = threading.Semaphore(0)
    timer = OneTimer(woken.release)
    timer.ask(3600)
    timer.ask(0)
    assert woken.acquire(timeout=PATIENCE_S)


def test_who_asks_after_each_wake_is_woken_each_time():
    woken = threading.Semaphore(0)
    timer = OneTimer(woken.release)
    for _ in range(2000):
        timer.ask(0)
        assert woken.acquire(timeout=PATIENCE_S)


class Scheduler:
    """What the patch uses of Snakemake's scheduler."""

    def __init__(self):
        self._open_jobs = threading.Semaphore(0)

    def _schedule_reevalutation(self, delay):
        raise AssertionError("the original was called")


@pytest.fixture
def lines(monkeypatch):
    from snakemake.logging import logger

    lines = []
    monkeypatch.setattr(logger, "info", lines.append)
    return lines


def test_each_scheduler_has_one_thread_however_often_it_asks(monkeypatch, lines):
    monkeypatch.setattr(Scheduler, "_schedule_reevalutation", Scheduler._schedule_reevalutation)
    before = threading.active_count()
    made_before = Scheduler()
    assert keep_one_timer(Scheduler, "9.27.1")
    assert keep_one_timer(Scheduler, "9.27.1")  # the Snakefile may be read twice in one process
    made_later = Scheduler()
    for _ in range(300):
        made_before._schedule_reevalutation(3600)
        made_later._schedule_reevalutation(3600)
    assert threading.active_count() - before == 2
    made_later._schedule_reevalutation(0)
    assert made_later._open_jobs.acquire(timeout=PATIENCE_S)
    assert not made_before._open_jobs.acquire(blocking=False)
    assert lines == []


@pytest.mark.parametrize("version", ["9.26.0", "9.28.0", "9.270", "10.0.0", "8.9.27"])
def test_other_versions_are_left_alone_and_it_is_said(version, lines):
    original = Scheduler._schedule_reevalutation
    assert not keep_one_timer(Scheduler, version)
    assert Scheduler._schedule_reevalutation is original
    assert len(lines) == 1
    assert version in lines[0]


def test_a_scheduler_without_that_method_is_left_alone(lines):
    assert not keep_one_timer(SimpleNamespace, "9.27.1")
    assert not hasattr(SimpleNamespace, "_schedule_reevalutation")
    assert len(lines) == 1


def test_the_workflow_asks_for_it(tmp_path):
    (tmp_path / "c.yaml").write_text("cohorts:\n  c: {sheet: c.tsv, phantom: {kind: skull}}\n")
    (tmp_path / "c.tsv").write_text("subject\tscan\tmodality\timage\n")
    code = (
        "import sys, snakemake.cli\n"
        "from snakemake.scheduling.job_scheduler import JobScheduler\n"
        "try:\n    snakemake.cli.main(sys.argv[1:])\n"
        "finally:\n    print(JobScheduler._schedule_reevalutation.__module__)\n"
    )
    arguments = ("--snakefile", str(ROOT / "Snakefile"), "-n", "--configfile", "c.yaml")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "volforge.workflow.one_timer", done.stdout + done.stderr


# --- with Snakemake

RECORD = """
import json, threading, time
from snakemake.scheduling.job_scheduler import JobRateLimiter
from volforge.workflow.one_timer import keep_one_timer
assert keep_one_timer()
started, threads, register = [], [], JobRateLimiter.register_jobs
def recorded(self, n_jobs):
    register(self, n_jobs)
    started.extend(list(self._jobs)[len(self._jobs) - n_jobs:])
    threads.append(sum(isinstance(t, threading.Timer) or t.name == "one-timer" for t in threading.enumerate()))
JobRateLimiter.register_jobs = recorded
def leave():
    with open("seen.json", "w") as file:
        json.dump({"started": started, "threads": threads}, file)
onsuccess: leave()
onerror: leave()
"""


def run(folder, snakefile, *arguments):
    (folder / "Snakefile").write_text(RECORD + snakefile)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "8", "--scheduler", "greedy", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    return done, json.loads((folder / "seen.json").read_text())


def most_within(times, span):
    return max(sum(0 <= t - first < span for t in times) for first in times)


def test_a_tight_rate_is_kept_and_all_jobs_run(tmp_path):
    done, seen = run(
        tmp_path,
        'rule all:\n    input: expand("out/{n}", n=range(12))\n'
        'rule short:\n    output: "out/{n}"\n    shell: "sleep 0.{wildcards.n}; touch {output}"\n',
        "--max-jobs-per-timespan",
        "3/1s",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "out").iterdir())) == 12
    assert len(seen["started"]) == 13  # the target counts too
    assert most_within(seen["started"], 1.0) == 3
    assert set(seen["threads"]) <= {0, 1}


def test_files_from_a_queue_are_waited_for_beside_the_rate(tmp_path):
    done, seen = run(
        tmp_path,
        "import queue\n"
        "files, end = queue.Queue(), object()\n"
        "def feed():\n"
        "    for n in range(6):\n        files.put(f'out/{n}')\n        time.sleep(0.4)\n"
        "    files.put(end)\n"
        "feeder = threading.Thread(target=feed, daemon=True)\n"
        "feeder.start()\n"
        'rule all:\n    input: from_queue(files, finish_sentinel=end), "out/long"\n'
        'rule short:\n    output: "out/{n,[0-9]}"\n    shell: "touch {output}"\n'
        'rule long:\n    output: "out/long"\n    shell: "sleep 3; touch {output}"\n',
        "--max-jobs-per-timespan",
        "2/1s",
        "--queue-input-wait-time",
        "1",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*"012345", "long"}
    assert most_within(seen["started"], 1.0) <= 2
    assert set(seen["threads"]) <= {0, 1}


@pytest.mark.parametrize("keep_going", [True, False])
def test_failures_end_the_run_or_not_as_before(tmp_path, keep_going):
    """`exclude` sets `keepgoing` when the run starts: rules/report.smk."""
    hook = "onstart: workflow.scheduler.keepgoing = True\n" if keep_going else ""
    done, seen = run(
        tmp_path,
        hook + 'rule all:\n    input: expand("out/{n}", n=range(8))\n'
        'rule short:\n    output: "out/{n}"\n    shell: "[ {wildcards.n} != 0 ] && touch {output}"\n',
        "--max-jobs-per-timespan",
        "2/1s",
    )
    assert done.returncode == 1
    assert "short" in done.stderr
    if keep_going:
        assert {p.name for p in (tmp_path / "out").iterdir()} == set("1234567")
    assert set(seen["threads"]) <= {0, 1}
