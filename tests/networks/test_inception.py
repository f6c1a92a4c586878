"""The FID network by its names and counts, and its blocks against a computation without layers."""

import re

import numpy as np
import pytest
import torch

from volforge.networks import inception as net

PUBLIC_NAMES = """
Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3
Mixed_5[bcd]: branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 branch_pool
Mixed_6[a]: branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3
Mixed_6[bcde]: branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3
Mixed_6[bcde]: branch7x7dbl_4 branch7x7dbl_5 branch_pool
Mixed_7[a]: branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4
Mixed_7[bc]: branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a
Mixed_7[bc]: branch3x3dbl_3b branch_pool
"""
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def shaken(module, seed=0):
    """The module for inference, its batch norms away from identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if re.search(r"bn\.(weight|running_var)$", name):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif re.search(r"bn\.(bias|running_mean)$", name):
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return module.eval()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return shaken(net.FidInception())


def features(network, images):
    with torch.inference_mode():
        return network(images)


def test_parameters_are_as_many_as_those_of_the_public_network(network):
    assert sum(p.numel() for p in network.parameters()) == 23_850_960


def test_state_has_the_public_names(network):
    stem, *blocks = PUBLIC_NAMES.strip().splitlines()
    convolutions = stem.split()
    for block in blocks:
        name, letters, branches = re.fullmatch(r"(\w+)\[(\w+)\]: (.*)", block).groups()
        convolutions += [f"{name}{letter}.{b}" for letter in letters for b in branches.split()]
    wanted = {f"{c}.{n}" for c in convolutions for n in ("conv.weight", *(f"bn.{n}" for n in NORM))}
    wanted |= {"fc.weight", "fc.bias"}
    state = network.state_dict()
    assert set(state) == wanted
    assert len(state) == 566
    assert state["fc.weight"].shape == (1008, 2048)
    assert {m.eps for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.001}


def test_a_state_from_before_batch_counters_loads(network):
    """Old files have no num_batches_tracked, and a plain dict has no version."""
    old = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(old) == 472
    other = net.FidInception()
    other.load_state_dict(old)
    x = torch.rand(1, 1, 75, 75)
    assert torch.equal(features(other.eval(), x), features(network, x))
    with pytest.raises(RuntimeError, match=r"fc\.weight"):
        other.load_state_dict({k: v for k, v in old.items() if k != "fc.weight"})


def test_every_block_has_the_size_of_the_paper(network):
    sizes = {}
    hooks = [
        m.register_forward_hook(lambda m, i, o, name=name: sizes.update({name: tuple(o.shape[1:])}))
        for name, m in network.named_children()
    ]
    found = features(network, torch.rand(1, 3, 299, 299))
    for hook in hooks:
        hook.remove()
    assert found.shape == (1, 2048)
    assert list(sizes.values()) == [
        (32, 149, 149),
        (32, 147, 147),
        (64, 147, 147),
        (80, 73, 73),
        (192, 71, 71),
        (256, 35, 35),
        (288, 35, 35),
        (288, 35, 35),
        (768, 17, 17),
        *[(768, 17, 17)] * 4,
        (1280, 8, 8),
        (2048, 8, 8),
        (2048, 8, 8),
    ]


@pytest.mark.parametrize("size", [(299, 299), (64, 48), (512, 400), (1, 1)])
def test_any_size_is_resized_bilinearly_and_a_grey_image_is_three_equal_channels(network, size):
    grey = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(1))
    found = features(network, grey)
    assert found.shape == (2, 2048)
    assert torch.isfinite(found).all()
    assert torch.equal(found, features(network, grey.repeat(1, 3, 1, 1)))
    resized = torch.nn.functional.interpolate(grey, (299, 299), mode="bilinear", align_corners=False)
    assert torch.allclose(found, features(network, resized), atol=1e-5)
    assert torch.allclose(found[1:], features(network, grey[1:]), atol=1e-4)  # images do not see each other


def test_black_and_white_reach_the_network_as_minus_one_and_one(network):
    seen = []
    hook = network.Conv2d_1a_3x3.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].clone()))
    for value in (0.0, 0.5, 1.0):
        features(network, torch.full((1, 1, 40, 30), value))
    hook.remove()
    for x, expected in zip(seen, (-1, 0, 1), strict=True):
        assert [float(x.min()), float(x.max())] == pytest.approx([expected] * 2, abs=1e-6)


def test_features_are_the_means_of_the_last_block(network):
    last = []
    hook = network.Mixed_7c.register_forward_hook(lambda m, i, o: last.append(o))
    found = features(network, torch.rand(1, 3, 80, 80))
    hook.remove()
    assert torch.allclose(found, last[0].flatten(2).mean(dim=2), atol=1e-5)


def convolved(state, name, x, stride=1, same=True):
    """Convolution, batch norm and ReLU with numpy, one place of the kernel after the other."""
    w = state[f"{name}.conv.weight"]
    pads = [k // 2 if same else 0 for k in w.shape[2:]]
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pads)])
    rows, columns = ((x.shape[2 + a] - w.shape[2 + a]) // stride + 1 for a in range(2))
    out = np.zeros((x.shape[0], w.shape[0], rows, columns))
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            part = x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
            out += np.einsum("oc,nchw->nohw", w[:, :, i, j], part[:, :, :rows, :columns], optimize=True)
    weight, bias, mean, var = (state[f"{name}.bn.{n}"][None, :, None, None] for n in NORM[:4])
    return np.maximum((out - mean) / np.sqrt(var + 0.001) * weight + bias, 0)


def pooled(x, what, stride=1, pad=1):
    """3x3 pool of what lies in the image: nothing is padded."""
    places = [range(0, n + 2 * pad - 2, stride) for n in x.shape[2:]]
    out = np.empty((*x.shape[:2], *map(len, places)))
    for a, i in enumerate(places[0]):
        for b, j in enumerate(places[1]):
            window = x[:, :, max(0, i - pad) : i - pad + 3, max(0, j - pad) : j - pad + 3]
            out[:, :, a, b] = what(window, axis=(2, 3))
    return out


def block_a(s, x, chain):
    return [
        chain(x, "branch1x1"),
        chain(x, "branch5x5_1", "branch5x5_2"),
        chain(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        chain(pooled(x, np.mean), "branch_pool"),
    ]


def block_b(s, x, chain):
    last = convolved(s, "branch3x3dbl_3", chain(x, "branch3x3dbl_1", "branch3x3dbl_2"), 2, False)
    return [convolved(s, "branch3x3", x, 2, False), last, pooled(x, np.max, 2, 0)]


def block_c(s, x, chain):
    return [
        chain(x, "branch1x1"),
        chain(x, *(f"branch7x7_{k}" for k in range(1, 4))),
        chain(x, *(f"branch7x7dbl_{k}" for k in range(1, 6))),
        chain(pooled(x, np.mean), "branch_pool"),
    ]


def block_d(s, x, chain):
    short = convolved(s, "branch3x3_2", chain(x, "branch3x3_1"), 2, False)
    long = convolved(s, "branch7x7x3_4", chain(x, *(f"branch7x7x3_{k}" for k in range(1, 4))), 2, False)
    return [short, long, pooled(x, np.max, 2, 0)]


def block_e(s, x, chain, what=np.mean):
    single, double = chain(x, "branch3x3_1"), chain(x, "branch3x3dbl_1", "branch3x3dbl_2")
    forks = [chain(single, f"branch3x3_2{f}") for f in "ab"] + [chain(double, f"branch3x3dbl_3{f}") for f in "ab"]
    return [chain(x, "branch1x1"), *forks, chain(pooled(x, what), "branch_pool")]


def block_e_max(s, x, chain):
    return block_e(s, x, chain, np.max)


@pytest.mark.parametrize(
    ("make", "channels", "naive"),
    [
        (lambda: net.BlockA(192, 32), 192, block_a),
        (net.BlockB, 288, block_b),
        (lambda: net.BlockC(128), 768, block_c),
        (net.BlockD, 768, block_d),
        (lambda: net.BlockE(1280, max_pool=False), 1280, block_e),
        (lambda: net.BlockE(2048, max_pool=True), 2048, block_e_max),
    ],
    ids=["A", "B", "C", "D", "E_mean", "E_max"],
)
def test_blocks_equal_a_computation_without_layers(make, channels, naive):
    torch.manual_seed(1)
    block = shaken(make())
    state = {k: v.double().numpy() for k, v in block.state_dict().items()}
    # below 0 too: a padding of zeros would win a maximum
    x = torch.randn(2, channels, 7, 6)
    if naive is block_e_max:
        x -= 5

    def chain(values, *names):
        for name in names:
            values = convolved(state, name, values)
        return values

    expected = np.concatenate(naive(state, x.double().numpy(), chain), axis=1)
    with torch.inference_mode():
        found = block(x).numpy()
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-4)


def test_only_the_last_block_pools_by_the_maximum(network):
    assert [network.Mixed_7b.max_pool, network.Mixed_7c.max_pool] == [False, True]
