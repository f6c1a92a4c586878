"""From what a layout found to a sheet on disk, its structures and its lists; and words for when nothing is found."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from volforge import __version__
from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, side_of
from volforge.cohort.layouts.registry import LAYOUTS, Layout
from volforge.cohort.pseudonyms import Pseudonyms, without_names
from volforge.cohort.sheet import COLUMNS, FREE_NAMES, RESERVED
from volforge.errors import VolforgeError
from volforge.tables.characters import looks_of, spelt, unseen
from volforge.tables.names import natural, scan_name
from volforge.tables.structures import default_colour
from volforge.whole_file import write_whole

FILES = ("image", "labels", "body_mask", "defective", "implant")


@dataclass(frozen=True)
class Written:
    """What `discover` wrote.

    Attributes:
        scans, subjects, labelled: Counts.
        structures: Table of structures, None where there is none.
        left_out: What was recognised and not taken, with the reason.
        notes: The head of the sheet.
        entry: The cohort as it goes into a configuration.
    """

    scans: int
    subjects: int
    labelled: int
    structures: Path | None
    left_out: list[tuple[str, str]]
    notes: list[str]
    entry: str


def discover(
    folder: Path,
    layout: str,
    out: Path,
    options: Options,
    root: Path | None = None,
    *,
    force: bool = False,
    names: Pseudonyms | None = None,
) -> Written:
    """Write the sheet of a folder.

    Args:
        folder: As it was unpacked; one level too high or too low does not matter.
        layout: Name of a layout.
        out: Sheet to write; the structures and lists of files lie beside it.
        options: What the layout cannot know.
        root: Folder that the sheet's paths start from (the cohort's `root`); None: files below the sheet's
            folder are named from there, others by their full path.
        force: Replace a table of structures that lies there.
        names: Pseudonyms for subjects and scans; free columns are then left out.

    Raises:
        VolforgeError: an unknown layout; nothing found (with what was looked for, and the closest hit).
    """
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout.lower(), LAYOUTS, n=1, cutoff=0.5)
        raise VolforgeError(
            f"no layout '{layout}'" + (f"; did you mean '{near[0]}'?" if near else ""),
            "--layout",
            f"one of {', '.join(LAYOUTS)}",
        )
    tree = Tree(folder.absolute())
    chosen = LAYOUTS[layout]
    found = chosen.find(tree, options)
    if not found.rows:
        raise _nothing(tree, chosen, found, options)
    out = out.absolute()
    _refuse_lookalikes(found.rows, tree)
    _refuse_doubles(found.rows, chosen, tree)
    if names is not None:
        _pseudonymise(found, names)
    base = root.absolute() if root else out.parent
    stem = out.name.rsplit(".", 1)[0]
    _name_scans(found.rows)
    lists = out.parent / f"{stem}.files"
    contents: dict[Path, str] = {}
    lines = [_line(row, base, root is not None, lists, contents) for row in found.rows]
    beside = out.with_name(f"{stem}.structures.tsv")
    if beside.exists() and not force:
        raise VolforgeError(
            "a table of structures lies there already, and would serve the new sheet",
            str(beside),
            "name another sheet, or pass --force",
        )
    if beside.exists() and not found.structures:
        found.notes.append(f"structures: {beside.name} was kept as it lay there")
    structures = beside if found.structures else None
    notes = _notes(chosen, found)
    columns = _columns(lines)
    text = "".join(f"# {n}\n" for n in notes) + _table(
        [columns, *([cells.get(c, "") for c in columns] for cells in lines)]
    )
    for path, content in contents.items():
        write_whole(path, content)
    if structures:
        write_whole(structures, structures_text(found.structures, found.rois))
    write_whole(out, text)
    return Written(
        len(found.rows),
        len({r.subject for r in found.rows}),
        sum(r.is_labelled for r in found.rows),
        structures,
        found.left_out,
        notes,
        _entry(stem, out, found, chosen, root),
    )


def _refuse_lookalikes(rows: list[Found], tree: Tree) -> None:
    """Names that the sheet's own check would refuse: told here, where the files that they come from are known."""
    for column in FREE_NAMES:
        first: dict[str, tuple[str, str]] = {}
        for row in rows:
            name = getattr(row, column)
            file = row.image or row.defective or row.labels
            where = spelt(tree.relative(file)) if file is not None and file.is_relative_to(tree.folder) else row.scan
            if unseen(name):
                text = f"{column} {spelt(name)} holds {unseen(name)}, which nobody sees"
                raise VolforgeError(text, where, "rename the folder or file without it")
            other, there = first.setdefault(looks_of(name), (name, where))
            if other != name:
                text = f"{column} {spelt(name)} looks like {spelt(other)} of {there}"
                raise VolforgeError(text, where, "rename one of them: the same name for the same patient, or a new one")


