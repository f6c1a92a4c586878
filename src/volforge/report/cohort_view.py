"""What the page says of a cohort: numbers, table rows, pictures."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volforge.cohort.collect import REFUSED
from volforge.tables.structures import default_colour
from volforge.volume.folders import read_json
from volforge.volume.geometry import Array
from volforge.volume.picture import contact_sheet, hex_to_rgb, plane, render, spread
from volforge.volume.store import SliceStore

MAX_WIDTH = 1400
TILE = 160
# flags that only describe, as opposed to those that someone should look at
QUIET_FLAGS = (
    "body_cut_",
    "unit_assumed",
    "unit_converted",
    "body_mask_none",
    "whole_grid_is_body",
    "trailing_axis",
    "padding_set_to_air",
    "unit_not_declared_hu",
)


@dataclass
class Picture:
    """An embedded picture."""

    uri: str
    size: tuple[int, int]
    caption: str
    flagged: bool = False


@dataclass
class RecipeView:
    """A recipe as cut for a cohort."""

    name: str
    kind: str
    settings: str
    slices: int
    kept: int
    scans: int
    by_split: list[tuple[str, int]]
    preview: Picture | None
    problem: str = ""


@dataclass
class CohortView:
    """A cohort as shown."""

    name: str
    about: list[str]
    facts: list[tuple[str, str]]
    rows: list[dict[str, str]]
    excluded: list[dict[str, str]]
    structures: list[dict[str, str]]
    pictures: list[Picture]
    not_shown: int
    recipes: list[RecipeView] = field(default_factory=list)
    problem: str = ""
    folds: int = 0

    @property
    def flagged(self) -> int:
        """Number of accepted scans that someone should look at."""
        return sum(bool(loud_flags(r)) for r in self.rows)

    @property
    def by_split(self) -> str:
        """Accepted scans by split; the number of folds where the cohort is cross-validated."""
        if self.folds:
            return f"{self.folds} folds"
        counts = Counter(r["split"] for r in self.rows)
        return ", ".join(f"{counts[s]} {s}" for s in sorted(counts, key=lambda s: (s != "train", s)) if s)

    @property
    def scan_rows(self) -> list[list[str]]:
        """The accepted scans as lines of a table."""
        return [
            [
                r["scan"], r["subject"], f"{r['modality']} {r['contrast']}".strip(), r["split"], r["fold"],
                r["label_source"], r["shape"], r["spacing_mm"], r["source_axes"], r["body_ml"], r["structures"],
                r["flags"].replace(",", ", "),
            ]
            for r in self.rows
        ]  # fmt: skip


def view_cohort(
    results: Path,
    name: str,
    request: Mapping[str, Any],
    configuration: Mapping[str, Any],
    most: int,
    left: Mapping[str, Mapping[str, str]] | None = None,
) -> CohortView:
    """Gather what the page shows of a cohort.

    Args:
        results: Folder of results.
        name: The cohort.
        request: Its entry in the report's request.
        configuration: The run's configuration.
        most: Number of QC pictures to embed.
        left: Why cohorts and recipes are not there, where a run ended with failures.
    """
    folder = results / "cohorts" / name
    problem = left["cohorts"].get(name, "") if left else ""
    table = folder / (REFUSED if problem else "scans.tsv")
    every = read_rows(table) if table.exists() or not problem else []
    rows = [r for r in every if r["accepted"] == "1" and not problem]
    excluded = [r for r in every if r["accepted"] != "1"]
    if problem and excluded:
        problem = f"{len(excluded)} of {len(every)} scans were refused: {problem}"
    about = [line for line in request["comments"] if line]
    if request["licence"]:
        about.append(f"Terms: {request['licence']}")
    chosen = choose(rows, most)
    pictures = [
        picture(_open(folder / "scans" / r["scan"] / "qc.png"), caption(r), bool(loud_flags(r))) for r in chosen
    ]
    view = CohortView(
        name,
        about,
        _facts(rows, excluded),
        rows,
        excluded,
        _structures(folder, rows, request["structures"]),
        pictures,
        len(rows) - len(pictures),
        problem=problem,
        folds=int(configuration["cohorts"].get(name, {}).get("folds", 0)),
    )
    listed = {int(s[1]): s[2] for s in request["structures"]}
    colours = listed or {i: default_colour(i) for i in range(1, 256)}
    splits = {r["scan"]: r["split"] for r in rows}
    for recipe in request["recipes"]:
        settings = configuration["recipes"][recipe]
        if left and f"{name}/{recipe}" in left["recipes"]:
            why = left["recipes"][f"{name}/{recipe}"]
            view.recipes.append(RecipeView(recipe, settings["kind"], "", 0, 0, 0, [], None, why))
            continue
        view.recipes.append(_recipe(folder / "recipes" / recipe, recipe, settings, splits, colours))
    return view


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a TSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def loud_flags(row: Mapping[str, str]) -> list[str]:
    """The flags of a scan that someone should look at."""
    return [f for f in row["flags"].split(",") if f and not f.startswith(QUIET_FLAGS)]


def choose(rows: Sequence[dict[str, str]], most: int) -> list[dict[str, str]]:
    """The scans whose pictures are shown: flagged ones first, then evenly spread over the rest."""
    flagged = [r for r in rows if loud_flags(r)][:most]
    rest = [r for r in rows if not loud_flags(r)]
    left = most - len(flagged)
    if len(rest) > left > 0:
        rest = [rest[round(i * (len(rest) - 1) / max(1, left - 1))] for i in range(left)]
    return flagged + (rest if left > 0 else [])


def caption(row: Mapping[str, str]) -> str:
    """A line under a QC picture."""
    parts = [row["scan"], row["modality"], f"{row['shape']} at {row['spacing_mm']} mm", row["split"]]
    flags = loud_flags(row)
    return " · ".join(parts) + (f" · look at: {', '.join(flags)}" if flags else "")


def _facts(rows: Sequence[Mapping[str, str]], excluded: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    def counted(column: str) -> str:
        return ", ".join(f"{n} {value or '(none)'}" for value, n in sorted(Counter(r[column] for r in rows).items()))

    subjects = len({r["subject"] for r in rows})
    facts = [
        ("scans", f"{len(rows)} of {subjects} subjects"),
        ("excluded", str(len(excluded))),
        ("modality", counted("modality")),
        ("split", counted("split")),
        ("fold", counted("fold")),
        ("labels", counted("label_source")),
    ]
    volumes = [float(r["body_ml"]) for r in rows if r["body_ml"]]
    if volumes:
        facts.append(
            (
                "body",
                f"median {np.median(volumes) / 1000:.2f} l ({min(volumes) / 1000:.2f} to {max(volumes) / 1000:.2f})",
            )
        )
    flags = Counter(f for r in rows for f in r["flags"].split(",") if f)
    facts.append(("flags", ", ".join(f"{f} {n}" for f, n in flags.most_common()) or "none"))
    return facts


def _structures(
    folder: Path, rows: Sequence[Mapping[str, str]], table: Sequence[Sequence[Any]]
) -> list[dict[str, str]]:
    present: Counter[str] = Counter()
    millilitres: dict[str, list[float]] = {}
    for row in rows:
        record = read_json(folder / "scans" / row["scan"] / "record.json")
        voxel = float(np.prod(record["grid"]["spacing_mm"])) / 1000
        for name, voxels in record.get("labels", {}).get("voxels", {}).items():
            present[name] += 1
            millilitres.setdefault(name, []).append(voxels * voxel)
    labelled = sum(1 for r in rows if r["structures"])
    known = [(str(n), str(i), str(c), str(s), str(g)) for n, i, c, s, g in table]
    others = sorted(set(present) - {k[0] for k in known}, key=lambda n: (len(n), n))
    known += [(n, n, "", "", "") for n in others]
    return (
        [
            {
                "structure": n,
                "id": i,
                "colour": c,
                "side": s,
                "group": g,
                "scans": f"{present[n]} of {labelled}",
                "median_ml": _three_digits(float(np.median(millilitres[n]))) if n in millilitres else "",
            }
            for n, i, c, s, g in known
        ]
        if labelled
        else []
    )


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _recipe(
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    splits: Mapping[str, str],
    colours: Mapping[int, str],
) -> RecipeView:
    rows = read_rows(folder / "index.tsv")
    kept = [r for r in rows if r["kept"] == "1"]
    by_split = Counter(splits.get(r["scan"], "") for r in kept)
    words = ", ".join(f"{k} {_plain(v)}" for k, v in settings.items() if k != "kind")
    return RecipeView(
        name,
        settings["kind"],
        words,
        len(rows),
        len(kept),
        len({r["scan"] for r in rows}),
        sorted(by_split.items()),
        _preview(folder, kept, name, colours),
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return (", " if any(isinstance(v, str) for v in value) else " x ").join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _preview(folder: Path, kept: Sequence[Mapping[str, str]], name: str, colours: Mapping[int, str]) -> Picture | None:
    """What networks will read: stored slices from evenly spread places, with their labels beside."""
    if not kept:
        return None
    rgb = {i: hex_to_rgb(c) for i, c in colours.items()}
    pairs = [_what_is_stored(SliceStore(folder / kept[n]["scan"]), kept[n]) for n in spread(0, len(kept) - 1, 8)]
    shapes = [next(a for a in pair if a is not None).shape for pair in pairs]
    scale = TILE / max(shape[1] for shape in shapes)
    height = max(1, round(max(shape[0] for shape in shapes) * scale))
    tiles = []
    for (image, labels), shape in zip(pairs, shapes, strict=True):
        size = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
        for overlay in (None, labels) if image is not None else (labels,):
            tile = np.zeros((height, TILE, 3), np.uint8)
            tile[: size[0], : size[1]] = render(image, (-1, 1), size, None, overlay, rgb)
            tiles.append(tile)
    from PIL import Image

    sheet = Image.fromarray(contact_sheet(tiles, columns=8))
    return picture(sheet, f"{name}: stored values and their labels, evenly spread over the cohort")


def _what_is_stored(store: SliceStore, row: Mapping[str, str]) -> tuple[Array | None, Array | None]:
    """An image plane in [-1, 1] and its labels (or implant), either may be missing."""
    source = next((s for s in ("labels", "implant") if s in store.names), None)
    if store.geometry["kind"] == "slices":
        index = int(row["slice"])
        image = store.normalised(index) if "image" in store.names else None
        return image, np.asarray(store[source][index]) if source else None
    marked = np.asarray(store[source][:]) if source else None
    # the axial plane that shows most of what is marked
    areas = (marked > 0).sum(axis=(0, 1)) if marked is not None and marked.any() else np.zeros(1)
    k = int(np.argmax(areas)) if areas.any() else store.geometry["cut_grid"]["shape"][2] // 2
    image = store.normalised((slice(None), slice(None), k)) if "image" in store.names else None
    planes = (image, marked[:, :, k] if marked is not None else None)
    return tuple(None if p is None else plane(p[:, :, None], 2, 0) for p in planes)  # type: ignore[return-value]


def _open(path: Path) -> Any:
    from PIL import Image

    return Image.open(path)


def picture(image: Any, text: str, flagged: bool = False) -> Picture:
    """A picture embedded as WebP, no wider than `MAX_WIDTH` pixels."""
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)))
    content = io.BytesIO()
    image.convert("RGB").save(content, "WEBP", quality=70, method=6)
    uri = "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
    return Picture(uri, image.size, text, flagged)
