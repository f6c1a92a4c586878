"""Exponential moving average of weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm


class Ema:
    """The mean of a network's weights over the last steps; it warms up, so that the first steps are forgotten.

    Singular vectors of spectral norms are those of now: a mean of directions is shorter than 1, and so is the norm
    that it gives.

    Args:
        network: The network that is trained.
        decay: Share of the old mean that each step keeps.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.copied = spectral_vectors(network)
        self.mean = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights of now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        means, values = [], []
        for name, value in network.state_dict().items():
            if value.is_floating_point() and name not in self.copied:
                means.append(self.mean[name])
                values.append(value)
            else:
                self.mean[name].copy_(value)
        torch._foreach_lerp_(means, values, 1 - decay)

    @torch.no_grad()
    def swap(self, network: nn.Module) -> None:
        """Exchange the mean with the network's weights; twice is as before."""
        for name, value in network.state_dict().items():
            held: Tensor = value.clone()
            value.copy_(self.mean[name])
            self.mean[name].copy_(held)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"mean": self.mean, "updates": self.updates}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """From a checkpoint."""
        self.updates = state["updates"]
        self.mean = {k: v.to(device) for k, v in state["mean"].items()}


def spectral_vectors(network: nn.Module) -> set[str]:
    """Names, in the state of a network, of the singular vectors that its spectral norms follow."""
    return {
        f"{prefix}.{name}"
        for prefix, module in network.named_modules()
        if isinstance(module, _SpectralNorm)
        for name, _ in module.named_buffers(recurse=False)
    }
