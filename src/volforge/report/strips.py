"""The picture of a case in all arms of a study: source, arms and truth in columns, planes in rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from volforge.report.cohort_view import Picture, picture
from volforge.study.strips import FOLDER, Strip, read_strips
from volforge.volume.geometry import Array

COLUMNS = 8  # of a row; more arms go on below
GAP = 4
HEAD = 18  # pixels of a column's heading


def strip_pictures(folder: Path, parts: Sequence[Sequence[Any]]) -> dict[str, list[Picture]]:
    """Pictures by their heading, of the first fold and seed of every arm that left strips.

    Args:
        folder: Of the study.
        parts: Arm, fold and seed.
    """
    columns: dict[str, list[tuple[str, Strip, Path]]] = {}
    seen: set[str] = set()
    for arm, fold, seed in parts:
        cases = folder / arm / f"fold{fold}" / f"seed{seed}" / "cases"
        found = read_strips(cases)
        if arm in seen or not found:
            continue
        seen.add(arm)
        for strip in found:
            columns.setdefault(strip.title, []).append((arm, strip, cases / FOLDER / strip.file))
    return {title: [_side_by_side(found)] for title, found in columns.items()}


def _side_by_side(found: list[tuple[str, Strip, Path]]) -> Picture:
    """One picture: `first` and `last` once, of the first arm that has them, the arms between."""
    from PIL import Image

    caption = found[0][1].caption
    same = [f for f in found if f[1].caption == caption]  # another case or other planes have no place here
    ends = {place: next((f for f in same if f[1].place == place), None) for place in ("first", "last")}
    order = [ends["first"], *(f for f in same if f[1].place == "arm"), ends["last"]]
    tiles = []
    for each in order:
        if each is not None:
            arm, strip, path = each
            tiles.append(_headed(np.asarray(Image.open(path).convert("RGB")), strip.label or arm))
    return picture(Image.fromarray(_sheet(tiles)), caption)


def _headed(strip: Array, text: str) -> Array:
    from PIL import Image, ImageDraw

    head = Image.new("RGB", (strip.shape[1], HEAD))
    ImageDraw.Draw(head).text((3, 3), text, fill=(255, 255, 255))
    return np.concatenate([np.asarray(head), strip], axis=0)


def _sheet(tiles: list[Array]) -> Array:
    height, width = max(t.shape[0] for t in tiles), max(t.shape[1] for t in tiles)
    across = min(COLUMNS, len(tiles))
    down = -(-len(tiles) // across)
    sheet = np.zeros((down * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), np.uint8)
    for n, tile in enumerate(tiles):
        y, x = (n // across) * (height + GAP), (n % across) * (width + GAP)
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet
