"""Spectral normalisation that stays in 32 bit under mixed precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm


class _In32Bit(_SpectralNorm):
    """On GPUs autocast would take the power iteration's products in 16 bit, and with them every weight."""

    def forward(self, weight: Tensor) -> Tensor:
        if weight.device.type == "meta":
            return super().forward(weight)
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)


def spectral_norm(module: nn.Module) -> nn.Module:
    """Divide a module's weight by its largest singular value, followed by one power iteration in every training pass.

    Source: Miyato et al., ICLR 2018, algorithm 1; `torch.nn.utils.parametrizations.spectral_norm`, whose state it has.
    """
    assert isinstance(module.weight, Tensor)
    parametrize.register_parametrization(module, "weight", _In32Bit(module.weight))
    return module


@torch.no_grad()
def settle_spectral_norms(network: nn.Module, iterations: int = 50) -> None:
    """Bring the singular vectors of spectral norms to the weights as they are: mean weights have none of their own.

    Args:
        network: Its weights stay; the vectors change.
        iterations: Power iterations.
    """
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            held = module.get_submodule("parametrizations.weight")
            training = held.training
            held.train()
            for _ in range(iterations):
                held()  # one power iteration
            held.train(training)
