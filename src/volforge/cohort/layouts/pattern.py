"""A free pattern with named fields, for data sets that no layout knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree
from volforge.cohort.sheet import MODALITIES
from volforge.errors import VolforgeError
from volforge.tables.names import plain_name
from volforge.volume.dicom.names import FileNames, table_of

FIELDS = ("subject", "scan", "modality", "contrast", "unit", "frame", "split", "fold", "label_source")
FILES = ("labels", "body_mask", "defective", "implant")


class Index(NamedTuple):
    """Paths by the values of the fields that a pattern shares with that of the images."""

    shared: tuple[str, ...]
    hits: dict[tuple[str, ...], set[str]]


def to_regex(pattern: str) -> str:
    """A pattern as a regular expression: `{name}` matches within one folder or file name, `*` too, `**` across.

    Raises:
        VolforgeError: braces that do not close, or a field that is no name.
    """
    parts, seen = [], set()
    for piece in re.split(r"(\{[^{}]*\}|\*\*/?|\*)", pattern):
        if piece.startswith("{") and piece.endswith("}"):
            name = piece[1:-1]
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise VolforgeError(f"'{piece}' is no field", pattern, "write {subject}, {scan} or a name of your own")
            parts.append(rf"(?P={name})" if name in seen else rf"(?P<{name}>[^/]+?)")
            seen.add(name)
        elif piece.startswith("**"):
            parts.append(r"(?:.*/)?" if piece.endswith("/") else r".*")
        elif piece == "*":
            parts.append(r"[^/]*")
        elif re.search(r"[{}]", piece):
            raise VolforgeError("a brace does not close", pattern, "write {field}")
        else:
            parts.append(re.escape(piece))
    return "".join(parts)


def find_pattern(tree: Tree, options: Options) -> Discovery:
    """Rows of every image that a pattern matches; other columns by their own patterns with the same fields.

    Raises:
        VolforgeError: no pattern of images; no subject or modality; a pattern of another column that matches
            several files for one image.
    """
    found = Discovery()
    images = options.patterns.get("image", "")
    if not images:
        raise VolforgeError("no pattern", "--pattern", "such as '{subject}/{scan}.nii.gz'; fields become columns")
    folders = images.endswith("/")
    regex = re.compile(to_regex(images.rstrip("/")) + (r"(?=/)" if folders else ""))
    if "subject" not in regex.groupindex:
        raise VolforgeError("the pattern names no {subject}", images, "a scan without subject cannot be split safely")
    seen: set[str] = set()
    indices: dict[str, Index] = {}
    for file in tree.files:
        hit = regex.match(file) if folders else regex.fullmatch(file)
        if not hit or hit[0] in seen:
            continue
        seen.add(hit[0])
        fields = {k: v or "" for k, v in hit.groupdict().items()}
        row = _row(tree, tree.folder / hit[0], fields, options, found, indices)
        if row is not None:
            found.rows.append(row)
    _name_structures(tree, found)
    return found


def _row(
    tree: Tree, image: Path, fields: dict[str, str], options: Options, found: Discovery, indices: dict[str, Index]
) -> Found | None:
    modality = options.modality or {m.lower(): m for m in MODALITIES}.get(fields.get("modality", "").lower(), "")
    if fields.get("modality", "").lower() in ("mri", "t1", "t2", "t1w", "t2w", "flair") and not modality:
        modality = "MR"
    if not modality:
        raise VolforgeError(
            f"'{fields.get('modality', '')}' is no modality"
            if "modality" in fields
            else "no {modality} in the pattern",
            tree.relative(image),
            f"pass --modality ({', '.join(MODALITIES)})",
        )
    name = fields.get("scan") or "-".join(v for k, v in fields.items() if k not in ("split", "fold", "label_source"))
    row = Found(fields["subject"], name, modality, image=image)
    for field in ("contrast", "unit", "frame", "split", "fold", "label_source"):
        setattr(row, field, fields.get(field, ""))
    row.free = {k: v for k, v in fields.items() if k not in FIELDS}
    for column in FILES:
        pattern = options.patterns.get(column)
        if pattern:
            if column not in indices:
                indices[column] = _index(tree, pattern, fields)
            setattr(row, column, _one(tree, pattern, indices[column], fields, image))
            if getattr(row, column) is None:
                found.left_out.append((f"{column} of {tree.relative(image)}", f"nothing matches {pattern}"))
    if row.labels and not row.label_source:
        row.label_source = options.label_source
        if not row.label_source:
            raise VolforgeError("who made the labels?", "--label-source", "expert, derived, model or predicted")
    return row


def _index(tree: Tree, pattern: str, fields: dict[str, str]) -> Index:
    """What a pattern matches, by the values of the fields that it shares with the images: one pass over the files."""
    is_folder = pattern.endswith("/")
    regex = re.compile(to_regex(pattern.rstrip("/")) + (r"(?=/)" if is_folder else ""))
    shared = tuple(f for f in regex.groupindex if f in fields)
    hits: dict[tuple[str, ...], set[str]] = {}
    for file in tree.files:
        match = regex.match(file) if is_folder else regex.fullmatch(file)
        if match:
            hits.setdefault(tuple(match[f] for f in shared), set()).add(match[0])
    return Index(shared, hits)


def _one(tree: Tree, pattern: str, index: Index, fields: dict[str, str], image: Path) -> Path | None:
    hits = index.hits.get(tuple(fields[f] for f in index.shared), set()) - {tree.relative(image)}
    if len(hits) > 1:
        raise VolforgeError(
            f"{len(hits)} files for one image: {', '.join(sorted(hits)[:3])}", pattern, "make the pattern narrower"
        )
    return tree.folder / next(iter(hits)) if hits else None


def _name_structures(tree: Tree, found: Discovery) -> None:
    """Ids of structures that lie in folders, one file each, or are segments with names: by the alphabet.

    Segments that all files number alike keep their numbers.
    """
    names: set[str] = set()
    files: list[dict[str, int]] = []
    for row in found.rows:
        if row.labels and row.labels.is_dir():
            prefix = tree.relative(row.labels) + "/"
            names |= {
                plain_name(f[len(prefix) :].split("/")[0].split(".")[0]) for f in tree.files if f.startswith(prefix)
            }
        elif row.labels and row.labels.suffix.lower() in (".nrrd", ".nhdr"):
            files.append(_named_segments(row.labels))
    table = table_of(FileNames(dict(enumerate(f))) for f in files)
    if any(written != (name,) for name, written in table.items()):
        found.rois = table
    numbers = {name: {f[w] for f in files for w in written if w in f} for name, written in table.items()}
    alike = {name: next(iter(values)) for name, values in numbers.items() if len(values) == 1 and 0 not in values}
    if not names and len(alike) == len(numbers) == len(set(alike.values())):
        found.structures = dict(sorted(alike.items(), key=lambda item: item[1]))
        return
    if len(alike) < len(numbers):
        found.notes.append("segments are numbered differently from file to file: they are found by their names")
    found.structures = {n: i for i, n in enumerate(sorted(names | set(numbers)), start=1)}


def _named_segments(labels: Path) -> dict[str, int]:
    """Number by name of the segments of a file that have names; of the header, no voxel is read."""
    from volforge.volume.seg_nrrd import names_of, segments_of

    segments = segments_of(labels)
    return {name: segment.value for segment, name in names_of(segments).items() if segment.is_named}
