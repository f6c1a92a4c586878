"""Files that appear whole or not at all, and words for a disk that takes no more."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.scratch import scratch_beside

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = ("no space left on device", "disk quota exceeded")
LEAST = 1 << 20  # bytes: with less left, a library's error without words is taken for that of a full disk


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that it appears whole or not at all; folders above it are made.

    Raises:
        VolforgeError: It cannot be written; nothing is left of it.
    """
    data = content.encode() if isinstance(content, str) else content
    scratch = scratch_beside(path)
    with writing(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            scratch.write_bytes(data)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, size: int | None = None) -> Iterator[None]:
    """A block that writes a file: what the system says against it becomes an error that names the file.

    Args:
        path: The file, as it will be called.
        size: Its bytes, None where they are not known.

    Raises:
        VolforgeError: The block raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise not_written(error, path, size) from error


def refuse_places(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Refuse files to write that would destroy an input or each other, or that cannot be written; before any work.

    Args:
        outputs: By option; None: not asked for.
        inputs: By option.

    Raises:
        VolforgeError: Naming the two options, or the file and why.
    """
    taken = {path.resolve(): name for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in taken:
            raise VolforgeError(f"{name} would be written over {taken[place]}", str(path), "name another file")
        taken[place] = name
        blocking = next((p for p in place.parents if p.exists() and not p.is_dir()), None)
        why = f"{blocking} is a file, not a folder" if blocking is not None else ""
        why = why or ("it is a folder" if place.is_dir() else "")
        if not why and not os.access(_standing(place), os.W_OK):
            why = f"you may not write in {_standing(place)}"
        if why:
            raise VolforgeError(f"{name} cannot be written: {why}", str(path), "name another file")


def refuse_folder(option: str, out: Path, inputs: Mapping[str, Path | None]) -> None:
    """Refuse a folder to write, which replaces what was there, where it is or holds an input.

    Args:
        option: That names it.
        out: The folder.
        inputs: By option; None: not given.

    Raises:
        VolforgeError: Naming the two options.
    """
    place = out.resolve()
    for name, path in inputs.items():
        if path is not None and place in (path.resolve(), *path.resolve().parents):
            text = f"{option} would replace the folder that holds {name}"
            raise VolforgeError(text, str(out), "name another folder")


def not_written(error: Exception, path: Path, size: int | None = None) -> VolforgeError:
    """An error for a file or folder that could not be written.

    Args:
        error: What was raised.
        path: File or folder, as it will be called.
        size: Its bytes, None where they are not known.
    """
    if is_full(error, path):
        which = "the disk quota is used up" if getattr(error, "errno", 0) == errno.EDQUOT else "the disk is full"
        needed = f"{_shown(size)} are needed, " if size is not None else ""
        free = shutil.disk_usage(_standing(path)).free
        text = f"cannot be written: {which} ({needed}{_shown(free)} are free)"
        remedy = f"free some space on the disk of {_standing(path)}, or write elsewhere"
        return VolforgeError(text, str(path), remedy, may_pass=True)
    reason = getattr(error, "strerror", None) or str(error)
    blocking = next((p for p in path.parents if p.exists() and not p.is_dir()), None)
    if blocking is not None:
        return VolforgeError(f"cannot be written: {blocking} is a file, not a folder", str(path), "name another place")
    remedy = "check the path, and whether you may write there"
    return VolforgeError(f"cannot be written: {reason}", str(path), remedy, may_pass=True)


def is_full(error: Exception, path: Path) -> bool:
    """Whether an error is that of a full disk: libraries that write by themselves raise kinds of their own."""
    if isinstance(error, OSError):
        return error.errno in FULL
    if any(words in str(error).lower() for words in FULL_WORDS):
        return True
    return isinstance(error, RuntimeError) and shutil.disk_usage(_standing(path)).free < LEAST


def _standing(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next(p for p in path.absolute().parents if p.is_dir())


def _shown(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} bytes"
