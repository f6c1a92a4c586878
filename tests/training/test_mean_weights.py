"""Mean weights: what is averaged, what is copied, and the spectral norms that they are used with."""

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from tests.tasks.semantic_synthesis.test_training import batch_of, made, task
from volforge.networks.spectral import settle_spectral_norms, spectral_norm
from volforge.training.ema import Ema, spectral_vectors


def norms_in_use(network):
    """Largest singular value of every normed weight as it is used: 1 where the norm is the true one."""
    found = []
    network.eval()
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            found.append(np.linalg.norm(module.weight.detach().flatten(1).numpy(), 2))
    return np.array(found)


def wandering(steps=30):
    """A network whose weights move, and their mean."""
    torch.manual_seed(0)
    network = nn.Sequential(spectral_norm(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8), spectral_norm(nn.Conv2d(8, 4, 3)))
    mean = Ema(network, 0.9)
    for _ in range(steps):
        network(torch.randn(2, 3, 8, 8))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        mean.update(network)
    return network, mean


def test_singular_vectors_are_copied_and_all_else_is_averaged():
    network, mean = wandering()
    own = network.state_dict()
    vectors = spectral_vectors(network)
    assert vectors == {f"{k}.parametrizations.weight.0.{n}" for k in "02" for n in ("_u", "_v")}
    for name, value in mean.mean.items():
        is_equal = torch.equal(value, own[name])
        assert is_equal == (name in vectors or "num_batches" in name), name
    for name in vectors:
        assert float(mean.mean[name].norm()) == 1 or abs(float(mean.mean[name].norm()) - 1) < 1e-5


def test_settled_norms_are_the_true_ones_and_weights_stay():
    network, mean = wandering()
    mean.swap(network)
    before = {k: v.clone() for k, v in network.state_dict().items() if k not in spectral_vectors(network)}
    assert np.abs(norms_in_use(network) - 1).max() > 1e-3  # vectors of other weights
    network.train()
    settle_spectral_norms(network)
    assert network.training
    assert np.allclose(norms_in_use(network), 1, atol=1e-3)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in before.items())


def test_weights_of_a_generator_are_validated_under_their_own_norms():
    one = task()
    networks = made(one)
    mean = Ema(networks["generator"], 0.9)
    for step in range(3):
        networks["generator"](torch.zeros(1, 4, 16, 16), torch.zeros(1, 3))
        with torch.no_grad():
            for parameter in networks["generator"].parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        mean.update(networks["generator"])
        assert batch_of(one, step)
    mean.swap(networks["generator"])
    seen = []
    one.judge = lambda generator, device: seen.append(norms_in_use(generator)) or {"score": 0.0}
    with torch.inference_mode():
        one.validate(networks, torch.device("cpu"))
    assert np.allclose(seen[0], 1, atol=1e-3)
