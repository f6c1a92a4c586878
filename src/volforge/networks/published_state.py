"""Weights that others published, by our names: layers are told apart by their names where these are known, else by
their order and shapes.

A state dict lists the layers of a network in the order in which its code makes them. Layers whose weights have the same
kinds and shapes are dealt to ours of the same kind in that order; a layer whose name is known goes to the place that
the name says. What is left over or missing is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volforge.errors import VolforgeError

if TYPE_CHECKING:
    from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
SPECTRAL = {  # of `torch.nn.utils.spectral_norm`, and of the parametrization that followed it
    "weight_orig": "original",
    "weight_u": "u",
    "weight_v": "v",
    "parametrizations.weight.original": "original",
    "parametrizations.weight.0._u": "u",
    "parametrizations.weight.0._v": "v",
}
SHOWN = 4  # layers that a message names

Layer = dict[str, "Tensor"]
"""Tensors of one layer by role: `weight`, `bias`, `original`, `u`, `v`, and the statistics of norms."""


@dataclass(frozen=True)
class Slot:
    """A layer of ours.

    Attributes:
        ours: Its name in our network.
        known: Regular expression that is found in its published name, where that is known; empty: it is not.
    """

    ours: str
    known: str = ""


def layers_of(state: Mapping[str, Tensor], where: str = "") -> dict[str, Layer]:
    """Tensors of a state dict by layer and role, in their order. A leading `module.` is left out.

    Raises:
        VolforgeError: Two tensors of one name.
    """
    found: dict[str, Layer] = {}
    for key, value in state.items():
        plain = key.removeprefix("module.")
        layer, role = _parted(plain)
        own = found.setdefault(layer, {})
        if role in own:
            raise VolforgeError(f"two tensors stand for {plain}", where, "name a file of one network")
        own[role] = value
    return found


def from_published(
    state: Mapping[str, Tensor], network: nn.Module, slots: Sequence[Slot], where: str = "", part: str = "network"
) -> dict[str, Tensor]:
    """A published state dict by our names.

    Statistics of norms that learn from the batch at hand alone, which some files keep and no network of ours reads, are
    left out; counts of batches, which older files lack, are 0.

    Args:
        state: Tensors by published names, in the order of the file.
        network: Ours, of the size that the file has; its weights are not read (device `meta` does).
        slots: All its layers with weights, in the order in which the published code makes them, as far as layers of the
            same shapes are concerned.
        where: The file, for messages.
        part: What it is to hold, for messages.

    Returns:
        State dict for `network`, in its order, float32.

    Raises:
        VolforgeError: Layers that are missing or too many, other shapes, or values that are not finite.
    """
    import torch

    theirs = layers_of(state, where)
    wanted = layers_of(network.state_dict())
    if {s.ours for s in slots} != set(wanted):
        raise ValueError(f"slots do not cover the network: {sorted({s.ours for s in slots} ^ set(wanted))}")
    left = dict(theirs)
    taken: dict[str, Layer] = {}
    missing: list[str] = []
    for slot in slots:
        shape = _signature(wanted[slot.ours])
        alike = [n for n, layer in left.items() if _signature(layer, wanted[slot.ours]) == shape]
        named = [n for n in alike if slot.known and re.search(slot.known, n)]
        if not alike or (slot.known and not named and any(re.search(slot.known, n) for n in left)):
            missing.append(f"{slot.ours} {_text(wanted[slot.ours])}")
            continue
        chosen = (named or alike)[0]
        taken[slot.ours] = left.pop(chosen)
    texts = [
        f"{len(names)} {text}: {', '.join(names[:SHOWN])}{' ...' if len(names) > SHOWN else ''}"
        for names, text in (
            (missing, "layers are missing"),
            ([f"{n} {_text(layer)}" for n, layer in left.items()], "are of no layer"),
        )
        if names
    ]
    if texts:
        raise VolforgeError("; ".join(texts), where, f"name the file of a published {part}")
    found: dict[str, Tensor] = {}
    for key in network.state_dict():
        layer, role = _parted(key)
        own = taken[layer]
        value = torch.zeros((), dtype=torch.int64) if role not in own else own[role].detach()
        found[key] = value.float().contiguous() if value.is_floating_point() else value
    broken = [k for k, v in found.items() if not bool(torch.isfinite(v).all())]
    if broken:
        raise VolforgeError(f"values that are not finite: {', '.join(broken[:SHOWN])}", where, "get the file anew")
    return found


def _parted(key: str) -> tuple[str, str]:
    """Layer and role of a tensor's name."""
    for ending, role in SPECTRAL.items():
        if key.endswith(f".{ending}") or key == ending:
            return key[: -len(ending)].rstrip("."), role
    layer, _, role = key.rpartition(".")
    return layer, role


def _signature(layer: Layer, like: Layer | None = None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Roles and shapes of a layer, without counts, and without statistics that the layer `like` has not."""
    idle = {"num_batches_tracked", *(STATISTICS if like is not None and "running_mean" not in like else ())}
    return tuple(sorted((role, tuple(value.shape)) for role, value in layer.items() if role not in idle))


def _text(layer: Layer) -> str:
    """Shapes of a layer for messages."""
    return " ".join(str(tuple(value.shape)) for role, value in layer.items() if role not in STATISTICS[2:])
