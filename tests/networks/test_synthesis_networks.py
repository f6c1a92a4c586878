"""Networks of semantic synthesis: published parameter counts, shapes, the Haar transform, what noise does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volforge.networks.haar import haar, inverse_haar
from volforge.networks.oasis_generator import OasisGenerator
from volforge.networks.oasis_segmenter import OasisSegmenter
from volforge.networks.wavelet_discriminator import WaveletDiscriminator, blurred
from volforge.networks.wavelet_generator import WaveletGenerator


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: OasisGenerator(38, 3), 71_190_467),
        (lambda: OasisGenerator(38, 3, noise=0), 69_420_995),
        (lambda: WaveletGenerator(38, 3, idle=True), 55_803_884),
        (lambda: WaveletGenerator(38, 3), 55_803_884 - 1_577_408),
        (lambda: OasisSegmenter(38, 3), 22_251_559),
        (lambda: WaveletDiscriminator(256, 3), 26_211_073),
    ],
)
def test_published_parameter_counts(make, count):
    with torch.device("meta"):
        assert parameters(make()) == count


@pytest.mark.parametrize(
    "make",
    [
        lambda: OasisGenerator(5, 1, width=2, noise=3, blocks=4, hidden=8),
        lambda: WaveletGenerator(5, 1, width=1, noise=3, blocks=4, hidden=8),
    ],
)
def test_generators_make_images_of_the_map_s_size_that_noise_changes(make):
    torch.manual_seed(0)
    network = make()
    labels = torch.nn.functional.one_hot(torch.randint(5, (2, 32, 48)), 5).movedim(-1, 1).float()
    noise = torch.randn(2, 3)
    image = network(labels, noise)
    assert image.shape == (2, 1, 32, 48)
    assert float(image.abs().max()) <= 1
    network.eval()
    with torch.no_grad():
        first, again = network(labels, noise), network(labels, noise)
        other, by_place = network(labels, noise + 1), network(labels, noise[:, :, None, None].expand(-1, -1, 32, 48))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.allclose(first, by_place, atol=1e-6)
    with pytest.raises(ValueError, match="multiples"):
        network(labels[..., :30, :], noise)


def test_local_noise_changes_its_place_more_than_others():
    torch.manual_seed(0)
    network = OasisGenerator(4, 1, width=4, noise=8, blocks=3, hidden=16).eval()
    labels = torch.zeros(1, 4, 64, 64)
    labels[:, 1] = 1
    noise = torch.randn(1, 8, 64, 64)
    other = noise.clone()
    other[..., 48:, 48:] += 2
    with torch.no_grad():
        change = (network(labels, noise) - network(labels, other)).abs()[0, 0]
    assert float(change[48:, 48:].mean()) > 10 * float(change[:32, :32].mean())


def test_without_noise_the_image_is_one_per_map():
    network = OasisGenerator(4, 1, width=2, noise=0, blocks=3, hidden=8).eval()
    labels = torch.rand(1, 4, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(labels), network(labels, torch.randn(1, 8)))


def test_the_segmenter_gives_a_logit_per_class_and_one_for_fake():
    network = OasisSegmenter(7, 1, width=4, levels=4)
    assert network(torch.randn(2, 1, 48, 64)).shape == (2, 8, 48, 64)
    with pytest.raises(ValueError, match="multiples"):
        network(torch.randn(1, 1, 40, 64))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 6, 8])
def test_the_discriminator_scores_any_batch(batch):
    network = WaveletDiscriminator(32, 1, width=4, most=8)
    score, features = network.scored(torch.randn(batch, 1, 32, 32))
    assert score.shape == (batch, 1)
    assert [f.shape[-1] for f in features] == [8, 4]


def test_sides_of_the_discriminator_are_powers_of_two():
    with pytest.raises(ValueError, match="power of two"):
        WaveletDiscriminator(48)
    with pytest.raises(ValueError, match="32 x 32 pixels"):
        WaveletDiscriminator(32, 1, width=4, most=8)(torch.zeros(1, 1, 32, 64))


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_the_haar_transform_keeps_energy_and_comes_back(channels, h, w, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, channels, 2 * h, 2 * w, generator=generator, dtype=torch.float64)
    bands = haar(image)
    assert bands.shape == (2, 4 * channels, h, w)
    assert torch.allclose(inverse_haar(bands), image, atol=1e-12)
    assert float((bands**2).sum()) == pytest.approx(float((image**2).sum()))
    assert torch.allclose(haar(inverse_haar(bands)), bands, atol=1e-12)


def test_sub_bands_are_low_then_high_along_width_height_and_both():
    ramp = torch.tensor([[0.0, 2.0], [0.0, 2.0]])[None, None]
    assert haar(ramp).flatten().tolist() == [2, 2, 0, 0]
    assert haar(ramp.transpose(-1, -2)).flatten().tolist() == [2, 0, 2, 0]


def test_the_filter_before_halving_keeps_the_mean():
    image = torch.ones(1, 2, 16, 16)
    inner = blurred(image, 1)[..., 2:-2, 2:-2]
    assert np.allclose(inner.numpy(), 1)
