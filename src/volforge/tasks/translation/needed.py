"""What the models that a training needs saw and were chosen by: it is the new model's past too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.tasks.translation.settings import EXTRACTOR
from volforge.training.start import Start

SHOWN = 5  # subjects that a message names
LAST = "the last weights"
Subjects = Mapping[str, Sequence[str]]


def parts_seen(about: Mapping[str, Any]) -> dict[str, set[str]]:
    """Subjects by part (`source`, `target`, `pairs`, `validation`) that a model learnt from, or any that it needed.

    Args:
        about: Content of its model.json.
    """
    found: dict[str, set[str]] = {}
    for content in (about, *about.get("needed", {}).values()):
        for part, subjects in (content.get("subjects") or {}).items():
            found.setdefault(part, set()).update(subjects)
    return found


def record(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a model says in its `needed` of one that it needed: its name and hash, and all that was seen for it."""
    parts = {part: sorted(subjects) for part, subjects in parts_seen(about).items()}
    own = {"kind": about.get("kind", ""), "selection": about.get("selection", ""), "subjects": parts}
    return {**Start(folder / "weights.safetensors", about).record, **own}


def in_words(selection: str, needed: Mapping[str, Mapping[str, Any]]) -> str:
    """How weights were chosen, with those that the training began with.

    Args:
        selection: Of the training itself.
        needed: Records of what it needed.
    """
    begun = [r["selection"] for r in needed.values() if r["kind"] != EXTRACTOR and r["selection"] not in ("", LAST)]
    return "; ".join([selection, *(f"begun with weights: {words}" for words in begun)])


def refuse_leak(word: str, about: Mapping[str, Any], own: Subjects, place: str, *, few_targets: bool = False) -> None:
    """Refuse a needed model that saw pairs, the other side of our subjects, or targets that this training must not see.

    Args:
        word: What the settings call it.
        about: Content of its model.json.
        own: Subjects of this training by part.
        place: For the message.
        few_targets: Whether the settings say how many subjects give targets.

    Raises:
        VolforgeError: naming the subjects.
    """
    seen, mine = parts_seen(about), {part: set(subjects) for part, subjects in own.items()}
    targets, sources = seen.get("target", set()), seen.get("source", set())
    pairs = seen.get("pairs", set()) - mine["pairs"]
    crossed = set() if mine["pairs"] else (targets & mine["source"]) | (sources & mine["target"])
    more = targets - mine["target"] if few_targets and about.get("kind") != EXTRACTOR else set()
    for subjects, what, remedy in (
        (pairs, "registered pairs", "need a model that was trained without pairs, or with the same ones"),
        (crossed, "the other side", "need a model that was trained on the same folds and seeds"),
        (more, "targets", "need a model with the same `targets` and seed"),
    ):
        if subjects:
            names = ", ".join(sorted(subjects)[:SHOWN])
            text = f"'{word}' saw {what} of {names}, which this training must not see"
            raise VolforgeError(text, place, remedy)
