"""BIDS: images of `anat` and CT, with segmentations of derivatives that lie on the image's own grid."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, unique, without_labels
from volforge.cohort.layouts.tables import BIDS_DSEG
from volforge.errors import VolforgeError
from volforge.tables.table import read_table
from volforge.volume.folders import read_json

SUFFIXES = (
    "T1w",
    "T2w",
    "PDw",
    "T2starw",
    "FLAIR",
    "inplaneT1",
    "inplaneT2",
    "PDT2",
    "angio",
    "UNIT1",
    "ct",
    "CT",
    "cbct",
)
NAME = r"(?P<stem>(?P<subject>sub-[A-Za-z0-9]+)(?P<entities>(?:_[a-z]+-[A-Za-z0-9+]+)*))"
NOT_IMAGES = ("derivatives/", "sourcedata/", "code/", "stimuli/")
SMALLEST = 348  # bytes of a NIfTI header: less is a placeholder of git-annex
DESCRIBED = ("space", "desc", "seg", "atlas", "res", "label")  # entities of a map that name no image
OWN_GRID = ("orig", "T1w", "scanner", "native")
WITH_MAPS = ("T1w", "UNIT1", "ct", "CT", "cbct")  # what a map that names no image contrast is drawn on
BY_HAND = r"(?<![a-z])manual|expert|gold|consensus|ground-?truth|annotator|seg-vert|(?<![a-z])(?:rater|verse)"


@dataclass(frozen=True)
class Map:
    """A label map of a derivative.

    Attributes:
        path: The file.
        subject: `sub-...`.
        entities: The others of its name.
        is_manual: Whether people drew it, as its side car or its path says.
    """

    path: Path
    subject: str
    entities: dict[str, str]
    is_manual: bool

    @property
    def named(self) -> dict[str, str]:
        """The entities that name an image."""
        return {k: v for k, v in self.entities.items() if k not in DESCRIBED}


@dataclass
class Scan:
    """An image with the maps that fit it, best first.

    Attributes:
        row: The row.
        entities: Of the image's name.
        fitting: Maps whose entities agree with the image's.
    """

    row: Found
    entities: dict[str, str]
    fitting: list[Map]


def find_bids(tree: Tree, options: Options) -> Discovery:
    """Raw images by suffix; `_dseg` and `_msk` maps of derivatives by their entities."""
    found = Discovery()
    homes: dict[str, str] = {}
    maps = _maps(tree, found)
    scans: list[Scan] = []
    absent = 0
    pattern = (
        rf"(?P<folder>sub-[^/]+/(?:ses-[^/]+/)?(?:anat/|ct/)?){NAME}_(?P<suffix>{'|'.join(SUFFIXES)})\.nii(?:\.gz)?"
    )
    for path, g in tree.match(pattern):
        relative = tree.relative(path)
        if any(f"/{other}" in f"/{relative}" for other in NOT_IMAGES):
            continue
        if homes.setdefault(g["subject"], g["at"]) != g["at"]:
            raise VolforgeError(
                f"{g['subject']} stands in two data sets: {homes[g['subject']] or '.'} and {g['at'] or '.'}",
                str(tree.folder),
                "name the folder of one",
            )
        entities = dict(e.split("-", 1) for e in g["entities"].split("_") if e)
        if entities.get("part", "mag") != "mag":
            found.left_out.append((relative, f"part-{entities['part']} is no magnitude image"))
            continue
        if not path.exists() or path.stat().st_size < SMALLEST:
            absent += 1
            continue
        is_ct = g["suffix"].lower() in ("ct", "cbct")
        contrast = "" if is_ct else g["suffix"].removesuffix("w") + ("_ce" if "ce" in entities else "")
        row = Found(
            g["subject"],
            f"{g['stem']}_{g['suffix']}",
            {"ct": "CT", "cbct": "CBCT"}.get(g["suffix"].lower(), options.modality or "MR"),
            contrast=contrast,
            image=path,
            free={"session": entities.get("ses", "")},
        )
        scans.append(Scan(row, entities, _fitting(g["subject"], entities, maps, g["suffix"])))
    if not any(s.row.free["session"] for s in scans):
        for scan in scans:
            scan.row.free.pop("session")
    _keep_sure_maps(scans, found)
    _choose(scans, options, tree)
    found.rows = [s.row for s in scans if s.row.labels or not maps]
    bare = [s.row for s in scans if not s.row.labels and maps]
    _tell_choices(scans, found, tree)
    used = [r.labels for r in found.rows if r.labels]
    if absent:
        found.left_out.append((f"{absent} images", "placeholders or broken links: fetch them (`datalad get`)"))
    found.structures = _structures(tree, used)
    if used and not found.structures:
        found.notes.append("the maps come without a table of names: any id is accepted")
    found.licence = _licence(tree)
    without_labels(found, bare, options, "no map in derivatives")
    return found


def _maps(tree: Tree, found: Discovery) -> list[Map]:
    maps = []
    elsewhere: Counter[str] = Counter()
    for path, g in tree.match(rf"(?P<folder>.*?sub-[^/]+/(?:.*/)?){NAME}_(?:dseg|msk)\.nii(?:\.gz)?"):
        entities = dict(e.split("-", 1) for e in g["entities"].split("_") if e)
        space = entities.get("space", "orig")
        if space in OWN_GRID:
            maps.append(Map(path, g["subject"], entities, _is_manual(path, tree)))
        else:
            elsewhere[space] += 1
    for space, count in elsewhere.items():
        found.left_out.append((f"{count} maps in space-{space}", "not on the grid of an image"))
    return maps


def _is_manual(path: Path, tree: Tree) -> bool:
    """Whether people drew a map: `Manual` of its side car, else the words of its path."""
    side_car = tree.get(re.sub(r"\.nii(?:\.gz)?$", ".json", tree.relative(path), flags=re.IGNORECASE))
    content = read_json(side_car) if side_car and side_car.exists() else {}  # git-annex leaves broken links
    if isinstance(content, dict) and isinstance(content.get("Manual"), bool):
        return bool(content["Manual"])
    return bool(re.search(BY_HAND, tree.relative(path).lower()))


def _fitting(subject: str, entities: dict[str, str], maps: Sequence[Map], suffix: str) -> list[Map]:
    """The maps whose entities all agree with the image's."""
    if suffix not in WITH_MAPS:
        return []
    return [
        m
        for m in maps
        if m.subject == subject
        and (m.entities.get("space") != "T1w" or suffix == "T1w")
        and all(entities.get(k) == v for k, v in m.named.items())
        and entities.get("ses") == m.entities.get("ses")
    ]


