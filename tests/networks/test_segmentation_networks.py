"""Published parameter counts, shapes of logits, grids of the layers, and what the constructors refuse."""

import pytest
import torch
from torch import nn

from volforge.networks.residual_unet import ResidualUNet, strides_of
from volforge.networks.unet3d import UNet3D
from volforge.networks.vnet import VNet


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: UNet3D(1, 2), 4_080_914),
        (lambda: UNet3D(1, 2, attention=True), 4_113_963),
        (lambda: VNet(1, 2), 65_191_134),
    ],
)
def test_published_networks_have_the_published_parameters(network, parameters):
    with torch.device("meta"):
        assert count(network()) == parameters


def test_blocks_of_the_vnet_have_the_parameters_of_the_table():
    with torch.device("meta"):
        net = VNet(1, 2)
    assert count(net.first) + count(net.first_act) == 2_064
    assert [count(b) for b in net.down] == [260_512, 1_553_472, 6_211_712, 24_842_496]
    assert [count(b) for b in net.up] == [24_841_984, 6_276_992, 1_057_472, 136_416]
    assert count(net.last) == 8_014


def grids(network: nn.Module, image: torch.Tensor, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    """Channels and grid that every module of a kind makes, in order."""
    seen = []
    hooks = [
        m.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
        for m in network.modules()
        if isinstance(m, kind)
    ]
    network(image)
    for h in hooks:
        h.remove()
    return seen


def test_layer_grid_of_the_published_unet():
    net = UNet3D(1, 2).eval()
    with torch.no_grad():
        seen = grids(net, torch.zeros(1, 1, 16, 24, 32), nn.GroupNorm)
    expected = [
        (16, 16, 24, 32), (32, 16, 24, 32), (32, 8, 12, 16), (64, 8, 12, 16), (64, 4, 6, 8), (128, 4, 6, 8),
        (128, 2, 3, 4), (256, 2, 3, 4), (128, 4, 6, 8), (128, 4, 6, 8), (64, 8, 12, 16), (64, 8, 12, 16),
        (32, 16, 24, 32), (32, 16, 24, 32),
    ]  # fmt: skip
    assert seen == expected


def test_layer_grid_of_the_vnet():
    net = VNet(1, 2, width=2).eval()
    with torch.no_grad():
        down = grids(net, torch.zeros(1, 1, 16, 32, 16), nn.PReLU)
    assert down[0] == (2, 16, 32, 16)
    assert (32, 1, 2, 1) in down
    assert down[-1] == (2, 16, 32, 16)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UNet3D(1, 3, width=4),
        lambda: UNet3D(1, 3, width=4, attention=True),
        lambda: UNet3D(1, 3, width=4, attention=True, gate_norm="instance"),
        lambda: VNet(1, 3, width=2, levels=4),
        lambda: VNet(1, 3, width=2, levels=4, norm="instance"),
        lambda: ResidualUNet(1, 3, width=4, levels=3),
        lambda: ResidualUNet(1, 3, width=4, levels=3, norm="batch"),
    ],
)
def test_logits_have_the_images_grid_and_are_no_probabilities(make):
    torch.manual_seed(0)
    net = make()
    image = torch.randn(2, 1, 16, 24, 16)
    net.train()
    found = net(image)
    first = found[0] if isinstance(found, list) else found
    assert first.shape == (2, 3, 16, 24, 16)
    net.eval()
    with torch.no_grad():
        logits = net(image)
    assert logits.shape == (2, 3, 16, 24, 16)
    assert not torch.allclose(logits.sum(dim=1), torch.ones(2, 16, 24, 16), atol=1e-3)
    first.square().mean().backward()
    assert all(p.grad is not None for n, p in net.named_parameters() if not n.startswith("heads."))


def test_unet_takes_any_size():
    net = UNet3D(1, 2, width=4).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 1, 9, 11, 13)).shape == (1, 2, 9, 11, 13)
    with pytest.raises(ValueError, match="8 voxels"):
        net(torch.zeros(1, 1, 7, 11, 13))


def test_batch_norm_of_the_vnet_is_instance_norm_at_batch_size_one():
    torch.manual_seed(0)
    published, other = VNet(1, 2, width=2, levels=3).eval(), VNet(1, 2, width=2, levels=3, norm="instance").eval()
    other.load_state_dict(published.state_dict())
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.allclose(published(image), other(image), atol=1e-5)


def test_dropout_of_the_vnet_acts_on_whole_channels_of_skips_and_in_training_only():
    net = VNet(1, 2, width=4, levels=2)
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(net.eval()(image), net(image))
        net.train()
        assert not torch.equal(net(image), net(image))
    dropped = net.up[0].dropout(torch.ones(1, 64, 4, 4, 4))
    assert set(dropped.flatten(2).std(dim=2).flatten().tolist()) == {0.0}


def test_supervised_resolutions_halve():
    net = ResidualUNet(1, 2, width=4, levels=4, supervised=3).train()
    assert [tuple(x.shape[2:]) for x in net(torch.zeros(1, 1, 16, 16, 32))] == [(16, 16, 32), (8, 8, 16), (4, 4, 8)]


def test_a_coarse_axis_is_halved_later():
    assert strides_of(4, (0.5, 0.5, 2.5)) == [(1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)]
    net = ResidualUNet(1, 2, width=4, levels=4, spacing_mm=(0.5, 0.5, 2.5))
    assert net.divisor == (8, 8, 2)
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 1, 16, 16, 6)).shape == (1, 2, 16, 16, 6)
    with pytest.raises(ValueError, match="multiples"):
        net(torch.zeros(1, 1, 12, 16, 6))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: UNet3D(1, 2, levels=1), "two levels"),
        (lambda: UNet3D(1, 2, gate_norm="layer"), "gate_norm"),
        (lambda: VNet(1, 2, levels=6), "2 to 5"),
        (lambda: VNet(3, 2, width=16), "multiple"),
        (lambda: VNet(1, 2, norm="layer"), "norm"),
        (lambda: ResidualUNet(1, 2, norm="layer"), "norm"),
        (lambda: ResidualUNet(1, 2, levels=1), "two levels"),
    ],
)
def test_constructors_refuse_what_makes_no_network(make, match):
    with pytest.raises(ValueError, match=match):
        make()
