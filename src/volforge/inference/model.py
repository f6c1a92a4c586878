"""A trained model as its folder describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from volforge import components
from volforge.errors import VolforgeError
from volforge.inference.model_settings import ModelSettings
from volforge.volume.folders import form_of, read_object, sha256_of
from volforge.weights import fill, read_tensors


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        folder: Where it lies.
        about: Content of model.json.
        network: In evaluation mode, on its device.
    """

    folder: Path
    about: Mapping[str, Any]
    network: nn.Module

    @cached_property
    def settings(self) -> ModelSettings:
        """What it was trained by."""
        names = {f.name for f in fields(ModelSettings)}
        return ModelSettings.of({k: v for k, v in self.about.items() if k in names})

    @property
    def sees(self) -> tuple[Any, ...]:
        """What models must have in common to be averaged."""
        s = self.settings
        return s.kind, repr(s.classes), repr(s.recipe_settings), repr(s.region), tuple(self.about["patch"])


def load_model(folder: Path, device: str = "cpu") -> Model:
    """Load a model's folder: model.json and weights.safetensors.

    Raises:
        VolforgeError: Files are missing, damaged or of another model.
    """
    about = read_object(folder / "model.json", "the description of a model")
    weights = folder / "weights.safetensors"
    if not weights.exists():
        raise VolforgeError(
            "no weights.safetensors beside model.json", str(folder), "name the folder of a trained model"
        )
    if sha256_of(weights) != about.get("sha256"):
        raise VolforgeError("the weights are not those that model.json describes", str(weights), "copy both files anew")
    components.refuse_unnamed(about, folder)
    model = Model(folder, about, nn.Identity())
    with form_of(folder / "model.json", "the description of a segmentation model"):
        settings, _ = model.settings, model.sees
    network = make_network(settings)
    fill(network, read_tensors(weights), weights)
    if model.settings.training["channels_last"]:
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Model(folder, about, network.eval().to(device))


def make_network(settings: ModelSettings) -> nn.Module:
    """The network of a model, with fresh weights."""
    made: nn.Module = components.build(
        "network", settings.network, channels=1, classes=settings.channels, spacing_mm=settings.spacing_mm
    )
    return made
