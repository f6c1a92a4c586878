"""Networks of translation: published parameter counts, shapes, fields of view, what is drawn, what is refused."""

import pytest
import torch
from torch import nn

from volforge import components
from volforge.errors import VolforgeError
from volforge.networks.image_unet import ImageUNet
from volforge.networks.patch_discriminator import PatchDiscriminator
from volforge.networks.resnet_generator import ResnetGenerator
from volforge.networks.shape_unet import ShapeUNet

SMALL = {
    "generator": lambda: ResnetGenerator(2, 1, width=4, blocks=2),
    "discriminator": lambda: PatchDiscriminator(2, width=4),
    "extractor": lambda: ShapeUNet(2, width=4),
    "unet": lambda: ImageUNet(2, 1, width=4, levels=3),
}


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (ResnetGenerator, 11_365_633),
        (lambda: ResnetGenerator(blocks=6), 11_365_633 - 3 * 2 * (256 * 256 * 9 + 256)),
        (PatchDiscriminator, 2_762_689),
        (lambda: ShapeUNet(3), 13_395_329),
        (ShapeUNet, 13_395_329 - 2 * 64 * 9),
    ],
)
def test_published_parameter_counts(make, count):
    with torch.device("meta"):
        assert parameters(make()) == count


@pytest.mark.parametrize("name", SMALL)
def test_equal_seeds_draw_equal_weights(name):
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(SMALL[name]().state_dict())
    assert all(torch.equal(drawn[0][k], drawn[1][k]) for k in drawn[0])
    assert not all(torch.equal(drawn[0][k], drawn[2][k]) for k in drawn[0])


@pytest.mark.parametrize("make", [lambda: ResnetGenerator(width=16, blocks=2), lambda: PatchDiscriminator(width=16)])
def test_weights_are_normal_with_deviation_002_and_biases_0(make):
    torch.manual_seed(0)
    network = make()
    drawn = torch.cat([p.detach().flatten() for n, p in network.named_parameters() if n.endswith("weight")])
    assert abs(float(drawn.mean())) < 3e-4
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.02)
    assert all(not p.any() for n, p in network.named_parameters() if n.endswith("bias"))


def test_the_registry_gives_channels_and_outputs():
    made = components.build(
        "network", {"name": "resnet_generator", "width": 4, "blocks": 1}, channels=3, outputs=2, classes=9, size=64
    )
    assert made(torch.rand(1, 3, 16, 24)).shape == (1, 2, 16, 24)
    assert components.check("network", {"name": "resnet_generator", "outputs": 2})[0][0].endswith("'outputs'")
    with pytest.raises(VolforgeError, match="from 1 on"):
        components.build("network", {"name": "resnet_generator", "blocks": 0}, channels=1, outputs=1)
    with pytest.raises(VolforgeError, match="one to five halvings"):
        components.build("network", {"name": "patch_discriminator", "layers": 6}, channels=1)


@pytest.mark.parametrize(("h", "w"), [(8, 8), (32, 48), (20, 12)])
def test_the_generator_gives_images_of_the_same_size(h, w):
    image = SMALL["generator"]()(torch.rand(2, 2, h, w) * 2 - 1)
    assert image.shape == (2, 1, h, w)
    assert image.dtype == torch.float32
    assert float(image.detach().abs().max()) <= 1


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("generator", (30, 32), "multiples of 4"),
        ("generator", (32, 34), "multiples of 4"),
        ("generator", (4, 32), "8 or more"),
        ("extractor", (32, 40), "multiples of 16"),
        ("discriminator", (23, 64), "24 or more"),
    ],
)
def test_sides_that_do_not_fit_are_refused(name, size, text):
    with pytest.raises(ValueError, match=text):
        SMALL[name]()(torch.zeros(1, 2, *size))


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_every_image_has_statistics_of_its_own_in_training_and_after(name):
    torch.manual_seed(0)
    network, images = SMALL[name](), torch.randn(3, 2, 32, 32)
    together = network(images)
    torch.testing.assert_close(together[1:2], network(images[1:2]), atol=1e-5, rtol=1e-4)
    assert torch.equal(together, network.eval()(images))
    assert not [n for n, _ in network.named_buffers()]
    norms = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert norms
    assert not any(m.affine or m.track_running_stats for m in norms)


