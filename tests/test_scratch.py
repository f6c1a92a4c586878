"""Folders and files that appear whole: whose scratch is removed, whose is not, and what a reader finds meanwhile."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from volforge import scratch
from volforge.errors import VolforgeError
from volforge.scratch import SILENT_S, scratch_beside, sweep
from volforge.volume import folders
from volforge.volume.folders import MARKER, exchange, whole_folder
from volforge.whole_file import write_whole

KILLED = """
import os, sys
from pathlib import Path
from volforge.volume.folders import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    os._exit(9)
"""
KILLED_BETWEEN = """
import os, sys
from pathlib import Path
from volforge.volume import folders
folders.exchange = lambda one, other: False
rename = Path.rename
def die(path, target):
    if path.name.endswith(".partial") and done:
        os._exit(9)
    done.append(path) if target.name.endswith(".old") else None
    return rename(path, target)
done = []
Path.rename = die
with folders.whole_folder(Path(sys.argv[1])) as folder:
    (folder / "value").write_text("new")
"""


def put(final: Path, text: str) -> None:
    with whole_folder(final) as folder:
        (folder / "value").write_text(text)
        (folder / "same").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def killed(program: str, final: Path) -> None:
    assert subprocess.run([sys.executable, "-c", program, str(final)], check=False).returncode == 9


@pytest.mark.parametrize("other", ["case1.2", "case1.partial", "case1.0123abcd-1-2-3", "case1.2.partial", "case1"])
def test_the_start_of_a_scan_leaves_the_running_scratch_of_others_alone(tmp_path, other):
    with whole_folder(tmp_path / other) as running:
        put(tmp_path / "case1", "mine")
        assert (running / MARKER).exists()
        (running / "value").write_text("theirs")
    assert (tmp_path / other / "value").read_text() == "theirs"
    assert names(tmp_path) == sorted({"case1", other})


def test_scratch_of_another_machine_stays_until_it_was_silent_for_long(tmp_path, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(scratch, "_machine", lambda: "00000000")
        live, left = scratch_beside(tmp_path / "case1"), scratch_beside(tmp_path / "case1")
    for folder in (live, left):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/image").touch()
    long_ago = time.time() - SILENT_S - 1
    for path in (left / "deep/image", left / "deep", left, live, live / "deep"):
        os.utime(path, (long_ago, long_ago))
    put(tmp_path / "case1", "mine")
    assert names(tmp_path) == sorted(["case1", live.name])
    assert (live / "deep/image").exists()  # a file of it is young


def test_scratch_of_a_killed_process_goes_at_the_next_start_of_any_scan(tmp_path):
    killed(KILLED, tmp_path / "case1")
    assert [n for n in names(tmp_path) if n.startswith(".case1.")]
    put(tmp_path / "case2", "x")
    assert names(tmp_path) == ["case2"]


def test_a_process_number_that_was_given_again_is_no_owner(tmp_path):
    mine = scratch_beside(tmp_path / "a")
    machine, pid, start, number = mine.name.split(".")[2].split("-")
    earlier = tmp_path / f".a.{machine}-{pid}-{int(start) - 1}-{number}.partial"
    mine.mkdir()
    earlier.mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == [mine.name]


def test_a_folder_that_was_moved_aside_is_put_back(tmp_path):
    put(tmp_path / "case1", "old")
    killed(KILLED_BETWEEN, tmp_path / "case1")
    assert not (tmp_path / "case1").exists()  # the window that a file system without exchange leaves
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "case1"):
        raise RuntimeError
    assert (tmp_path / "case1/value").read_text() == "old"
    assert names(tmp_path) == ["case1"]
    killed(KILLED_BETWEEN, tmp_path / "case1")
    put(tmp_path / "case1", "newest")
    assert (tmp_path / "case1/value").read_text() == "newest"
    assert names(tmp_path) == ["case1"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_threads_that_replace_one_folder_leave_one_whole_folder(tmp_path, monkeypatch, exchanges):
    final = tmp_path / "case1"
    put(final, "first")
    if not exchanges:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    elif not exchange(final, final):
        pytest.skip("this file system cannot exchange names")
    errors, gone, is_over = [], [], threading.Event()

    def work(number):
        try:
            for k in range(25):
                put(final, f"{number} {k}")
        except Exception as error:
            errors.append(error)

    def look():
        while not is_over.is_set():
            if not final.exists():
                gone.append(1)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    reader = threading.Thread(target=look)
    for thread in [reader, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    is_over.set()
    reader.join()
    assert errors == []
    assert names(tmp_path) == ["case1"]
    assert (final / "value").read_text() == (final / "same").read_text()
    if exchanges:
        assert gone == []


def test_a_file_where_a_folder_is_to_be_written_stays(tmp_path):
    (tmp_path / "ct.nii.gz").write_text("a scan")
    with pytest.raises(VolforgeError, match="a folder is written"), whole_folder(tmp_path / "ct.nii.gz"):
        pass
    assert (tmp_path / "ct.nii.gz").read_text() == "a scan"


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    put(tmp_path / "disk/real", "old")
    (tmp_path / "case1").symlink_to(tmp_path / "disk/real")
    put(tmp_path / "case1", "new")
    assert (tmp_path / "case1").is_symlink()
    assert (tmp_path / "disk/real/value").read_text() == "new"
    assert names(tmp_path / "disk") == ["real"]


def test_files_of_two_threads_do_not_share_their_scratch(tmp_path):
    """Writers in one process (or of one number on two machines) used one scratch file."""
    errors = []

    def work(text):
        try:
            for _ in range(200):
                write_whole(tmp_path / "table.tsv", text)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(c * 50_000,)) for c in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set((tmp_path / "table.tsv").read_text())) == 1
    assert names(tmp_path) == ["table.tsv"]
