"""Result folders that appear whole, and the hashes of what went into them."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.scratch import remove, scratch_beside, sweep
from volforge.whole_file import is_full, not_written, write_whole, writing

MARKER = ".volforge"  # tells our folders from those of the user
OURS = "name a file that this version of volforge made"


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A scratch folder beside `final` that takes its place when the block ends, and vanishes if it fails.

    Where the file system can exchange two names, there is a whole folder at every moment; else there is none between
    two renames, and one that a killed process left moved aside is put back at the next start.

    Raises:
        VolforgeError: `final` is a file, or holds files that were not made this way; it cannot be written, or the disk
            is full.
    """
    if final.is_symlink():
        final = final.resolve()
    refuse_foreign(final)
    scratch = scratch_beside(final)
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        sweep(final.parent)
        scratch.mkdir()
    try:
        with writing(final):
            (scratch / MARKER).touch()
        yield scratch
        _take_place(scratch, final)
    except VolforgeError as error:  # the scratch folder is gone when this is read
        error.where = error.where.replace(str(scratch), str(final))
        error.remedy = error.remedy.replace(str(scratch), str(final.parent))
        raise
    except Exception as error:
        if is_full(error, final):
            raise not_written(error, final) from error
        raise
    finally:
        remove(scratch)  # the new one that failed, or the old one after an exchange


def refuse_foreign(final: Path) -> None:
    """Refuse a folder to write that holds what is not ours; to be asked before long work too.

    Raises:
        VolforgeError: It is a file, or holds files that were not made by `whole_folder`.
    """
    if _is_no_folder(final):
        raise VolforgeError("a folder is written, and this is a file", str(final), "name a new or empty folder")
    if _is_foreign(final):
        raise VolforgeError(
            "the folder holds files that volforge did not make, and would be replaced",
            str(final),
            "name a new or empty folder",
        )


def _is_no_folder(path: Path) -> bool:
    """Whether something else than a folder has this name. One look: a folder may be moved away between two."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_foreign(folder: Path) -> bool:
    """Whether a folder holds something, and was not made here.

    One that another process moves away and empties while it is listed may lack its mark by then: looked at again.
    """
    for _ in range(100):
        try:
            before = folder.stat()
            held = os.listdir(folder)
            after = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not held or MARKER in held:
            return False
        if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
            return True
    return True


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
        again = "other processes replace the folder all the time"
        raise VolforgeError(again, str(final), "end all runs but one", may_pass=True)
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


def read_object(path: Path, what: str, *keys: str) -> dict[str, Any]:
    """Read a JSON object of ours.

    Args:
        path: The file.
        what: What it should be, for the message: `the record of a scan`.
        keys: Keys that it must have.

    Raises:
        VolforgeError: there is none, or it is of another kind.
    """
    content = read_json(path)
    missing = [k for k in keys if not isinstance(content, dict) or k not in content]
    if not isinstance(content, dict) or missing:
        reason = f": it has no {', '.join(missing)}" if isinstance(content, dict) else ": it is no JSON object"
        raise VolforgeError(f"not {what}{reason}", str(path), OURS)
    return content


def record_beside(volume: Path) -> Path:
    """The JSON file beside a volume, `.nii.gz`, that says how it was made."""
    return volume.with_name(volume.name.removesuffix(".nii.gz") + ".json")


def refuse_record(record: Path, key: str) -> None:
    """Refuse to write a record over a JSON file of another origin: the sidecar of a scan, say.

    Args:
        record: JSON file to write.
        key: That records of this kind have, and no others.

    Raises:
        VolforgeError: There is such a file.
    """
    if not record.exists():
        return
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        content = None
    if not isinstance(content, dict) or key not in content:
        text = "the record of --out would be written over a file that is no record of an image"
        raise VolforgeError(text, str(record), "name another --out, or move that file away")


@contextmanager
def form_of(path: Path, what: str) -> Iterator[None]:
    """A block that takes apart what a file of ours holds: another form is an error that names the file.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        VolforgeError: the block met another form than it expects.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = f"it has no {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)
        raise VolforgeError(f"not {what}: {reason}", str(path), OURS) from error


def read_rows(path: Path, what: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a TSV of ours.

    Args:
        path: The file.
        what: What it should be, for the message: `the scans.tsv of a cohort`.
        columns: Columns that it must have.

    Raises:
        VolforgeError: there is none, or it is of another kind.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            rows, names = list(reader), reader.fieldnames or ()
    except FileNotFoundError as error:
        raise VolforgeError("file not found", str(path), "make it first, or check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise VolforgeError(f"not {what}: it is no table of text", str(path), OURS) from error
    missing = [c for c in columns if c not in names]
    if missing:
        raise VolforgeError(f"not {what}: columns are missing: {', '.join(missing)}", str(path), OURS)
    return rows