def _refuse_doubles(rows: list[Found], layout: Layout, tree: Tree) -> None:
    """One scan at two places: copies of a data set, or two that number alike, whose patients would be mixed."""
    if layout.name in ("pattern", "dicom"):
        return
    first: dict[str, Found] = {}
    for row in rows:
        other = first.setdefault(row.scan, row)
        if other is not row:
            files = [r.image or r.defective for r in (other, row)]
            listed = " and ".join(str(os.path.relpath(f, tree.folder)) for f in files if f is not None)
            text = f"scan '{row.scan}' stands twice: {listed}"
            raise VolforgeError(text, str(tree.folder), "name the folder of one data set")


def _pseudonymise(found: Discovery, names: Pseudonyms) -> None:
    """Give subjects, scans and frames pseudonyms; other columns of a data set's own tables may name patients."""
    old = {row.subject for row in found.rows}
    found.notes = [without_names(note, old, names) for note in found.notes]
    for row in found.rows:
        row.scan, row.frame = names.scan(row.subject, row.scan), names.frame(row.frame)
        row.subject, row.free = names.subject(row.subject), {}


def _name_scans(rows: list[Found]) -> None:
    used: set[str] = set()
    for row in rows:
        name = scan_name(row.scan)
        base = name = f"scan-{name}" if name in RESERVED else name
        count = 1
        while name.lower() in used:
            count += 1
            name = scan_name(f"{base}-{count}")
        used.add(name.lower())
        row.scan = name


def _line(row: Found, base: Path, from_root: bool, lists: Path, contents: dict[Path, str]) -> dict[str, str]:
    def shown(path: Path, start: Path, always: bool) -> str:
        """A path from a folder: where it lies below it, or where all paths must start there."""
        if path.is_relative_to(start) or always:
            return Path(os.path.relpath(path, start)).as_posix()
        return str(path)

    cells = {
        "subject": row.subject, "scan": row.scan, "modality": row.modality, "contrast": row.contrast,
        "unit": row.unit, "frame": row.frame, "label_source": row.label_source, "split": row.split, "fold": row.fold,
    }  # fmt: skip
    for column in FILES:
        path = getattr(row, column)
        if path is not None:
            cells[column] = shown(path, base, from_root)
    if row.channel is not None and row.image is not None:
        cells["image"] += f"#{row.channel}"
    if row.slices:
        path = lists / f"{row.scan}.txt"
        contents[path] = "".join(f"{shown(f, lists, from_root)}\n" for f in row.slices)
        cells["image"] = shown(path, base, from_root)
    if row.parts:
        path = lists / f"{row.scan}.tsv"
        body = [[name, shown(file, lists, from_root), value] for name, file, value in row.parts]
        width = 3 if any(value for *_, value in row.parts) else 2
        contents[path] = _table([cells[:width] for cells in (["structure", "file", "value"], *body)])
        cells["labels"] = shown(path, base, from_root)
    cells |= {k: v for k, v in row.free.items() if k not in COLUMNS}
    for value in [*cells.values(), *(str(f) for f in row.slices), *(str(f) for _, f, _ in row.parts)]:
        if any("\ud800" <= c <= "\udfff" for c in value):  # how Python shows the bytes of other encodings
            raise VolforgeError("the name of a file is not UTF-8", spelt(value), "rename it (`convmv -t utf8`)")
    # blanks in a path are part of it; in other cells they are tidied
    return {k: v if k in FILES else " ".join(v.split()) for k, v in cells.items() if v}


