"""Pictures that the arms of a study leave beside those of cases: with their predictions, and with their models."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from volforge.report.cohort_view import Picture, picture
from volforge.study.pictures import FOLDER, read_pictures


def pictures_of(folder: Path, parts: list[list[Any]]) -> dict[str, list[Picture]]:
    """Pictures by their heading: those of the first fold and seed of every arm that has some.

    Args:
        folder: Of the study.
        parts: Arm, fold and seed.
    """
    found: dict[str, list[Picture]] = {}
    seen: set[str] = set()
    for arm, fold, seed in parts:
        part = folder / arm / f"fold{fold}" / f"seed{seed}"
        places = [*sorted(part.glob(f"models/*/{FOLDER}")), part / "predictions" / FOLDER]
        shown = [(place, s) for place in places for s in read_pictures(place)]
        if arm in seen or not shown:
            continue
        seen.add(arm)
        for place, s in shown:
            found.setdefault(s.title, []).append(embedded(place / s.file, f"{arm}: {s.caption}"))
    return found


def embedded(path: Path, caption: str) -> Picture:
    """A picture for the page; one that moves is taken as it is."""
    from PIL import Image

    image = Image.open(path)
    if not getattr(image, "is_animated", False):
        return picture(image, caption)
    uri = f"data:{Image.MIME[str(image.format)]};base64," + base64.b64encode(path.read_bytes()).decode()
    return Picture(uri, image.size, caption)
