"""The table of benchmarks: turns, ratios, what is said of peers that differ, lead, or are not there."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from benchmarks.compare import TOPICS, lines_of, main
from benchmarks.default_run import where_time_goes
from benchmarks.page import write_page
from benchmarks.rows import Line, Peer, Row, close, identical, measured

from tests.conftest import ROOT


def lines(row, quick=True):
    return list(measured("topic", row, quick=quick))


def told(values):
    """A call that tells these values one after the other, and always the same result."""
    left = iter(values)
    return lambda: (next(left), "same")


def test_a_ratio_is_that_of_one_turn_and_the_median_over_turns():
    ours, theirs = [9.0, 1.0, 2.0, 4.0], [9.0, 2.0, 12.0, 12.0]  # the first call is compared, and does not count
    row = Row("work", told(ours), (Peer("other", told(theirs)),), turns=3, measures_itself=True, unit="MiB")
    (found,) = lines(row, quick=False)
    assert (found.ours, found.theirs) == (2.0, 12.0)
    assert (found.ratio, found.low, found.high, found.turns) == (3.0, 2.0, 6.0, 3)
    assert found.agreement == "equal"
    assert not found.is_wrong


def test_ours_and_peers_take_turns_and_nobody_is_always_first():
    said = []

    def call(name):
        return lambda: (said.append(name), (1.0, "same"))[1]

    row = Row("work", call("a"), (Peer("b", call("b")),), turns=3, measures_itself=True, unit="MiB")
    lines(row, quick=False)
    assert said == ["a", "b", "a", "b", "b", "a", "a", "b"]


def test_results_that_differ_are_an_error_with_the_difference():
    row = Row("work", lambda: np.array([1.0, 2.0]), (Peer("other", lambda: np.array([1.0, 2.1]), close(1e-3)),))
    (found,) = lines(row)
    assert found.is_wrong
    assert "results differ" in found.problem
    assert "1 / 2" in found.problem
    assert lines(Row("work", lambda: 1, (Peer("other", lambda: 2, identical),)))[0].is_wrong


def test_a_peer_that_is_not_installed_is_a_line():
    def never():
        raise AssertionError("not to be called")

    row = Row("work", lambda: 1, (Peer("absent", never, needs=("no_such_module",)), Peer("here", lambda: 1)))
    absent, here = lines(row)
    assert absent.problem == "not measured: no_such_module is not installed"
    assert absent.turns == 0
    assert not absent.is_wrong
    assert here.turns == 1


def test_a_part_is_counted_up():
    row = Row("work", told([1.0] * 9), (Peer("part", told([2.0] * 9), share=0.1),), measures_itself=True)
    assert lines(row)[0].ratio == pytest.approx(20)


def test_seconds_are_those_of_the_clock():
    row = Row("work", lambda: time.sleep(0.03), (Peer("slow", lambda: time.sleep(0.09)),))
    (found,) = lines(row)
    assert found.ours >= 0.03
    assert found.theirs >= 0.09


@pytest.mark.parametrize(
    ("ratio", "is_limit", "is_behind"),
    [(0.9, False, True), (0.97, False, False), (2.0, False, False), (0.6, True, True), (0.7, True, False)],
)
def test_who_leads_must_have_a_reason(ratio, is_limit, is_behind):
    peer = Peer("other", told([ratio] * 9), is_limit=is_limit, why="since it is so")
    (found,) = lines(Row("work", told([1.0] * 9), (peer,), measures_itself=True))
    assert found.is_behind == is_behind
    assert found.note == ("since it is so" if is_behind else "")


def test_a_promise_that_is_missed_fails_but_not_with_small_sizes():
    def row():
        peer = Peer("other", told([3.0] * 9), least=5.0)
        return Row("work", told([1.0] * 9), (peer,), turns=3, measures_itself=True, unit="MiB")

    assert lines(row(), quick=False)[0].is_wrong
    assert "promised 5" in lines(row(), quick=False)[0].problem
    assert not lines(row())[0].is_wrong


def test_a_topic_that_fails_is_a_line_and_the_run_ends_with_1(monkeypatch, capsys):
    import benchmarks.bench_windows as module

    def rows(scale):
        yield Row("first", lambda: 1)
        raise ValueError("no such thing")

    monkeypatch.setattr(module, "rows", rows)
    first, failed = lines_of("windows", quick=True)
    assert first.kind == "alone"
    assert failed.is_wrong
    assert failed.problem == "failed: ValueError: no such thing"
    assert main(["--quick", "--only", "windows"]) == 1
    assert "no such thing" in capsys.readouterr().err


def test_the_page_shows_every_line_and_the_picture_every_ratio(tmp_path):
    shown = [
        Line("A", "one", "x", "peer", "s", 0.5, 1.0, 2.0, 1.5, 2.5, 5, "equal"),
        Line("A", "one", "y", "peer", "s", problem="not measured: y is not installed"),
        Line("B", "two", "z", "limit", "s", 3.0, 1.0, 1 / 3, 0.3, 0.4, 5, "equal", note="since"),
        Line("B", "three", "", "alone", "MiB", 12345.0, turns=3),
    ]
    write_page(tmp_path, shown, run=tmp_path, seconds=60, quick=False)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| one | 0.500 s | x | 1.00 s | 2.00 (1.50 to 2.50) | equal |  |" in page
    assert "|  |  | y |  |  |  | not measured: y is not installed |" in page
    assert "| two | 3.00 s | z (limit) | 1.00 s | *0.333 (0.300 to 0.400)* | equal | since |" in page
    assert "| three | 12,300 MiB |" in page
    assert "there is no finished run" in page
    picture = (tmp_path / "benchmarks.svg").read_text()
    assert "one: x" in picture
    assert "two: z" in picture
    assert "three" not in picture
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [n["peer"] for n in content["lines"]] == ["x", "y", "z", ""]
    assert content["lines"][1]["ratio"] is None
    assert len((tmp_path / "benchmarks.tsv").read_text().splitlines()) == 5


def test_where_the_time_of_a_run_goes(tmp_path):
    journal = tmp_path / ".snakemake/volforge/journal.jsonl"
    journal.parent.mkdir(parents=True)
    events = [
        {"event": "run", "time": 0.0},
        {"event": "start", "id": 1, "rule": "train_model", "time": 1.0},
        {"event": "start", "id": 2, "rule": "measure", "time": 2.0},
        {"event": "finish", "id": 2, "time": 3.0},
        {"event": "start", "id": 3, "rule": "measure", "time": 3.0},
        {"event": "finish", "id": 1, "time": 10.0},
        {"event": "fail", "id": 3, "time": 11.0},
        {"event": "end", "time": 12.0},
    ]
    journal.write_text("".join(json.dumps(e) + "\n" for e in events) + '{"event": "fin')  # a line that was cut
    (tmp_path / "benchmarks/jobs/train_model/s").mkdir(parents=True)
    (tmp_path / "benchmarks/jobs/train_model/s/1.tsv").write_text("s\tmax_rss\n9.0\t321.4\n")
    text = "\n".join(where_time_goes(tmp_path))
    assert "2 jobs in 0.2 minutes by the wall, 10 seconds of jobs" in text
    assert "| `train_model` | 1 | 9 | 90% | 9.0 | 321 |" in text
    assert "| `measure` | 1 | 1 | 10% | 1.0 |  |" in text


def test_every_bench_file_is_a_topic():
    assert {p.stem for p in (ROOT / "benchmarks").glob("bench_*.py")} == {f"bench_{t}" for t in TOPICS}


def test_the_results_of_every_row_agree(tmp_path):
    """All rows, small, in a process of their own: they set the threads of libraries."""
    words = [sys.executable, "-m", "benchmarks.compare", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "benchmarks.json").read_text())["lines"]
    assert {n["topic"] for n in found} == set(TOPICS.values())
    assert all(n["turns"] == 1 or "is not installed" in n["problem"] for n in found)
