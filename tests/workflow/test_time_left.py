"""The time left: exact where jobs are alike, learnt from earlier runs, and within a factor of two on a recorded run."""

import json

import pytest

from snakemake_logger_plugin_volforge.time_left import TimeLeft, key_of, read_durations, write_durations
from tests.conftest import ROOT

RECORDED = ROOT / "tests/workflow/default_run.json"  # [rule, job, began, ended] of the embedded default run, seconds


def played(jobs, earlier=None):
    """Share of the time that has passed, and the estimate over the truth, at the end of every job."""
    left = TimeLeft(earlier)
    counts: dict[str, int] = {}
    for rule, *_ in jobs:
        counts[rule] = counts.get(rule, 0) + 1
    left.plan(counts)
    events = sorted(
        [(b, 0, i) for i, (_, _, b, _) in enumerate(jobs)] + [(e, 1, i) for i, (_, _, _, e) in enumerate(jobs)]
    )
    end = max(e for *_, e in jobs)
    found = []
    for now, ends, i in events:
        if not ends:
            left.start(i, jobs[i][0], now, jobs[i][1])
            continue
        left.finish(i, now)
        if now < end:
            found.append((now / end, left.seconds_left(now) / (end - now)))
    return found, left


def test_equal_jobs_two_at_a_time():
    jobs = [("predict", str(i), 10.0 * (i // 2), 10.0 * (i // 2) + 10) for i in range(20)]
    found, _ = played(jobs)
    assert all(0.5 < ratio < 1.6 for share, ratio in found if share >= 0.2)


def test_a_second_run_knows_how_long_each_job_took():
    jobs = [("train_model", "short", 0.0, 10.0), ("train_model", "long", 10.0, 1010.0)]
    first, left = played(jobs)
    assert first[0][1] < 0.2, "nobody can know that before"
    again, _ = played(jobs, left.found)
    assert again[0][1] == pytest.approx(1, abs=0.01)


def test_a_slower_machine_is_told_from_the_jobs_that_have_ended():
    before = {"predict": {str(i): 10.0 for i in range(40)}}
    jobs = [("predict", str(i), 30.0 * i, 30.0 * i + 30) for i in range(40)]
    found, _ = played(jobs, before)
    assert all(0.8 < ratio < 1.2 for share, ratio in found if share >= 0.25)


def test_a_job_that_takes_longer_than_expected_has_some_time_to_go():
    left = TimeLeft()
    left.plan({"predict": 1, "train_model": 1})
    left.start(0, "predict", 0.0)
    left.finish(0, 8.0)
    left.start(1, "train_model", 8.0)
    assert left.seconds_left(3608.0) > 600


def test_failed_jobs_come_again():
    left = TimeLeft()
    left.plan({"predict": 2})
    left.start(0, "predict", 0.0)
    left.finish(0, 8.0)
    left.start(1, "predict", 8.0)
    left.fail(1, 12.0)
    assert left.running == []
    assert left.seconds_left(12.0) > 4
    assert TimeLeft().seconds_left(0.0) is None


@pytest.mark.parametrize("knows_it", [False, True])
def test_on_the_recorded_default_run_it_is_within_a_factor_of_two(knows_it):
    """From a fifth of the run on, until the last seconds."""
    jobs = [(rule, key, float(b), float(e)) for rule, key, b, e in json.loads(RECORDED.read_text())]
    _, left = played(jobs)
    found, _ = played(jobs, left.found if knows_it else None)
    judged = [ratio for share, ratio in found if 0.2 <= share <= 0.97]
    assert len(judged) > 50
    assert max(judged) < 2
    assert min(judged) > 0.5


def test_durations_are_kept_beside_those_of_earlier_runs(tmp_path):
    path = tmp_path / "durations.json"
    write_durations(path, {"a": {"x": 1.0, "y": 2.0}}, {"a": {"x": 3.0}, "b": {"": 4.0}})
    assert read_durations(path) == {"a": {"x": 3.0, "y": 2.0}, "b": {"": 4.0}}
    path.write_text('{"a": {"x":')
    assert read_durations(path) == {}
    assert key_of({"study": "s", "fold": 0}) == "study=s/fold=0"
