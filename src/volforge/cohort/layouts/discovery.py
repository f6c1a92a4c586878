"""What a layout finds: rows, structures, and what was left out; and the tree of files that it looks in."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.tables.names import natural, plain_name

JUNK = ("__MACOSX", "Thumbs.db")


@dataclass
class Found:
    """One scan that a layout found; it becomes a row of the sheet.

    Attributes:
        subject, scan: As the data set names them; `scan` is made valid and unique when the sheet is written.
        image, labels, body_mask, defective, implant: Files or folders, absolute.
        slices: The files of a DICOM series that shares its folder; a list of them is written, and is the image.
        parts: (structure, file, value) of labels that lie in several files, or share one by value; a list of
            them is written, and is the labels.
        free: Free columns.
    """

    subject: str
    scan: str
    modality: str
    contrast: str = ""
    unit: str = ""
    frame: str = ""
    image: Path | None = None
    labels: Path | None = None
    body_mask: Path | None = None
    defective: Path | None = None
    implant: Path | None = None
    label_source: str = ""
    split: str = ""
    fold: str = ""
    channel: int | None = None
    slices: list[Path] = field(default_factory=list)
    parts: list[tuple[str, Path, str]] = field(default_factory=list)
    free: dict[str, str] = field(default_factory=dict)

    @property
    def is_labelled(self) -> bool:
        """Whether it has labels of any form."""
        return self.labels is not None or bool(self.parts)


@dataclass
class Discovery:
    """All that a layout found in a folder.

    Attributes:
        rows: Scans, in the order of the sheet.
        structures: Id by name.
        rois: Names in DICOM files that mean a structure, by structure.
        notes: Remarks for the head of the sheet (folds to set, known faults ...).
        left_out: (what, reason) of everything that was recognised and not taken.
        licence: Where the folder itself tells; empty: the layout's.
        settings: Keys that the cohort needs in the configuration.
    """

    rows: list[Found] = field(default_factory=list)
    structures: dict[str, int] = field(default_factory=dict)
    rois: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    licence: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def one_each(
        self, hits: Iterable[tuple[Any, Path]], prefer: Callable[[Path], bool] | None = None
    ) -> dict[Any, Path]:
        """Files by key: where several have one key the first is taken, and it is said that others were not.

        Args:
            hits: (key, file), in natural order.
            prefer: Files that go before others.
        """
        ranked = sorted(hits, key=lambda hit: not prefer(hit[1])) if prefer else hits
        chosen: dict[Any, Path] = {}
        others = [(path, chosen[key]) for key, path in ranked if chosen.setdefault(key, path) != path]
        for path, taken in others[:1]:
            parts = zip(path.parts, taken.parts, strict=False)
            above = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))
            other, first = ("/".join(p.parts[above:]) for p in (path, taken))
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            self.left_out.append((f"{other}{more}", f"of the same scan {first} was taken"))
        return chosen


@dataclass(frozen=True)
class Options:
    """What the user says beside folder and layout.

    Attributes:
        modality: Of all scans, where the layout does not tell.
        label_source: Of all labels, where the user knows better than the layout.
        unlabelled: Also list scans whose labels were not published.
        patterns: Pattern by column, for the layout `pattern`.
        salt: Mixed into the pseudonyms of DICOM patients.
    """

    modality: str = ""
    label_source: str = ""
    unlabelled: bool = False
    patterns: dict[str, str] = field(default_factory=dict)
    salt: str = ""


class Tree:
    """The files below a folder, listed once, without junk; layouts look for regular expressions in it."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise VolforgeError("no such folder", str(folder), "name the folder that the data set was unpacked into")
        self.folder = folder

    @cached_property
    def files(self) -> list[str]:
        """Paths relative to the folder, `/` between names, in natural order."""
        found: list[str] = []
        seen: set[tuple[int, int]] = set()

        def refuse(error: OSError) -> None:
            raise VolforgeError(f"cannot be read: {error.strerror}", str(error.filename), "mend its permissions")

        for base, folders, names in os.walk(self.folder, followlinks=True, onerror=refuse):
            about = os.stat(base)
            if (about.st_dev, about.st_ino) in seen:  # a link that leads back, or a second way to the same place
                folders.clear()
                continue
            seen.add((about.st_dev, about.st_ino))
            folders[:] = [n for n in folders if not n.startswith(".") and n not in JUNK]
            prefix = os.path.relpath(base, self.folder).replace(os.sep, "/")
            prefix = "" if prefix == "." else prefix + "/"
            found += [prefix + n for n in names if not n.startswith(".") and n not in JUNK]
        return sorted(found, key=natural)

    @cached_property
    def names(self) -> frozenset[str]:
        """The files, for looking one up."""
        return frozenset(self.files)

    def match(self, pattern: str) -> Iterator[tuple[Path, dict[str, str]]]:
        """Files whose path ends as the pattern says, with its named groups (`at`: what stands before it)."""
        compiled = re.compile(rf"(?P<at>(?:.*/)?)(?:{pattern})")
        for file in self.files:
            hit = compiled.fullmatch(_plain_suffix(file))
            if hit:
                yield self.folder / file, {k: v or "" for k, v in hit.groupdict().items()}

    def get(self, path: str) -> Path | None:
        """A file by its path in the tree, None where there is none."""
        return self.folder / path if path in self.names else None

    def relative(self, path: Path) -> str:
        """The path of a file in the tree."""
        return path.relative_to(self.folder).as_posix()


def _plain_suffix(path: str) -> str:
    """The path with its suffixes in lower case: `.NII.GZ`, `.DCM`, `.STL` are what they are."""
    stem, dot, suffix = path.rpartition(".")
    if suffix.lower() == "gz" and "." in stem:
        stem, dot, first = stem.rpartition(".")
        suffix = f"{first}.{suffix}"
    return f"{stem}{dot}{suffix.lower()}" if dot else path


def number(names: Iterable[str]) -> dict[str, int]:
    """Ids from 1, in the order of the names; their plain form, each once."""
    return {name: i for i, name in enumerate(dict.fromkeys(plain_name(n) for n in names), start=1)}


def unique(names: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Ids by plain name; a name that is empty or would stand twice is called by its id."""
    table: dict[str, int] = {}
    for name, value in sorted(names, key=lambda item: item[1]):
        key = plain_name(name)
        table[key if key and key not in table else f"structure_{value}"] = value
    return table


def is_test_folder(at: str, folder: Path | None = None) -> bool:
    """Whether a path leads through a folder that is called a test set (or that folder itself was named)."""
    path = f"{folder.name if folder else ''}/{at}".lower()
    return bool(re.search(r"(?:^|[/_ -])test[_ -]?sets?(?:[/_ -]|$)|/test/", path))


def side_of(structure: str) -> str:
    """`left` or `right` where a name says so."""
    words = structure.split("_")
    for side, letters in (("left", ("left", "l", "al", "pl")), ("right", ("right", "r", "ar", "pr"))):
        if words[-1] in letters or side in words:
            return side
    return ""


def without_labels(found: Discovery, rows: list[Found], options: Options, reason: str = "no labels published") -> None:
    """Take scans without labels if the user wants them, else say that they were left out."""
    if options.unlabelled:
        found.rows += rows
    elif rows:
        shown = f"{rows[0].scan}" + (f" ... {rows[-1].scan}" if len(rows) > 1 else "")
        found.left_out.append((f"{len(rows)} scans ({shown})", f"{reason}; --unlabelled lists them too"))
