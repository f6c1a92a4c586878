"""What the benchmark of large volumes reads of a run."""

import json
import os

from benchmarks.scale_volumes import line_of, processes, quarters, seconds_by_rule, write_sheet


def test_seconds_of_jobs_stand_in_the_order_in_which_they_began(tmp_path):
    events = [
        {"event": "run", "time": 0.0},
        {"event": "start", "id": 4, "rule": "cut_scan", "time": 1.0},
        {"event": "start", "id": 7, "rule": "cut_scan", "time": 2.0},
        {"event": "finish", "id": 7, "time": 2.5},
        {"event": "start", "id": 1, "rule": "report", "time": 3.0},
        {"event": "finish", "id": 4, "time": 4.0},
        {"event": "finish", "id": 1, "time": 5.0},
    ]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    assert seconds_by_rule(tmp_path / "journal.jsonl") == {"cut_scan": [3.0, 0.5], "report": [2.0]}


def test_quarters_are_medians_of_the_first_and_the_last_values():
    assert quarters([1.0, 3.0, 9.0, 9.0, 9.0, 9.0, 7.0, 5.0]) == (2.0, 6.0)
    assert quarters([2.0]) == (2.0, 2.0)


def test_processes_are_those_of_the_run_alone():
    assert line_of(5, {5: 3, 3: 1, 1: 1, 9: 1}) == [5, 3, 1]
    found = {pid for pid, _, _ in processes(os.getpid())}
    assert os.getpid() in found
    assert os.getppid() not in found


def test_many_names_share_few_volumes_and_so_many_scans_are_tested(tmp_path):
    (tmp_path / "data").mkdir()
    for n in range(6):
        for kind in ("image", "labels"):
            (tmp_path / f"data/v{n}_{kind}.nii.gz").touch()
    write_sheet(tmp_path, 20, 5)
    splits = [line.split("\t")[-1] for line in (tmp_path / "sheet.tsv").read_text().splitlines()[1:]]
    assert splits == ["train"] * 4 + ["test"] * 5 + ["val"] * 11
    assert (tmp_path / "data/s013_image.nii.gz").samefile(tmp_path / "data/v1_image.nii.gz")
