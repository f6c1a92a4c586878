"""Result folders that appear whole, and the hashes of what went into them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.whole_file import is_full, not_written, write_whole, writing

MARKER = ".volforge"  # tells our folders from those of the user


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A scratch folder beside `final` that takes its place when the block ends, and vanishes if it fails.

    Raises:
        VolforgeError: `final` holds files that were not made this way; it cannot be written, or the disk is full.
    """
    if final.is_dir() and any(final.iterdir()) and not (final / MARKER).exists():
        raise VolforgeError(
            "the folder holds files that volforge did not make, and would be replaced",
            str(final),
            "name a new or empty folder",
        )
    scratch = final.parent / f".{final.name}.{os.getpid()}.partial"
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        for left in final.parent.glob(f".{final.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)  # of a job that was killed
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        (scratch / MARKER).touch()
    try:
        yield scratch
        old = final.parent / f".{final.name}.{os.getpid()}.old"
        if final.exists():
            final.rename(old)
        scratch.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    except VolforgeError as error:  # the scratch folder is gone when this is read
        error.where = error.where.replace(str(scratch), str(final))
        error.remedy = error.remedy.replace(str(scratch), str(final.parent))
        raise
    except Exception as error:
        if is_full(error, final):
            raise not_written(error, final) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