def _keep_sure_maps(scans: Sequence[Scan], found: Discovery) -> None:
    """A map that fits several images belongs to none for sure: runs and acquisitions differ in place."""
    owners: dict[Path, list[tuple[Map, Scan]]] = {}
    for scan in scans:
        for m in scan.fitting:
            owners.setdefault(m.path, []).append((m, scan))
    for path, pairs in owners.items():
        # the plain image; others of the session (contrast agent, say) differ in an entity
        exact = [scan for m, scan in pairs if m.named == scan.entities]
        if len(pairs) == 1:
            continue
        for m, scan in pairs:
            if len(exact) != 1 or scan is not exact[0]:
                scan.fitting.remove(m)
        if len(exact) != 1:
            named = ", ".join(scan.row.scan for _, scan in pairs[:3])
            found.left_out.append((path.name, f"fits {len(pairs)} images: {named}"))


def _choose(scans: Sequence[Scan], options: Options, tree: Tree) -> None:
    """Give each image the best of its maps: drawn by hand, then the one that names it closest and says least else."""

    def rank(m: Map) -> tuple[bool, int, int, str]:
        return not m.is_manual, -len(m.named), len(m.entities), tree.relative(m.path)

    for scan in scans:
        scan.fitting.sort(key=rank)
        for first in scan.fitting[:1]:
            scan.row.labels = first.path
            scan.row.label_source = options.label_source or ("expert" if first.is_manual else "predicted")


def _tell_choices(scans: Sequence[Scan], found: Discovery, tree: Tree) -> None:
    """Say which maps were taken where several fit an image, and which were not."""

    def kind(m: Map) -> str:
        path = re.sub(r"\b(sub|ses|run)-[A-Za-z0-9]+", r"\1-*", tree.relative(m.path))
        return f"{path} ({'by hand' if m.is_manual else 'automatic'})"

    choices: Counter[tuple[str, str]] = Counter()
    for scan in scans:
        if scan.row.labels:
            choices.update((kind(scan.fitting[0]), kind(other)) for other in scan.fitting[1:])
    for (taken, other), count in choices.items():
        found.left_out.append((f"{other}, of {count} scans", f"{taken} was taken"))
        found.notes.append(f"of several maps, {taken} was taken and {other} was not, in {count} scans")
    sources = Counter(s.row.label_source for s in scans if s.row.labels)
    if len(sources) > 1:
        shown = ", ".join(f"{n} {source}" for source, n in sources.items())
        found.notes.append(f"labels of several sources ({shown}): see the column label_source")


def _structures(tree: Tree, used: list[Path]) -> dict[str, int]:
    """Names of the maps: the table beside a map, else the nearest above it with no other entities, else the standard's.

    Raises:
        VolforgeError: maps with different tables.
    """
    tables = [p for p, _ in tree.match(r"(?:[^/]*_)?dseg\.tsv")]
    known: dict[Path | None, dict[str, int]] = {}
    for label in used:
        table = _table_of(label, tables)
        if table not in known:
            is_plain = table is None and re.search(r"_dseg\.nii", label.name)
            known[table] = _read_table(table) if table else dict(BIDS_DSEG) if is_plain else {}
    if len({tuple(t.items()) for t in known.values()}) > 1:
        listed = ", ".join(sorted(tree.relative(t) if t else "(none)" for t in known))
        raise VolforgeError(f"maps with different names and ids: {listed}", str(tree.folder), "keep one pipeline")
    return next(iter(known.values()), {})


def _table_of(label: Path, tables: list[Path]) -> Path | None:
    stem = re.sub(r"\.nii(\.gz)?$", "", label.name)
    beside = [p for p in tables if p.parent == label.parent and p.name == f"{stem}.tsv"]
    entities = set(stem.split("_"))
    above = [p for p in tables if p.parent in label.parents and set(p.name.removesuffix(".tsv").split("_")) <= entities]
    chosen = beside or sorted(above, key=lambda p: (-len(p.parts), p.name))
    return chosen[0] if chosen else None


def _read_table(path: Path) -> dict[str, int]:
    rows = [cells for _, cells in read_table(path).rows]
    indexed = [(c.get("name", ""), int(c["index"])) for c in rows if c.get("index", "").isdigit()]
    return unique((name, index) for name, index in indexed if 0 < index <= 65535)


def _licence(tree: Tree) -> str:
    for path, _ in tree.match(r"dataset_description\.json"):
        content = read_json(path)
        if content.get("DatasetType", "raw") == "raw":
            return str(content.get("License", "") or "")
    return ""
