"""Weights of a trained model that a training begins with: step 0, new optimisers, its own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.errors import VolforgeError
from volforge.volume.folders import read_object, sha256_of

if TYPE_CHECKING:
    from torch import nn

SHOWN = 4  # weights that a message names


@dataclass(frozen=True)
class Start:
    """A trained model to begin with.

    Attributes:
        weights: Its weights.safetensors.
        about: Content of its model.json.
    """

    weights: Path
    about: Mapping[str, Any]

    @property
    def seen(self) -> dict[str, set[str]]:
        """Subjects by cohort that this model was trained on, or any that it began with or needed."""
        found: dict[str, set[str]] = {}
        for before in (self.about.get("started_from", {}), *self.about.get("needed", {}).values()):
            for cohort, subjects in before.get("seen", {}).items():
                found.setdefault(cohort, set()).update(subjects)
        own = {s for part in self.about.get("subjects", {}).values() for s in part}
        found.setdefault(str(self.about.get("cohort", "")), set()).update(own)
        return {cohort: subjects for cohort, subjects in found.items() if subjects}

    @property
    def record(self) -> dict[str, Any]:
        """What the model that comes of it says of where it began."""
        names = {k: self.about.get(k, "") for k in ("study", "arm", "model", "step", "sha256")}
        names |= {"seen": {cohort: sorted(subjects) for cohort, subjects in self.seen.items()}}
        return names | ({"imported": self.about["imported"]} if "imported" in self.about else {})


def read_start(folder: Path) -> Start:
    """The model of a folder.

    Raises:
        VolforgeError: No model, or weights that are not those that model.json describes.
    """
    about = read_object(folder / "model.json", "the description of a model")
    weights = folder / "weights.safetensors"
    if not weights.exists():
        raise VolforgeError("no weights.safetensors beside model.json", str(folder), "name the folder of a model")
    if sha256_of(weights) != about.get("sha256"):
        raise VolforgeError("the weights are not those that model.json describes", str(weights), "copy both files anew")
    return Start(weights, about)


def begin_with(start: Start, network: nn.Module) -> None:
    """Put the weights of a start into a network.

    Raises:
        VolforgeError: Weights that are missing or too many, or of other shapes; all named.
    """
    from safetensors.torch import load_file

    given, own = load_file(start.weights), network.state_dict()
    bent = [
        f"{k} is {tuple(given[k].shape)}, not {tuple(v.shape)}" for k, v in own.items()
        if k in given and given[k].shape != v.shape
    ]  # fmt: skip
    texts = [
        f"{len(names)} {text}: {', '.join(names[:SHOWN])}{' ...' if len(names) > SHOWN else ''}"
        for names, text in (
            (bent, "weights have another shape"),
            ([k for k in own if k not in given], "are missing"),
            ([k for k in given if k not in own], "have no place"),
        )
        if names
    ]
    if texts:
        text = f"a training cannot begin with these weights: {'; '.join(texts)}"
        remedy = f"name a model of the same network; this one is {dict(start.about.get('network') or {})}"
        raise VolforgeError(text, str(start.weights), remedy)
    network.load_state_dict(given)
