"""LPIPS with weights set by hand, its laws, and a computation after the paper with the published heads."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from volforge.metrics import features
from volforge.networks.alexnet_lpips import CHANNELS, SCALE, SHIFT, Lpips, resized_to_least
from volforge.weights import load_state, lpips_heads

CONVOLUTIONS = (0, 3, 6, 8, 10)  # layers of AlexNet's features


def alexnet_state(seed=0):
    """A state dict as the public file has it, classifier included."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    state = {"classifier.1.weight": torch.zeros(2, 2)}
    for layer, shape in zip(CONVOLUTIONS, shapes, strict=True):
        deviation = (2 / np.prod(shape[1:])) ** 0.5
        state[f"features.{layer}.weight"] = deviation * torch.randn(shape, generator=generator)
        state[f"features.{layer}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state


def heads_state(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for k, c in enumerate(CHANNELS)}


@pytest.fixture(scope="module")
def network():
    found = Lpips().eval()
    found.load_public(alexnet_state(), heads_state())
    return found


def images(seed, n=3, channels=1, size=(64, 70)):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed))


def distance(network, a, b):
    with torch.inference_mode():
        return network(a, b)


def test_equal_images_are_0_apart_and_others_more(network):
    a, b = images(0), images(1)
    assert distance(network, a, a).tolist() == [0, 0, 0]
    found = distance(network, a, b)
    assert found.shape == (3,)
    assert (found > 0).all()
    assert torch.allclose(found, distance(network, b, a))
    assert torch.allclose(found[1:2], distance(network, a[1:2], b[1:2]), rtol=1e-4)


def test_a_grey_image_is_three_equal_channels(network):
    a, b = images(0), images(1)
    assert torch.equal(distance(network, a, b), distance(network, a.repeat(1, 3, 1, 1), b.repeat(1, 3, 1, 1)))


def test_a_little_change_is_nearer_than_a_great_one(network):
    a = images(0)
    noise = images(2) - 0.5
    near, far = (distance(network, a, (a + s * noise).clip(0, 1)) for s in (0.01, 0.5))
    assert (near < far).all()


def test_two_channels_by_hand():
    """One channel sees a pixel of the scaled red image, another is always 1; all later layers are dead."""
    network = Lpips().eval()
    for p in network.parameters():
        torch.nn.init.zeros_(p)
    with torch.no_grad():
        network.features[0].weight[0, 0, 5, 5] = 1
        network.features[0].bias[1] = 1
        network.linear[0][0, :2, 0, 0] = torch.tensor([2.0, 3.0])

    def unit(value):
        c = max((2 * value - 1 - SHIFT[0]) / SCALE[0], 0)
        return np.array([c, 1]) / np.hypot(c, 1)

    for a, b in ((0.6, 0.9), (0.1, 0.8), (0.1, 0.2)):
        expected = np.array([2, 3]) @ (unit(a) - unit(b)) ** 2
        found = distance(network, *(torch.full((1, 1, 64, 64), v) for v in (a, b)))
        assert float(found) == pytest.approx(expected, abs=1e-6)


def after_the_paper(alexnet, heads, a, b):
    """Unit-normalised features of five layers, squared differences weighted by channel, mean over places."""
    total = 0
    x, y = (
        ((2 * v.repeat(1, 3, 1, 1) - 1) - torch.tensor(SHIFT).view(1, 3, 1, 1)) / torch.tensor(SCALE).view(1, 3, 1, 1)
        for v in (a, b)
    )
    for k, layer in enumerate(CONVOLUTIONS):
        stride, pad = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[k]
        taps = []
        for v in (x, y):
            before = functional.max_pool2d(v, 3, 2) if k in (1, 2) else v
            w, c = alexnet[f"features.{layer}.weight"], alexnet[f"features.{layer}.bias"]
            taps.append(functional.conv2d(before, w, c, stride, pad).clip(min=0))
        x, y = taps
        u, v = (t / (t.norm(dim=1, keepdim=True) + 1e-10) for t in taps)
        weight = heads[f"lin{k}.model.1.weight"].flatten()
        total = total + torch.einsum("nchw,c->nhw", (u - v) ** 2, weight).mean(dim=(1, 2))
    return total


@pytest.mark.parametrize("size", [(64, 64), (97, 80)])
def test_equals_a_computation_after_the_paper(network, size):
    a, b = images(3, size=size), images(4, size=size)
    expected = after_the_paper(alexnet_state(), heads_state(), a, b)
    assert torch.allclose(distance(network, a, b), expected, rtol=1e-5)


def test_published_heads_weigh_slices_of_any_size(tmp_path):
    torch.save(alexnet_state(), tmp_path / "alexnet.pth")
    heads = load_state(lpips_heads())
    assert [tuple(heads[f"lin{k}.model.1.weight"].shape) for k in range(5)] == [(1, c, 1, 1) for c in CHANNELS]
    assert all((h >= 0).all() for h in heads.values())
    for size in ((64, 64), (20, 30)):
        a, b = images(5, 35, size=size), images(6, 35, size=size)  # more than a batch
        found = features.lpips(a[:, 0].numpy(), b[:, 0].numpy(), tmp_path / "alexnet.pth")
        large = [resized_to_least(v) for v in (a, b)]
        assert np.allclose(found, after_the_paper(alexnet_state(), heads, *large), rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "wanted"), [((64, 64), (64, 64)), ((500, 64), (500, 64)), ((32, 48), (64, 96)), ((7, 7), (64, 64))]
)
def test_small_images_are_enlarged_to_what_alexnet_can_read(size, wanted):
    x = torch.full((2, 1, *size), 0.3)
    found = resized_to_least(x)
    assert found.shape[-2:] == wanted
    assert (found is x) == (size == wanted)
    assert torch.allclose(found, torch.tensor(0.3))


def test_files_that_lack_a_layer_are_refused():
    alexnet, heads = alexnet_state(), heads_state()
    with pytest.raises(RuntimeError, match=r"10\.bias"):
        Lpips().load_public({k: v for k, v in alexnet.items() if k != "features.10.bias"}, heads)
    with pytest.raises(KeyError, match="lin4"):
        Lpips().load_public(alexnet, {k: v for k, v in heads.items() if not k.startswith("lin4")})
