"""A kriged model as a folder: tensors of weights.safetensors, and what model.json says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.kriging.covariance import Covariance
from volforge.tasks.implant.kriging.fit import KrigedModel
from volforge.tasks.implant.kriging.intervals import Intervals
from volforge.tasks.implant.kriging.pose import Template
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.solve import Field
from volforge.volume.folders import form_of, read_object, sha256_of
from volforge.volume.geometry import Array
from volforge.weights import read_arrays

KIND = "kriging"
TASK = "implant"


def tensors_of(model: KrigedModel) -> dict[str, Array]:
    """What is written into weights.safetensors."""
    plain = {} if model.plain is None else {f"plain.{k}": v for k, v in _numbers(model.plain).items()}
    widths = {} if model.intervals is None else {"half_widths": model.intervals.half_widths}
    return {
        "template": model.template.maps.astype(np.float32),
        "trusted": model.template.trusted,
        "mean": model.field.mean.astype(np.float32),
        "region": model.field.region,
        **_numbers(model.field.covariance),
        **plain,
        **widths,
    }


def _numbers(found: Covariance) -> dict[str, Array]:
    return {
        "variances": found.variances,
        "lengths_mm": np.array(found.lengths),
        "gain": np.array(found.gain),
        "offset_mm": np.array([found.offset_mm]),
        "nugget_mm": np.array([found.nugget_mm]),
    }


def _covariance(tensors: Mapping[str, Array], prefix: str = "") -> Covariance:
    inner, outer = (float(v) for v in tensors[f"{prefix}gain"])
    return Covariance(
        tensors[f"{prefix}variances"],
        tuple(float(v) for v in tensors[f"{prefix}lengths_mm"]),
        (inner, outer),
        float(tensors[f"{prefix}offset_mm"][0]),
        float(tensors[f"{prefix}nugget_mm"][0]),
    )


def about(model: KrigedModel) -> dict[str, Any]:
    """What model.json says of it."""
    return {"kind": KIND, "task": TASK, "kriging": model.settings.plain()}


def model_from(tensors: Mapping[str, Array], settings: KrigingSettings) -> KrigedModel:
    """The model of tensors and settings."""
    disc = settings.disc
    template = Template(disc, tensors["template"].astype(np.float64), tensors["trusted"])
    field = Field(disc, tensors["mean"].astype(np.float64), tensors["region"], _covariance(tensors))
    plain = _covariance(tensors, "plain.") if "plain.variances" in tensors else None
    intervals = Intervals(tensors["half_widths"]) if "half_widths" in tensors else None
    return KrigedModel(template, field, settings, plain, intervals)


def load_kriged(folder: Path) -> tuple[KrigedModel, Mapping[str, Any]]:
    """Read a fitted model's folder.

    Returns:
        The model, and the content of model.json.

    Raises:
        VolforgeError: Files are missing, damaged or of another kind of model.
    """
    content = read_object(folder / "model.json", "the description of a model")
    weights = folder / "weights.safetensors"
    if content.get("kind") != KIND:
        raise VolforgeError("this is no kriged model of skulls", str(folder), "name the folder of a fitted model")
    if not weights.exists() or sha256_of(weights) != content.get("sha256"):
        raise VolforgeError("the weights are not those that model.json describes", str(weights), "copy both files anew")
    arrays = read_arrays(weights)
    with form_of(folder / "model.json", "the description of a kriged model"):
        return model_from(arrays, KrigingSettings.of(content["kriging"])), content