def test_edges_are_mirrored_so_that_a_constant_image_stays_constant_until_it_is_halved():
    """Zeros beyond the edge would show; the halving convolutions have them, as published."""
    torch.manual_seed(0)
    flat = torch.full((1, 2, 16, 16), 0.7)
    first, halved = SMALL["generator"]().features(flat, (1, 4))
    assert float((first - first.mean(dim=(2, 3), keepdim=True)).abs().max()) < 1e-6
    ramp = torch.arange(16.0).expand(1, 2, 16, 16)
    (seen,) = SMALL["generator"]().features(ramp, (0,))
    assert seen[0, 0, 0, :5].tolist() == [3, 2, 1, 0, 1]
    assert halved.shape == (1, 8, 8, 8)


def test_feature_maps_are_those_of_the_pass_and_have_the_channels_that_are_told():
    torch.manual_seed(0)
    network, image = ResnetGenerator(3, width=4, blocks=3), torch.rand(2, 3, 24, 16)
    every = range(len(network.layers))
    made, features = network(image, every)
    assert torch.equal(made, network(image))
    assert torch.equal(features[-1], made)
    assert [f.shape[1] for f in features] == network.channels_of(every)
    back = network.features(image, (10, 4, 0))
    assert all(torch.equal(f, features[k]) for f, k in zip(back, (10, 4, 0), strict=True))
    assert [tuple(f.shape[1:]) for f in back] == [(16, 6, 4), (8, 12, 8), (3, 30, 22)]
    assert network.features(image, ()) == []
    for wrong in (-1, len(network.layers)):
        with pytest.raises(ValueError, match="layers 0 to"):
            network.features(image, (wrong,))
        with pytest.raises(ValueError, match="layers 0 to"):
            network.channels_of((wrong,))


@pytest.mark.parametrize(
    ("blocks", "taps"), [(9, (0, 4, 7, 10, 14)), (5, (0, 4, 7, 10, 14)), (3, (0, 4, 7, 10, 12)), (1, (0, 4, 7, 10))]
)
def test_contrast_is_taken_at_the_image_the_halvings_and_two_blocks(blocks, taps):
    network = ResnetGenerator(width=2, blocks=blocks)
    assert network.contrast_taps == taps
    kinds = [type(network.layers[k]).__name__ for k in taps]
    assert kinds == ["ReflectionPad2d", "Conv2d", "Conv2d", *["ResidualBlock"] * (len(taps) - 3)]
    assert all(network.layers[k].stride == (2, 2) for k in taps[1:3])


def test_a_tap_stops_the_pass_behind_it():
    network = SMALL["generator"]()
    passed = []
    for k, layer in enumerate(network.layers):
        layer.register_forward_hook(lambda *_, k=k: passed.append(k))
    network.features(torch.rand(1, 2, 16, 16), (0, 4))
    assert passed == [0, 1, 2, 3, 4]