def _table(rows: list[list[str]]) -> str:
    """Rows as TSV, cells quoted where a tab or a quote asks for it."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter="\t", lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _columns(lines: list[dict[str, str]]) -> list[str]:
    used = {c for cells in lines for c in cells}
    free = list(dict.fromkeys(c for cells in lines for c in cells if c not in COLUMNS))
    return [c for c in COLUMNS if c in used or c in ("subject", "scan", "modality")] + free


def _notes(layout: Layout, found: Discovery) -> list[str]:
    notes = [f"{layout.title}; written by volforge {__version__}, layout {layout.name}"]
    notes.append(f"licence: {found.licence or layout.licence}")
    if layout.citation:
        notes.append(f"cite: {layout.citation}")
    return [" ".join(n.split()) for n in [*notes, *found.notes]]


def structures_text(structures: dict[str, int], rois: dict[str, tuple[str, ...]] | None = None) -> str:
    """A table of structures, in the order of the ids; several names of one structure are parted by backslashes."""
    rows = [["structure", "id", "colour", "side", "group"]]
    for name, value in sorted(structures.items(), key=lambda item: item[1]):
        rows.append([name, str(value), default_colour(value), side_of(name), ""])
    if rois:
        rows[0].append("roi")
        for row in rows[1:]:
            row.append("\\".join(rois.get(row[0], ())))
    return _table(rows)


def cohort_name(stem: str) -> str:
    """A valid name of a cohort near to that of its sheet; one that YAML would not read as text gets `c_` before it."""
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    is_text = name[:1].isalpha() and isinstance(yaml.safe_load(name), str)
    return (name if is_text else f"c_{name}")[:40].strip("_")


def _entry(stem: str, out: Path, found: Discovery, layout: Layout, root: Path | None) -> str:
    name = cohort_name(stem)

    def quoted(text: object) -> str:
        return json.dumps(str(text), ensure_ascii=False)

    lines = [f"  {name}:", f"    sheet: {quoted(out)}"]
    if found.structures:
        lines.append(f"    structures: {quoted(out.with_name(f'{stem}.structures.tsv'))}")
    if root is not None:
        lines.append(f"    root: {quoted(root.absolute())}")
    lines.append(f"    licence: {quoted(found.licence or layout.licence)}")
    lines += [f"    {key}: {value}" for key, value in found.settings.items()]
    return "cohorts:\n" + "\n".join(lines)


def _nothing(tree: Tree, layout: Layout, found: Discovery, options: Options) -> VolforgeError:
    """What was looked for, where, what was there, and the closest hit."""
    expected = [options.patterns["image"]] if options.patterns.get("image") else list(layout.expects)
    text = f"nothing of layout '{layout.name}' among {len(tree.files)} files; looked for {', '.join(expected)}"
    if found.left_out:
        shown = "; ".join(f"{what}: {why}" for what, why in found.left_out[:5])
        more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
        return VolforgeError(f"{text}; left out: {shown}{more}", str(tree.folder), "see the reasons above")
    fixed = [Path(e).name for e in expected if "{" not in e]
    fixed = [n for n in fixed if n.islower() and not any(c.isdigit() for c in n)]
    absent = [n for n in fixed if not any(f == n or f.endswith(f"/{n}") for f in tree.files)]
    if absent:
        text += f"; there is no {' and no '.join(absent)}"
    closest = _closest(tree, expected)
    if closest:
        text += f"; the closest file is {closest}"
    others = _other_layouts(tree, layout)
    remedy = (
        f"the folder looks like layout {' or '.join(others)}"
        if others
        else "name the folder that holds these files, another layout, or `--layout pattern`"
    )
    return VolforgeError(text, str(tree.folder), remedy)


def _closest(tree: Tree, expected: list[str]) -> str:
    """The file whose path is most like one that was looked for, numbers taken as equal."""
    step = max(1, len(tree.files) // 3000)
    best, file = 0.0, ""
    for candidate in tree.files[::step]:
        for example in expected:
            tail = "/".join(candidate.split("/")[-example.count("/") - 1 :])
            ratio = difflib.SequenceMatcher(None, _bare(tail), _bare(example)).ratio()
            if ratio > best:
                best, file = ratio, candidate
    return file


def _bare(text: str) -> str:
    return "".join("0" if c.isdigit() else c for c in text.lower())


def _other_layouts(tree: Tree, layout: Layout) -> list[str]:
    hits = []
    for other in LAYOUTS.values():
        if other.name in (layout.name, "pattern", "dicom"):
            continue
        try:
            if other.find(tree, Options(modality="CT", unlabelled=True)).rows:
                hits.append(other.name)
        except VolforgeError:  # it cannot be read as that layout
            continue
    if not hits and any(f.lower().endswith((".dcm", ".ima")) for f in tree.files):
        hits.append("dicom")
    return sorted(hits, key=natural)
