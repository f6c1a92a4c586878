"""Files that belong together: what stands behind a header, a list or a folder. No heavy import here."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from volforge.text_lines import lines_of

CHANNEL = re.compile(r"(.+\.(?:nii|nii\.gz|dcm|dicom|ima))#(\d{1,4})", re.IGNORECASE)
ANY = re.compile(r"(.+)#(\d{1,4})")
DATA_KEYS = {".mhd": (b"=", b"elementdatafile"), ".mha": (b"=", b"elementdatafile")} | dict.fromkeys(
    (".nhdr", ".nrrd"), (b":", b"datafile")
)
LARGEST_HEADER = 1 << 20  # bytes
SMALL = 1 << 16  # bytes: a `.mha` or `.nrrd` that is larger holds its values itself, and is not opened to find that


def channel_of(path: str) -> tuple[str, int | None]:
    """The file of a path, and which of its volumes `#k` behind it names (from 0); None where it names none.

    Behind 4-D NIfTI and multi-frame DICOM files; those of DICOM may have any name, so the disk is asked.
    """
    hit = CHANNEL.fullmatch(path)
    if hit is None:
        hit = ANY.fullmatch(path)
        hit = hit if hit and not os.path.exists(path) and os.path.exists(hit[1]) else None
    return (hit[1], int(hit[2])) if hit else (path, None)


def companions(path: Path) -> list[Path]:
    """The other files of a volume that exist: `.img` of `.hdr` and the reverse, the values that
    a MetaImage or NRRD header names."""
    name = path.name
    lower = name.lower()
    for ours, theirs in ((".hdr", ".img"), (".img", ".hdr")):
        for gz in ("", ".gz"):
            if lower.endswith(ours + gz):
                stem = name[: len(name) - len(ours + gz)]
                candidates = [path.with_name(stem + t + g) for t in (theirs, theirs.upper()) for g in ("", ".gz")]
                return [c for c in candidates if c.is_file()]
    return [p for p in data_files(path) if p.is_file()]


def data_files(header: Path) -> list[Path]:
    """The files that a MetaImage or NRRD header names for its values, whether they exist or not.

    One file, a pattern with its numbers (`slice%03d.raw 1 15 1`), or `LIST` with one file per line behind it.
    Empty for headers that hold their values themselves, for other files and for those that cannot be read.
    """
    suffix = header.suffix.lower()
    if suffix not in DATA_KEYS:
        return []
    try:
        is_header = suffix in (".mhd", ".nhdr") or header.stat().st_size <= SMALL
        found = _data_value(header, *DATA_KEYS[suffix]) if is_header else []
    except OSError:
        return []
    return [header.parent / os.fsdecode(name) for name in found]


def _data_value(header: Path, mark: bytes, key: bytes) -> list[bytes]:
    """Names behind the key of a header that says where the values are."""
    with header.open("rb") as file:
        while file.tell() < LARGEST_HEADER and (line := file.readline(LARGEST_HEADER)):
            if mark == b":" and not line.strip():
                return []  # the end of an NRRD header
            name, _, value = line.partition(mark)
            if name.replace(b" ", b"").strip().lower() != key:
                continue
            value = value.strip()
            words = value.split()
            if words[:1] == [b"LIST"]:
                return [t.strip() for t in file.read(LARGEST_HEADER).split(b"\n") if t.strip()]
            if len(words) >= 3 and b"%" in words[0] and all(w.lstrip(b"-").isdigit() for w in words[1:4]):
                first, last, step = [*(int(w) for w in words[1:4]), 1][:3]
                return [_numbered(words[0], k) for k in range(first, last + (1 if step > 0 else -1), step or 1)]
            return [] if value.upper() in (b"", b"LOCAL") else [value]
    return []


def _numbered(pattern: bytes, number: int) -> bytes:
    """A printf pattern with its number; the pattern itself where it is none."""
    try:
        return pattern % number
    except (TypeError, ValueError):
        return pattern


def listed_files(path: Path) -> list[str]:
    """What a list of slices (`.txt`) or of structures (`.tsv`) names, as written; empty for other files."""
    suffix = path.suffix.lower()
    if suffix == ".tsv":
        from volforge.tables.table import read_table

        return [cells["file"] for _, cells in read_table(path).rows if cells.get("file")]
    if suffix != ".txt":
        return []
    try:
        lines = lines_of(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return []
    return [t.strip() for t in lines if t.strip() and not t.strip().startswith("#")]


def behind(path: Path) -> Iterator[tuple[str, os.stat_result | None]]:
    """All that stands behind a path and can be edited without a trace in the path itself.

    Folders are followed to the files below them (links too, hidden files left out), lists to what they name,
    headers to their values. One listing per folder.

    Yields:
        Name as from the path, and what the disk says of it, None where it is not there.
    """
    seen = {str(path)}
    yield from _below(path, "", seen) if path.is_dir() else _named_by(path, "", seen)


def _named_by(path: Path, prefix: str, seen: set[str]) -> Iterator[tuple[str, os.stat_result | None]]:
    """What a list or a header names, and what stands behind that."""
    names = listed_files(path) or [os.path.relpath(p, path.parent) for p in data_files(path) or companions(path)]
    for name in names:
        named = Path(channel_of(os.path.join(path.parent, name))[0])
        if str(named) in seen:
            continue
        seen.add(str(named))
        found = stat_of(named)
        yield f"{prefix}{name}", found
        if found is not None and stat.S_ISDIR(found.st_mode):
            yield from _below(named, f"{prefix}{name}/", seen)
        else:
            yield from _named_by(named, f"{prefix}{name}/", seen)


def _below(folder: Path, prefix: str, seen: set[str]) -> Iterator[tuple[str, os.stat_result | None]]:
    """The files below a folder, and values of headers that lie elsewhere."""
    real = f"{os.path.realpath(folder)}{os.sep}"
    if real in seen:  # a link that leads back up
        return
    seen.add(real)
    try:
        with os.scandir(folder) as listing:
            items = sorted((i for i in listing if not i.name.startswith(".")), key=lambda i: i.name)
    except OSError:
        items = []
    for item in items:
        if item.is_dir():
            yield from _below(folder / item.name, f"{prefix}{item.name}/", seen)
            continue
        try:
            yield f"{prefix}{item.name}", item.stat()
        except OSError:  # a link to nothing
            yield f"{prefix}{item.name}", None
        if Path(item.name).suffix.lower() in DATA_KEYS:
            yield from _named_by(folder / item.name, f"{prefix}{item.name}/", seen)


def stat_of(path: str | Path) -> os.stat_result | None:
    """What the disk says of a file or folder, None where there is none."""
    try:
        return os.stat(path)
    except OSError:
        return None
