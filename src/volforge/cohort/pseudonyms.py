"""Pseudonyms of subjects and scans by a keyed hash; the key lies in a file of its own, aside from all results."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volforge.cohort.sheet import COLUMNS, FILE_COLUMNS, SheetRow, from_here, read_sheet
from volforge.errors import ProblemsError, VolforgeError, errors_of
from volforge.tables.characters import looks_of
from volforge.whole_file import refuse_places, write_whole

KIND = "volforge key of pseudonyms"
DIGITS = 10  # of hexadecimal: two of 10,000 subjects share one with a chance of 5e-5, and that is refused
PRIVATE = 0o600


@dataclass
class Pseudonyms:
    """Names by a key.

    Attributes:
        key: Secret bytes.
        subjects: Subject by pseudonym, of all sheets that the key was used for: the way back.
    """

    key: bytes
    subjects: dict[str, str] = field(default_factory=dict)

    def subject(self, name: str) -> str:
        """The pseudonym of a subject; names that look alike are one.

        Raises:
            VolforgeError: Two subjects would share one.
        """
        looks = looks_of(name)
        made = f"p{self._digest('subject', looks)}"
        known = self.subjects.setdefault(made, name)
        if looks_of(known) != looks:
            raise VolforgeError("two subjects would share a pseudonym", made, "use another key file")
        return made

    def scan(self, subject: str, scan: str) -> str:
        """The name of a scan: its subject's pseudonym and a hash of its own name."""
        return f"{self.subject(subject)}-{self._digest('scan', scan)[:6]}"

    def frame(self, frame: str) -> str:
        """A frame of reference; empty stays empty."""
        return f"f{self._digest('frame', frame)[:8]}" if frame else ""

    def _digest(self, kind: str, text: str) -> str:
        return hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()[:DIGITS]


def open_key(path: Path, beside: Collection[Path] = ()) -> Pseudonyms:
    """Read a key file, or make a new key where there is none (`keep_key` writes it).

    Args:
        path: The key file.
        beside: Folders that it must not lie in.

    Raises:
        VolforgeError: It lies in a folder of results, others may read it, or it is something else.
    """
    _refuse_place(path, beside)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Pseudonyms(secrets.token_bytes(32))
    except (OSError, ValueError) as error:
        raise VolforgeError(f"the key file cannot be read: {error}", str(path), "name another one") from error
    if mode & 0o077:
        raise VolforgeError(f"others may read the key file (mode {mode:o})", str(path), f"chmod 600 {path}")
    try:
        if content["kind"] != KIND:
            raise ValueError("another kind of file")
        key = bytes.fromhex(content["key"])
        subjects = {str(k): str(v) for k, v in content["subjects"].items()}
        if len(key) < 16:
            raise ValueError("a short key")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VolforgeError(f"not a key file: {error}", str(path), "name a new file, or the one made before") from error
    return Pseudonyms(key, subjects)


def keep_key(path: Path, names: Pseudonyms) -> None:
    """Write a key file that its owner alone may read, whole or not at all."""
    content = {"kind": KIND, "key": names.key.hex(), "subjects": dict(sorted(names.subjects.items()))}
    before = os.umask(0o077)  # from its first byte on
    try:
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    finally:
        os.umask(before)
    path.chmod(PRIVATE)


def _refuse_place(path: Path, beside: Collection[Path]) -> None:
    """A key that lies in results goes with them to whoever gets them."""
    place = path.absolute().parent.resolve()
    for folder in (place, *place.parents):
        is_results = folder.name == "results" or all((folder / n).exists() for n in ("report.json", "cohorts"))
        if is_results or folder in {f.resolve() for f in beside}:
            raise VolforgeError("a key must not lie in a folder that is passed on", str(path), "name a place aside")


def pseudonymise_sheet(sheet: Path, key_file: Path, out: Path, keep: Sequence[str] = ()) -> tuple[int, int]:
    """Write a sheet whose subjects, scans and frames have pseudonyms.

    Free columns and comments may name patients: they are left out, but for those that are asked for.

    Args:
        sheet: Sheet to read.
        key_file: Key; made where there is none. The same key gives the same names.
        out: Sheet to write, .tsv.
        keep: Free columns to keep.

    Returns:
        Numbers of scans and of subjects.

    Raises:
        VolforgeError: The sheet has errors; a column is not there; see `open_key`.
    """
    refuse_places({"--out": out}, {"the sheet": sheet, "the key": key_file})
    names = open_key(key_file, [out.absolute().parent])
    table = read_sheet(sheet, check_files=False)
    if errors_of(table.problems):
        raise ProblemsError(table.problems)
    absent = [c for c in keep if not any(c in r.free for r in table.rows)]
    if absent:
        raise VolforgeError(f"the sheet has no column {', '.join(absent)}", str(sheet), "name a free column of it")
    base = out.absolute().parent
    lines = [_line(row, names, base, keep) for row in table.rows]
    used = [c for c in COLUMNS if any(line.get(c) for line in lines) or c in ("subject", "scan", "modality")]
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [*used, *keep], delimiter="\t", lineterminator="\n", restval="", extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(lines)
    keep_key(key_file, names)  # before the sheet: names without a way back are lost
    write_whole(out, f"# subjects and scans have pseudonyms; the key lies elsewhere\n{buffer.getvalue()}")
    return len(lines), len({line["subject"] for line in lines})


def _line(row: SheetRow, names: Pseudonyms, base: Path, keep: Sequence[str]) -> dict[str, str]:
    plain = ("modality", "contrast", "unit", "label_source", "split")
    cells = {c: getattr(row, c) for c in plain} | {c: row.free.get(c, "") for c in keep}
    cells |= {"fold": "" if row.fold is None else str(row.fold)}
    for column in FILE_COLUMNS:
        if column in row.files:
            path = Path(from_here(row.files[column])).absolute()
            cells[column] = path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
    return {
        "subject": names.subject(row.subject), "scan": names.scan(row.subject, row.scan),
        "frame": names.frame(row.frame), **cells,
    }  # fmt: skip


def without_names(text: str, old: Collection[str], names: Pseudonyms) -> str:
    """A remark in which subjects are called by their pseudonyms."""
    for name in sorted(old, key=len, reverse=True):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", names.subject(name), text)
    return text
