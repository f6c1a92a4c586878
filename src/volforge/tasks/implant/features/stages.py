"""What the stages of a network give of one volume: hooks that are taken off again.

Source: Li et al., Medical Image Analysis 73, 102171 (2021), whose repository shows such maps of the encoder's four
convolutions and of the decoder's stages, projected to two dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from volforge.errors import VolforgeError

AXES = {"x": 0, "y": 1, "z": 2}
PROJECTIONS = ("sum", "mean", "max")


def stages_of(network: nn.Module) -> dict[str, nn.Module]:
    """The stages of a network, `encoder1`, `encoder2` ... and `decoder1` ..., each with its activation and norm.

    Args:
        network: With halving and doubling parts in `down` and `up`, or in one sequence `steps` whose doublings begin
            with a transposed convolution; so all networks of implants here.

    Raises:
        VolforgeError: It has neither.
    """
    down, up = getattr(network, "down", None), getattr(network, "up", None)
    steps = getattr(network, "steps", None)
    if isinstance(down, nn.ModuleList) and isinstance(up, nn.ModuleList):
        parts = [*down], [*up]
    elif isinstance(steps, nn.Sequential):
        parts = [s for s in steps if not _doubles(s)], [s for s in steps if _doubles(s)]
    else:
        text = "its stages are not known"
        raise VolforgeError(text, type(network).__name__, "name layers: `--layer NAME`")
    names = ("encoder", "decoder")
    return {f"{n}{k + 1}": m for n, part in zip(names, parts, strict=True) for k, m in enumerate(part)}


def _doubles(step: nn.Module) -> bool:
    return any(isinstance(m, nn.ConvTranspose3d) for m in step.modules())


def layers_of(network: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """Layers by the names that torch gives them.

    Raises:
        VolforgeError: There is no such layer.
    """
    known = dict(network.named_modules())
    for name in names:
        if name not in known:
            some = ", ".join([n for n in known if n][:12])
            raise VolforgeError(f"there is no layer '{name}'", type(network).__name__, f"some of its layers: {some}")
    return {n: known[n] for n in names}


def feature_maps(network: nn.Module, image: Tensor, stages: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What stages give of one image, in evaluation mode and without gradients.

    Args:
        network: Left in the mode that it was in, and without hooks.
        image: (1, C, X, Y, Z).
        stages: Parts of the network by name.

    Returns:
        By stage (channels, x, y, z), 32 bit, on the device of the image.

    Raises:
        ValueError: There is more than one image, or a stage that the network did not pass.
    """
    if image.shape[0] != 1:
        raise ValueError("feature maps are shown of one image at a time")
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = output[0].detach().float().clone()

        return keep

    hooks, was_training = [m.register_forward_hook(keeper(n)) for n, m in stages.items()], network.training
    network.eval()
    try:
        with torch.no_grad():
            network(image)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    missed = [n for n in stages if n not in found]
    if missed:
        raise ValueError(f"the network does not pass {', '.join(missed)}")
    return {n: found[n] for n in stages}


def projected(maps: Tensor, axis: str = "z", how: str = "sum") -> Tensor:
    """Maps along one axis.

    Args:
        maps: (channels, x, y, z).
        axis: `x`, `y` or `z`.
        how: `sum` (what the published figure looks like), `mean` or `max`.

    Returns:
        (channels, a, b), the axes that are left in their order.

    Raises:
        VolforgeError: Unknown axis or projection.
    """
    if axis not in AXES:
        raise VolforgeError(f"unknown axis '{axis}'", "", f"use one of {', '.join(AXES)}")
    if how not in PROJECTIONS:
        raise VolforgeError(f"unknown projection '{how}'", "", f"use one of {', '.join(PROJECTIONS)}")
    k = 1 + AXES[axis]
    return maps.amax(dim=k) if how == "max" else maps.sum(dim=k) if how == "sum" else maps.mean(dim=k)


def min_max(flat: Tensor) -> Tensor:
    """Every channel from its smallest value, 0, to its largest, 1; a constant one is 0.

    Args:
        flat: (channels, a, b).
    """
    low, high = (f(flat, dim=(1, 2), keepdim=True) for f in (torch.amin, torch.amax))
    width = high - low
    return torch.where(width > 0, (flat - low) / width.clamp(min=torch.finfo(flat.dtype).tiny), torch.zeros_like(flat))
