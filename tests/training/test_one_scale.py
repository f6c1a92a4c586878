"""16-bit losses: networks that share a way back move as in 32 bit, whatever the scale does between their updates."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from volforge.training.loop import _Hands
from volforge.training.one_scale import OneScale
from volforge.training.task import Plan


def moved(scaled: bool, clip: float = 0.0) -> list[torch.Tensor]:
    """Weights of two networks after two steps of one loss through both."""
    precision = OneScale("cpu")
    if scaled:
        precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
    fabric = Fabric(accelerator="cpu", plugins=[precision]) if scaled else Fabric(accelerator="cpu")
    torch.manual_seed(0)
    networks = [nn.Linear(4, 4), nn.Linear(4, 1)]
    own = {str(k): torch.optim.SGD(n.parameters(), lr=0.1) for k, n in enumerate(networks)}
    first, second = (fabric.setup_module(n) for n in networks)
    optimizers = {k: (fabric.setup_optimizers(o), [[first, second][int(k)]]) for k, o in own.items()}
    hands = _Hands(fabric, Plan(2, 1, clip=clip), optimizers)
    for step in range(2):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        hands.backward(second(first(x)).float().square().mean())
        hands.update("0")
        hands.update("1")
        hands.moved()
    if scaled:
        assert precision.scaler.get_scale() == 2.0**12  # it grew after each of the two steps, once
    return [p.detach() for n in networks for p in n.parameters()]


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_a_change_of_scale_between_two_updates_changes_neither(clip):
    for wanted, found in zip(moved(False, clip), moved(True, clip), strict=True):
        assert torch.allclose(found, wanted, atol=2e-3)


def test_a_gradient_that_is_not_finite_leaves_its_weights_and_halves_the_scale():
    precision = OneScale("cpu")
    before = precision.scaler.get_scale()
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision.scaler.scale(weight.sum() * float("inf")).backward()
    precision.optimizer_step(optimizer)
    precision.step_done()
    assert float(weight.detach()) == 1
    assert precision.scaler.get_scale() == before / 2
