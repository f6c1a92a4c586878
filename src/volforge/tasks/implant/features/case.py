"""The feature maps of a trained model and one skull: what it is shown, what its stages give, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from volforge.errors import VolforgeError
from volforge.tasks.implant.apply import Trained
from volforge.tasks.implant.features.scores import kinds, scores
from volforge.tasks.implant.features.sheets import sheet
from volforge.tasks.implant.features.stages import feature_maps, layers_of, min_max, projected, stages_of
from volforge.tasks.implant.grids import cut
from volforge.tasks.implant.settings import ImplantSettings
from volforge.tasks.implant.spline import spline_down
from volforge.tasks.implant.tiles import tile_starts
from volforge.volume.geometry import Array, Grid


@dataclass(frozen=True)
class CaseFeatures:
    """Feature maps of one skull.

    Attributes:
        scan: It.
        image, implant: (X, Y, Z) what the network was shown, and the missing piece on that grid, 0 to 1.
        maps: By stage (channels, x, y, z).
        scores: By stage (channels, 2): `shape`, `hole`.
    """

    scan: str
    image: Tensor
    implant: Tensor
    maps: Mapping[str, Tensor]
    scores: Mapping[str, Tensor]

    def sheets(self, axis: str = "z", how: str = "sum") -> dict[str, Array]:
        """A contact sheet by stage, and as `input` what was shown beside what is missing; (rows, columns, 3) uint8."""
        found = {}
        pair = min_max(projected(torch.stack([self.image, self.implant]), axis, how))
        found["input"] = sheet(pair.numpy(), ["shape", "hole"], 160)
        for name, maps in self.maps.items():
            flat = min_max(projected(maps, axis, how))
            found[name] = sheet(flat.numpy(), kinds(self.scores[name]))
        return found


def seen_by(
    settings: ImplantSettings, defective: Array, implant: Array, grid: Grid, where: str = ""
) -> tuple[Array, Array]:
    """What a model is shown of a skull, and the missing piece on the same grid; of `patches` the one with most of it.

    Args:
        settings: The model, which sees a `cap` or `patches`.
        defective, implant: (X, Y, Z) boolean.
        grid: Of the scan.
        where: The scan, for messages.

    Returns:
        Both float32, 0 to 1.

    Raises:
        VolforgeError: The model sees a box or windows, whose input another model makes.
    """
    frame = settings.frame(defective, grid, where)
    if settings.sees == "cap":
        is_spline = settings.implant["resample"] == "spline"
        image = spline_down(defective, frame) if is_spline else frame.average(defective)
        return np.asarray(image, np.float32), frame.average(implant)
    if settings.sees != "patches":
        text = f"feature maps are shown of models that see a cap or patches, not of `sees: {settings.sees}`"
        raise VolforgeError(text, settings.place, "name the coarse model")
    held = [frame.average(v) >= 0.5 for v in (defective, implant)]
    starts = [np.array(s) for s in tile_starts(held[0].shape, settings.patch)]
    best = max(range(len(starts)), key=lambda k: int(cut(held[1], starts[k], settings.patch).sum()))
    image, missing = (cut(v, starts[best], settings.patch).astype(np.float32) for v in held)
    return image, missing


def case_features(
    model: Trained, defective: Array, implant: Array, grid: Grid, scan: str = "", layers: Sequence[str] = ()
) -> CaseFeatures:
    """Feature maps of a model and a skull, and their scores; on the CPU once they are made.

    Args:
        model: Trained.
        defective, implant: (X, Y, Z) boolean.
        grid: Of the scan.
        scan: Its name.
        layers: Layers by torch's names; none: the network's stages.
    """
    image, missing = (torch.from_numpy(v) for v in seen_by(model.settings, defective, implant, grid, scan))
    stages = layers_of(model.network, layers) if layers else stages_of(model.network)
    device = next(model.network.parameters()).device
    maps = feature_maps(model.network, image[None, None].to(device), stages)
    found = {n: scores(m, image.to(device), missing.to(device)).cpu() for n, m in maps.items()}
    return CaseFeatures(scan, image, missing, {n: m.cpu() for n, m in maps.items()}, found)
