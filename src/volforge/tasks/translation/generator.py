"""Generators and shape extractors of translation as their settings describe them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge import components
from volforge.errors import VolforgeError
from volforge.tasks.translation.settings import EXTRACTOR, TranslationSettings
from volforge.volume.folders import read_object, sha256_of
from volforge.weights import read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_generator(settings: TranslationSettings) -> nn.Module:
    """The network of a model, with fresh weights; a shape extractor sees one slice of the target."""
    channels = 1 if settings.kind == EXTRACTOR else settings.channels
    made: nn.Module = components.build("network", settings.network, channels=channels, outputs=1)
    return made


def begin(network: nn.Module, start: Mapping[str, Tensor] | None) -> nn.Module:
    """A network with the weights that it begins with; on the device `meta`, which holds none, as it is."""
    if start is not None and not any(p.is_meta for p in network.parameters()):
        network.load_state_dict(start)
    return network


def read_weights(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """model.json and the weights of a model's folder.

    Raises:
        VolforgeError: Files are missing, damaged or of another model.
    """
    about = read_object(folder / "model.json", "the description of a model")
    weights = folder / "weights.safetensors"
    if not weights.exists() or sha256_of(weights) != about.get("sha256"):
        text = "the weights are missing, or not those that model.json describes"
        raise VolforgeError(text, str(weights), "copy both files anew")
    components.refuse_unnamed(about, folder)
    return about, read_tensors(weights)