def test_gradients_reach_all_weights_through_feature_maps_and_image():
    torch.manual_seed(0)
    network = SMALL["generator"]()
    made, features = network(torch.rand(2, 2, 16, 16), network.contrast_taps)
    (made.square().mean() + sum(f.square().mean() for f in features)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_score_sees_a_patch_of_the_published_side(layers, field):
    """Without the norms, which see whole images."""
    torch.manual_seed(0)
    network = PatchDiscriminator(width=2, layers=layers).double()
    for k, part in enumerate(network.layers):
        if isinstance(part, nn.InstanceNorm2d):
            network.layers[k] = nn.Identity()
        elif isinstance(part, nn.Conv2d):
            nn.init.ones_(part.weight)  # nothing cancels
    image = torch.ones(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    scores = network(image)
    h, w = scores.shape[-2:]
    scores[0, 0, h // 2, w // 2].backward()
    seen = image.grad[0, 0] != 0
    assert int(seen.any(dim=1).sum()) == int(seen.any(dim=0).sum()) == field


def test_scores_of_256_pixels_are_30_by_30_and_linear():
    torch.manual_seed(0)
    network = PatchDiscriminator(width=4)
    with torch.device("meta"):
        assert PatchDiscriminator()(torch.zeros(2, 1, 256, 256)).shape == (2, 1, 30, 30)
    assert network(torch.rand(1, 1, 50, 24)).shape == (1, 1, 4, 1)
    with torch.no_grad():
        network.layers[-1].bias.fill_(5.0)
    assert float(network(torch.rand(1, 1, 32, 32)).min()) > 4


def test_the_extractor_gives_one_logit_a_pixel():
    network = SMALL["extractor"]()
    assert network(torch.rand(2, 2, 32, 48)).shape == (2, 1, 32, 48)
    with torch.no_grad():
        network.head.bias.fill_(9.0)
        network.head.weight.zero_()
    assert float(network(torch.rand(2, 2, 16, 16)).min()) == 9.0


def test_the_extractor_doubles_by_lines_between_the_corners():
    """Its coarser levels alone, passed on as they are: a ramp comes back as a ramp from corner to corner."""
    network = ShapeUNet(1, width=1)
    wanted = []

    class Coarse(nn.Module):
        def forward(self, x):
            wanted.append(x[:, -1:])
            return x[:, -1:]

    network.up = nn.ModuleList(Coarse() for _ in range(4))
    network.down = nn.ModuleList(nn.Identity() for _ in range(5))
    network.head = nn.Identity()
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    made = network(ramp)
    coarse = ramp
    for _ in range(4):
        coarse = nn.functional.max_pool2d(coarse, 2)
    ends = coarse[0, 0, 0, [0, -1]]
    torch.testing.assert_close(made[0, 0, 0], torch.linspace(float(ends[0]), float(ends[1]), 32))
    assert [w.shape[-1] for w in wanted] == [4, 8, 16, 32]


def test_the_frozen_extractor_passes_gradients_to_its_image_and_learns_nothing():
    torch.manual_seed(0)
    network = SMALL["extractor"]().eval().requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    image = torch.rand(1, 2, 32, 32, requires_grad=True)
    network(image).sigmoid().mean().backward()
    assert float(image.grad.abs().max()) > 0
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_an_image_unet_gives_an_image_of_its_input_s_size_between_the_ends():
    network = ImageUNet(3, 2, width=8, levels=4).eval()
    found = network(torch.randn(2, 3, 32, 48) * 3)
    assert found.shape == (2, 2, 32, 48)
    assert found.abs().max() <= 1
    assert network.divisor == 8
    built = components.build("network", {"name": "image_unet", "width": 4, "levels": 2}, channels=2, outputs=1)
    assert built(torch.zeros(1, 2, 8, 8)).shape == (1, 1, 8, 8)


def test_an_image_unet_sees_each_image_by_itself_and_the_whole_of_it():
    torch.manual_seed(0)
    network = ImageUNet(width=8, levels=4).eval()
    one, other = torch.rand(2, 1, 1, 32, 32)
    both = network(torch.cat([one, other]))
    torch.testing.assert_close(both[:1], network(one))
    moved = one.clone()
    moved[..., 0, 0] += 1
    assert (network(moved) - network(one)).abs()[..., -1, -1].item() > 0


@pytest.mark.parametrize(("width", "levels"), [(0, 3), (4, 1)])
def test_an_image_unet_without_width_or_levels_is_refused(width, levels):
    with pytest.raises(ValueError, match="width from 1 on"):
        ImageUNet(width=width, levels=levels)


def test_an_image_unet_refuses_sides_that_it_cannot_halve():
    with pytest.raises(ValueError, match="multiples of 8, 16 or more, not"):
        ImageUNet(width=2, levels=4)(torch.zeros(1, 1, 20, 16))
    assert (ImageUNet(width=2, levels=4).divisor, ImageUNet(width=2, levels=4).smallest) == (8, 16)
