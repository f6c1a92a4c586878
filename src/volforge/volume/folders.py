"""Result folders that appear whole, and the hashes of what went into them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.scratch import remove, scratch_beside, sweep
from volforge.whole_file import write_whole

MARKER = ".volforge"  # tells our folders from those of the user


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A scratch folder beside `final` that takes its place when the block ends, and vanishes if it fails.

    Where the file system can exchange two names, there is a whole folder at every moment; else there is none between
    two renames, and one that a killed process left moved aside is put back at the next start.

    Raises:
        VolforgeError: `final` is a file, or holds files that were not made this way.
    """
    if final.is_symlink():
        final = final.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep(final.parent)
    if final.exists() and not final.is_dir():
        raise VolforgeError("a file stands where a folder is to be written", str(final), "name a new or empty folder")
    if _is_foreign(final):
        raise VolforgeError(
            "the folder holds files that volforge did not make, and would be replaced",
            str(final),
            "name a new or empty folder",
        )
    scratch = scratch_beside(final)
    scratch.mkdir()
    try:
        (scratch / MARKER).touch()
        yield scratch
        _take_place(scratch, final)
    finally:
        remove(scratch)  # the new one that failed, or the old one after an exchange


def _is_foreign(folder: Path) -> bool:
    """Whether a folder holds something, and was not made here. One listing: it may be replaced meanwhile."""
    try:
        held = os.listdir(folder)
    except FileNotFoundError:
        return False
    return bool(held) and MARKER not in held


def _take_place(scratch: Path, final: Path) -> None:
    """Let a folder take the place of another one; other processes may do the same at the same time."""
    moved: list[Path] = []
    try:
        for _ in range(100):
            try:
                scratch.rename(final)  # nothing there, or an empty folder
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if exchange(scratch, final):
                return
            old = scratch_beside(final, "old")
            try:
                final.rename(old)
                moved.append(old)
            except FileNotFoundError:  # another process moved it
                continue
        raise VolforgeError("other processes replace the folder all the time", str(final), "end all runs but one")
    except BaseException:
        if moved and not final.exists():
            moved.pop().rename(final)
        raise
    finally:
        for old in moved:
            remove(old)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once (`renameat2`, RENAME_EXCHANGE). False where system or file system cannot."""
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    at_here, exchange_them = -100, 2
    return bool(rename(at_here, os.fsencode(one), at_here, os.fsencode(other), exchange_them) == 0)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files below a folder."""
    digest = hashlib.sha256()
    if path.is_dir():
        for item in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{item.relative_to(path).as_posix()}\0{sha256_of(item)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON, one key per line, the same bytes for the same content."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        VolforgeError: there is none, or it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise VolforgeError("file not found", str(path), "make it first, or check the path") from error
    except ValueError as error:
        raise VolforgeError(f"not JSON: {error}", str(path), "make it anew") from error
