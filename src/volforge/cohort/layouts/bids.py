"""BIDS: images of `anat` and CT, with segmentations of derivatives that lie on the image's own grid."""

from __future__ import annotations

import re
from pathlib import Path

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree, unique, without_labels
from volforge.cohort.layouts.tables import BIDS_DSEG
from volforge.cohort.table import read_table
from volforge.errors import VolforgeError
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


def find_bids(tree: Tree, options: Options) -> Discovery:
    """Raw images by suffix; `_dseg` and `_msk` maps of derivatives by their entities."""
    found = Discovery()
    homes: dict[str, str] = {}
    maps = _maps(tree)
    bare: list[Found] = []
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
        label = _label_of(g["subject"], entities, maps, g["suffix"], tree)
        row = Found(
            g["subject"],
            f"{g['stem']}_{g['suffix']}",
            {"ct": "CT", "cbct": "CBCT"}.get(g["suffix"].lower(), options.modality or "MR"),
            contrast=contrast,
            image=path,
            labels=label,
            label_source=(options.label_source or _source_of(label, tree)) if label else "",
            free={"session": entities.get("ses", "")},
        )
        (found.rows if label or not maps else bare).append(row)
    if not any(r.free["session"] for r in [*found.rows, *bare]):
        for row in [*found.rows, *bare]:
            row.free.pop("session")
    _keep_sure_maps(found, bare)
    used = [r.labels for r in found.rows if r.labels]
    if absent:
        found.left_out.append((f"{absent} images", "placeholders or broken links: fetch them (`datalad get`)"))
    found.structures = _structures(tree, used)
    if used and not found.structures:
        found.notes.append("the maps come without a table of names: any id is accepted")
    found.licence = _licence(tree)
    without_labels(found, bare, options, "no map in derivatives")
    return found


def _maps(tree: Tree) -> list[tuple[Path, str, dict[str, str]]]:
    maps = []
    for path, g in tree.match(rf"(?P<folder>.*?sub-[^/]+/(?:.*/)?){NAME}_(?:dseg|msk)\.nii(?:\.gz)?"):
        entities = dict(e.split("-", 1) for e in g["entities"].split("_") if e)
        if entities.get("space", "orig") in ("orig", "T1w", "scanner", "native"):
            maps.append((path, g["subject"], entities))
    return maps


def _label_of(
    subject: str, entities: dict[str, str], maps: list[tuple[Path, str, dict[str, str]]], suffix: str, tree: Tree
) -> Path | None:
    """The map whose entities all agree with the image's; one that describes least where there are several."""
    described = ("space", "desc", "seg", "atlas", "res", "label")
    fitting = []
    for path, of, theirs in maps:
        if of != subject or (theirs.get("space") == "T1w" and suffix != "T1w"):
            continue
        named = {k: v for k, v in theirs.items() if k not in described}
        if all(entities.get(k) == v for k, v in named.items()) and entities.get("ses") == theirs.get("ses"):
            fitting.append((-len(named), len(theirs) - len(named), tree.relative(path), path))
    # a map that names no image contrast belongs to the T1-weighted image or the CT
    if fitting and suffix not in ("T1w", "UNIT1", "ct", "CT", "cbct"):
        return None
    return min(fitting)[3] if fitting else None


def _source_of(label: Path | None, tree: Tree) -> str:
    text = tree.relative(label).lower() if label else ""
    return "expert" if re.search(r"manual|expert|verse|seg-vert", text) else "predicted"


def _keep_sure_maps(found: Discovery, bare: list[Found]) -> None:
    """A map that fits several images belongs to none for sure: runs and acquisitions differ in place."""
    owners: dict[Path, list[Found]] = {}
    for row in found.rows:
        if row.labels:
            owners.setdefault(row.labels, []).append(row)
    for label, rows in owners.items():
        exact = [r for r in rows if r.scan.rsplit("_", 1)[0] == re.sub(r"_(?:dseg|msk)\.nii.*$", "", label.name)]
        if len(exact) == 1:  # the plain image; others of the session (contrast agent, say) differ in an entity
            others = [r for r in rows if r is not exact[0]]
            for row in others:
                row.labels, row.label_source = None, ""
                found.rows.remove(row)
                bare.append(row)
        elif len(rows) > 1:
            for row in rows:
                row.labels, row.label_source = None, ""
                found.rows.remove(row)
                bare.append(row)
            found.left_out.append((label.name, f"fits {len(rows)} images: {', '.join(r.scan for r in rows[:3])}"))


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
