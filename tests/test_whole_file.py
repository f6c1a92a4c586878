"""A disk that takes no more: words with the file and the space, nothing half-written, what was there stays."""

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

from volforge.cli import main
from volforge.errors import ScanError, VolforgeError
from volforge.training.checkpoint import LAST, write_checkpoint
from volforge.volume.folders import whole_folder
from volforge.whole_file import write_whole


@pytest.fixture
def full(monkeypatch):
    """Every write fails as on a full disk."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(os, "fsync", refuse)


def half_fill(final, error):
    with whole_folder(final) as folder:
        (folder / "half").touch()
        raise error


def test_a_file_names_itself_its_size_and_the_space_left(tmp_path, full):
    path = tmp_path / "deep" / "a.tsv"
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(
        VolforgeError, match=r"the disk is full \(1,000 bytes are needed, [\d.,]+ MB are free\)"
    ) as error:
        write_whole(path, b"x" * 1000)
    assert error.value.where == str(path)
    assert f"disk of {path.parent}" in error.value.remedy
    assert [p.name for p in path.parent.iterdir()] == ["a.tsv"]
    assert path.read_text() == "old"


def test_a_checkpoint_that_fits_no_more_leaves_the_last_one(tmp_path, full):
    (tmp_path / LAST).write_text("old")
    with pytest.raises(VolforgeError, match="the disk is full"):
        write_checkpoint(tmp_path / LAST, {"step": 1})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {LAST: "old"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("PytorchStreamWriter failed: No space left on device"),
        ValueError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_folder_that_a_library_could_not_fill_is_named_and_does_not_appear(tmp_path, error):
    with whole_folder(tmp_path / "model") as folder:
        (folder / "old").touch()
    with pytest.raises(VolforgeError, match=r"model: cannot be written: the disk is full \([\d.,]+ MB are free\)"):
        half_fill(tmp_path / "model", error)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model/old").exists()


def test_a_library_that_says_nothing_is_understood_where_no_space_is_left(tmp_path, monkeypatch):
    def fail(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 0, free))
        with whole_folder(tmp_path / "cut"):
            raise RuntimeError("Error while creating the schunk")

    with pytest.raises(VolforgeError, match=r"the disk is full \(100 bytes are free\)"):
        fail(100)
    with pytest.raises(RuntimeError, match="schunk"):
        fail(1 << 29)


def test_what_else_goes_wrong_in_a_folder_stays_what_it_is(tmp_path):
    for error in (ScanError("refused"), KeyError("x"), FileNotFoundError(errno.ENOENT, "no file", "in.nii.gz")):
        with pytest.raises(type(error)), whole_folder(tmp_path / "out"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_an_error_within_a_folder_names_the_folder_that_was_asked_for(tmp_path, full):
    with pytest.raises(VolforgeError) as error, whole_folder(tmp_path / "out") as folder:
        write_whole(folder / "a.json", "{}")
    assert error.value.where == str(tmp_path / "out/a.json")
    assert error.value.remedy.startswith(f"free some space on the disk of {tmp_path},")


def test_places_that_are_none_are_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VolforgeError, match=f"{tmp_path / 'file'} is a file, not a folder"):
        write_whole(tmp_path / "file/a.tsv", "")
    with pytest.raises(VolforgeError, match=f"{tmp_path / 'file'} is a file"), whole_folder(tmp_path / "file/out"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(VolforgeError, match="cannot be written: Is a directory"):
        write_whole(tmp_path / "folder", "")
    with pytest.raises(VolforgeError, match="cannot be written: File name too long"):
        write_whole(tmp_path / ("x" * 300), "")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.svg"), "volforge: x.svg: cannot be written: the disk"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "in.nii"), "volforge: in.nii: permission denied"),
        (OSError(errno.EIO, "Input/output error", b"in.nii"), "volforge: in.nii: input/output error"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_ends_a_command_with_words(monkeypatch, capsys, error, words):
    def fail(_):
        raise error

    monkeypatch.setattr("volforge.weights.cached", fail)
    monkeypatch.setattr(sys, "argv", ["volforge", "weights", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert words in printed
    assert "remedy" in printed
