"""Trained models of implants, applied to a defective skull: the probability of their target on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from volforge import components
from volforge.errors import VolforgeError
from volforge.tasks.implant.grids import Frame, box_frame, box_image, cut
from volforge.tasks.implant.settings import ImplantSettings
from volforge.tasks.implant.spline import spline_down, spline_up
from volforge.tasks.implant.tiles import gaussian_tiles, hard_tiles
from volforge.tasks.implant.values import probability
from volforge.tasks.implant.windows import context_of, windowed
from volforge.volume.folders import form_of, read_object, sha256_of
from volforge.volume.geometry import Array, Grid
from volforge.weights import fill, read_tensors

if TYPE_CHECKING:
    from volforge.tasks.implant.kriging.fit import KrigedModel

Answer = Callable[[Tensor], Tensor]
"""Probability of the target (N, 1, X, Y, Z) of a network's input (N, C, X, Y, Z)."""


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        settings: What it was trained by.
        about: Content of model.json.
        network: In evaluation mode, on its device.
        coarse: The coarse model that it needs, or None.
        kriged: The fitted model that it needs, or None.
    """

    settings: ImplantSettings
    about: Mapping[str, Any]
    network: nn.Module
    coarse: Trained | None = None
    kriged: KrigedModel | None = None


def make_network(settings: ImplantSettings) -> nn.Module:
    """The network of a model, with fresh weights."""
    made: nn.Module = components.build("network", settings.network, channels=settings.channels, classes=2)
    return made


def load_model(
    folder: Path, device: str = "cpu", coarse: Trained | None = None, kriged: KrigedModel | None = None
) -> Trained:
    """Load a model's folder: model.json and weights.safetensors.

    Args:
        folder: It.
        device: `cpu` or `cuda`.
        coarse, kriged: The models that it needs.

    Raises:
        VolforgeError: Files are missing, damaged or of another model.
    """
    about, weights = read_object(folder / "model.json", "the description of a model"), folder / "weights.safetensors"
    if not weights.exists() or sha256_of(weights) != about.get("sha256"):
        text = "the weights are missing, or not those that model.json describes"
        raise VolforgeError(text, str(weights), "copy both files anew")
    components.refuse_unnamed(about, folder)
    with form_of(folder / "model.json", "the description of a model of implants"):
        settings = ImplantSettings.of(about)
        network = make_network(settings)
    fill(network, read_tensors(weights), weights)
    return Trained(settings, about, network.eval().to(device), coarse, kriged)


def answer_of(network: nn.Module, settings: ImplantSettings, flips: Sequence[str] = ()) -> Answer:
    """Probabilities of what a network is shown, without gradients; the mean with the mirrored view where it is flipped.

    Args:
        network: In evaluation mode.
        settings: The model.
        flips: `x` or nothing.
    """
    threshold, precision = float(settings.implant["threshold"]), str(settings.training["precision"])
    dtype = torch.float16 if precision.startswith("16") else torch.bfloat16

    def once(image: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(image.device.type, dtype, enabled=precision.endswith("mixed")):
            return probability(network(image), threshold)

    def answer(image: Tensor) -> Tensor:
        found = once(image)
        return (found + once(image.flip(2)).flip(2)) / 2 if "x" in flips else found

    return answer


def predicted(
    model: Trained,
    defective: Array,
    grid: Grid,
    *,
    flips: Sequence[str] = (),
    overlap: float = 0.5,
    device: str = "cpu",
    where: str = "",
) -> Array:
    """The probability of a model's target on the grid of a scan; 0 where it does not look.

    Args:
        model: Trained.
        defective: (X, Y, Z) bone, boolean.
        grid: Its grid.
        flips: `x`: the mean with the mirrored skull.
        overlap: Of tiles that are blended, and of windows.
        device: Where it runs.
        where: The scan, for messages.

    Returns:
        (X, Y, Z) float32, 0 to 1.
    """
    settings = model.settings
    answer = answer_of(model.network, settings, flips)
    options = {"flips": flips, "overlap": overlap, "device": device, "where": where}
    frame = settings.frame(defective, grid, where)
    if settings.sees == "cap":
        return _of_cap(settings, answer, defective, frame, device)
    held = frame.average(defective) >= 0.5 if not frame.is_native else cut(defective, frame.first, frame.shape)
    if settings.sees == "patches":
        tiles = gaussian_tiles if settings.implant["blend"] == "gaussian" else hard_tiles
        return frame.back(tiles(answer, held, settings.patch, overlap, device), grid.shape)
    if model.coarse is None:  # windows without that channel look everywhere
        near = np.zeros(held.shape, np.float32)
    else:
        near = frame.average(predicted(model.coarse, defective, grid, **options))  # type: ignore[arg-type]
    if settings.sees == "box":
        box, shown = box_frame((near > 0.5) & ~held, settings.patch, int(settings.implant["margin_voxels"]))
        image = box_image(held, box, shown)
        return frame.back(box.back(_as_array(answer(_as_image(image, device))), held.shape), grid.shape)
    own = frame.grid(grid)
    kriged = None
    if model.kriged is not None:
        from volforge.tasks.implant.kriging.case import kriged_skull

        kriged = kriged_skull(model.kriged, held, own.affine)
    context = context_of(settings, held, own, near, kriged)
    found = windowed(answer, settings, context, overlap, device)
    return frame.back(found, grid.shape)


def _of_cap(settings: ImplantSettings, answer: Answer, defective: Array, frame: Frame, device: str) -> Array:
    is_spline = settings.implant["resample"] == "spline"
    image = spline_down(defective, frame) if is_spline else frame.average(defective)
    found = _as_array(answer(_as_image(image, device)))
    return spline_up(found > 0.5, frame, defective.shape) if is_spline else frame.back(found, defective.shape)


def _as_image(volume: Array, device: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None, None].to(device)


def _as_array(found: Tensor) -> Array:
    return np.asarray(found[0, 0].float().cpu().numpy())
