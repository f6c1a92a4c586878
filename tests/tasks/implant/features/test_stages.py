"""Feature maps are what the stages give; projections and scaling by their formulas."""

import pytest
import torch

from volforge.errors import VolforgeError
from volforge.networks.c2f_n1 import CoarseN1
from volforge.networks.c2f_n2 import FineN2
from volforge.networks.cranial_autoencoder import CranialAutoencoder
from volforge.networks.residual_unet import ResidualUNet
from volforge.tasks.implant.features.stages import feature_maps, layers_of, min_max, projected, stages_of

IMAGE = (torch.rand(1, 1, 16, 32, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def test_stages_of_the_published_network_are_its_own_grids():
    torch.manual_seed(0)
    network = CranialAutoencoder(width=2).train()
    stages = stages_of(network)
    assert list(stages) == [f"encoder{k}" for k in range(1, 5)] + [f"decoder{k}" for k in range(1, 6)]
    found = feature_maps(network, IMAGE, stages)
    assert network.training, "its mode is left as it was"
    with torch.no_grad():
        wanted = network.eval().grids(IMAGE)
    for (name, maps), own in zip(found.items(), wanted, strict=True):
        assert torch.equal(maps, own[0]), name
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("network", "counts"),
    [
        (lambda: CoarseN1(width=2, kernel=3), (6, 4)),
        (lambda: FineN2(width=2), (7, 5)),
        (lambda: ResidualUNet(1, 2, width=2, levels=3), (3, 2)),
    ],
)
def test_other_networks_of_implants_have_stages_too(network, counts):
    torch.manual_seed(0)
    made, image = network(), torch.rand(1, 1, 32, 32, 32)
    found = feature_maps(made, image, stages_of(made))
    assert [sum(n.startswith(w) for n in found) for w in ("encoder", "decoder")] == list(counts)
    sides = [m.shape[1] for m in found.values()]
    assert min(sides) < sides[-1] == 32


def test_a_hook_is_taken_off_again_where_the_network_fails():
    network = CranialAutoencoder(width=2)
    with pytest.raises(ValueError, match="multiples of 16"):
        feature_maps(network, IMAGE[..., :8], stages_of(network))
    assert not any(m._forward_hooks for m in network.modules())
    with pytest.raises(ValueError, match="one image at a time"):
        feature_maps(network, torch.cat([IMAGE, IMAGE]), stages_of(network))


def test_layers_by_name_and_networks_without_stages():
    network = CranialAutoencoder(width=2)
    maps = feature_maps(network, IMAGE, layers_of(network, ["down.0.conv"]))["down.0.conv"]
    assert maps.shape == (2, 8, 16, 8)
    with pytest.raises(VolforgeError, match=r"no layer 'down\.9'"):
        layers_of(network, ["down.9"])
    with pytest.raises(VolforgeError, match="stages are not known"):
        stages_of(torch.nn.Conv3d(1, 1, 1))


def test_projections_and_scaling():
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert torch.equal(projected(maps, "z", "sum"), maps.sum(3))
    assert torch.equal(projected(maps, "x", "max")[0], maps[0, 1])
    assert torch.equal(projected(maps, "y", "mean"), maps.mean(2))
    both = torch.stack([torch.tensor([[-3.0, 1.0], [0.0, 5.0]]), torch.full((2, 2), 7.0)])
    assert torch.equal(min_max(both)[0], torch.tensor([[0.0, 0.5], [0.375, 1.0]]))
    assert not min_max(both)[1].any()
    for arguments in (("w", "sum"), ("z", "median")):
        with pytest.raises(VolforgeError, match="unknown"):
            projected(maps, *arguments)
