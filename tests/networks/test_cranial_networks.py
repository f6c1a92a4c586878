"""Networks of cranial implants against the numbers of their papers and code."""

import pytest
import torch
from torch.nn import functional

from volforge import components
from volforge.errors import VolforgeError
from volforge.networks.cranial_autoencoder import CranialAutoencoder, Halving, same_padding

CAP = (128, 128, 64)
GRIDS = [
    (32, 64, 64, 32), (64, 32, 32, 16), (128, 16, 16, 8), (512, 8, 8, 4), (256, 16, 16, 8), (128, 16, 16, 8),
    (64, 32, 32, 16), (1, 64, 64, 32), (1, *CAP),
]  # fmt: skip


def parameters(name, **given):
    with torch.device("meta"):
        return sum(p.numel() for p in components.build("network", {"name": name}, **given).parameters())


def test_parameter_counts_are_the_published_ones():
    assert parameters("cranial_autoencoder") == 22_864_193
    assert parameters("cranial_discriminator", size=CAP) == 5_303_297
    assert parameters("c2f_n1") == pytest.approx(82.08e6, rel=1e-3)
    assert parameters("c2f_n2") == pytest.approx(0.65e6, rel=1e-2)


def test_what_the_autoencoder_counts_without_gradients():
    with torch.device("meta"):
        running = {k: v for k, v in CranialAutoencoder().named_buffers() if "running" in k}
    assert sum(v.numel() for v in running.values()) == 1346


def test_layers_of_the_autoencoder_have_the_published_grids():
    with torch.device("meta"):
        found = CranialAutoencoder().grids(torch.zeros(1, 1, *CAP))
    assert [tuple(g.shape[1:]) for g in found] == GRIDS


@pytest.mark.parametrize("size", [(32, 32, 16), (48, 16, 32)])
@pytest.mark.parametrize("head", ["tanh", "sigmoid"])
def test_the_autoencoder_takes_any_grid_of_sixteens(size, head):
    torch.manual_seed(0)
    network = CranialAutoencoder(width=2, head=head)
    found = network(torch.rand(2, 1, *size))
    assert found.shape == (2, 1, *size)
    assert found.abs().max() <= 1
    assert bool((found < 0).any()) == (head == "tanh")
    found.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_grids_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        CranialAutoencoder(width=1)(torch.zeros(1, 1, 24, 16, 16))
    with pytest.raises(VolforgeError, match="multiples of 4"):
        components.build("network", {"name": "cranial_discriminator"}, size=(10, 8, 8))
    with pytest.raises(VolforgeError, match="head"):
        components.build("network", {"name": "cranial_autoencoder", "head": "relu"})
    for name, divisor in (("c2f_n1", 16), ("c2f_n2", 32)):
        network = components.build("network", {"name": name, "width": 2})
        with pytest.raises(ValueError, match=f"multiples of {divisor}"):
            network(torch.zeros(1, 1, 24, 32, 32))


def test_halving_pads_as_keras_does():
    """One more after than before: an impulse at the first voxel is seen by the first output alone."""
    assert [same_padding(k) for k in (5, 3, 1)] == [(1, 2), (0, 1), (0, 0)]
    layer = Halving(1, 1, 5, torch.nn.Identity())
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.weight[0, 0, 1, 1, 1] = 1  # the voxel itself: output k reads input 2 k
        layer.conv.bias.zero_()
        x = torch.rand(1, 1, 8, 8, 8)
        assert torch.equal(layer(x), x[:, :, ::2, ::2, ::2])


def test_a_stride_1_transposed_convolution_is_a_convolution_with_the_flipped_kernel():
    torch.manual_seed(1)
    x, weight = torch.rand(1, 3, 6, 6, 6), torch.rand(3, 2, 5, 5, 5)
    there = functional.conv_transpose3d(x, weight, padding=2)
    here = functional.conv3d(x, weight.flip(2, 3, 4).transpose(0, 1), padding=2)
    assert torch.allclose(there, here, atol=1e-4)


@pytest.mark.parametrize(("name", "side"), [("c2f_n1", 32), ("c2f_n2", 64)])
def test_coarse_and_fine_networks_give_logits_and_learn(name, side):
    torch.manual_seed(0)
    network = components.build("network", {"name": name, "width": 4, "kernel": 3})
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    skull = torch.zeros(1, 1, side, side, side)
    skull[:, :, 8:-8, 8:-8, 8:-8] = 1
    target = skull[:, 0].long()
    losses = []
    for _ in range(25):
        loss = functional.cross_entropy(network(skull), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_the_discriminator_scores_volumes_of_its_size():
    network = components.build("network", {"name": "cranial_discriminator", "width": 2}, size=(16, 8, 8))
    assert network(torch.rand(3, 1, 16, 8, 8)).shape == (3, 1)
