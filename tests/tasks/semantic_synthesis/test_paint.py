"""Painting label maps: one latent through a volume, others in some structures, noise by pixel."""

import numpy as np
import pytest
import torch

from volforge.networks.oasis_generator import OasisGenerator
from volforge.tasks.semantic_synthesis.latents import latent
from volforge.tasks.semantic_synthesis.paint import grain_of, paint

Z, CLASSES = 6, 4


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    made = OasisGenerator(CLASSES, 1, width=4, noise=Z, blocks=3, hidden=16)
    for part in made.parameters():
        if part.dim() > 1:
            torch.nn.init.normal_(part, 0, 0.3)  # the published beginning hardly shows the noise
    return made.eval()


@pytest.fixture
def labels():
    values = np.zeros((5, 22, 30), np.uint8)
    values[:, 4:18, 6:24] = 1
    values[:, 8:12, 8:14] = 2
    return values


def test_a_volume_is_painted_slice_by_slice_whatever_the_batch(generator, labels):
    z = latent(Z, 0)
    whole = paint(generator, labels, CLASSES, z, batch=5)
    parts = paint(generator, labels, CLASSES, z, batch=2)
    assert whole.shape == labels.shape
    assert np.allclose(whole, parts, atol=1e-5)
    assert np.abs(whole).max() <= 1
    # slices with equal maps are equal: one latent goes through the volume
    assert np.allclose(whole[0], whole[3], atol=1e-5)


def test_seeds_tell_samples_apart_and_none_is_drawn_twice(generator, labels):
    found = [paint(generator, labels, CLASSES, latent(Z, 0, n)) for n in range(3)]
    assert np.abs(found[0] - found[1]).mean() > 1e-4
    again = [paint(generator, labels, CLASSES, latent(Z, 0, n)) for n in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_a_latent_of_a_structure_changes_it_most(generator, labels):
    z = latent(Z, 0)
    plain = paint(generator, labels, CLASSES, z)
    same = paint(generator, labels, CLASSES, z, {2: z})
    assert np.allclose(plain, same, atol=1e-5)
    change = np.abs(paint(generator, labels, CLASSES, z, {2: latent(Z, 5) * 3}) - plain)
    assert change[labels == 2].mean() > 3 * change[:, :, 26:].mean()


def test_grain_is_noise_of_variance_one_that_a_latent_decides_and_slices_share():
    noise = latent(Z, 0, "scan", 0)
    grain = grain_of(noise, 2, (60, 16, 24), 1.0)
    assert grain.shape == (60, 2, 16, 24)
    assert np.array_equal(grain, grain_of(noise.clone(), 2, (60, 16, 24), 1.0))
    assert not np.array_equal(grain, grain_of(latent(Z, 0, "scan", 1), 2, (60, 16, 24), 1.0))
    assert grain.std() == pytest.approx(1, abs=0.02)
    assert grain.std(axis=(1, 2, 3)) == pytest.approx(np.ones(60), abs=0.15)  # ends as well as the middle
    assert (grain[1:] * grain[:-1]).mean() == pytest.approx(np.exp(-0.25), abs=0.03)
    assert abs((grain[..., 1:] * grain[..., :-1]).mean()) < 0.03
    white = grain_of(noise, 2, (60, 16, 24), 0.0)
    assert abs((white[1:] * white[:-1]).mean()) < 0.03


@pytest.mark.parametrize("slices", [1, 2, 3, 5, 9])
def test_grain_has_variance_one_in_thin_volumes_too(slices):
    found = [float(grain_of(latent(8, seed), 2, (slices, 64, 64), 1.0).std()) for seed in range(3)]
    assert np.mean(found) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("values", [0, Z])
def test_grain_makes_texture_inside_one_structure(labels, values):
    torch.manual_seed(0)
    made = OasisGenerator(CLASSES, 1, width=4, noise=values, blocks=3, hidden=16, grain=2, gain=1.0).eval()
    noise = latent(max(1, values), 0, "scan", 0)
    torch.nn.init.normal_(made.head.weight, 0, 0.02)  # values that do not saturate
    flat = np.ones((4, 32, 32), np.uint8)
    image = paint(made, flat, CLASSES, noise)
    assert image[:, 8:24, 8:24].std(axis=(1, 2)).min() > 0.005
    assert np.array_equal(image, paint(made, flat, CLASSES, noise))
    assert not np.array_equal(image, paint(made, flat, CLASSES, latent(max(1, values), 0, "scan", 1)))
    other = latent(max(1, values), 9)
    own = paint(made, labels, CLASSES, noise, {2: other})
    assert own.shape == labels.shape
    # grain of another latent is another texture, and nothing else changes
    assert np.array_equal(image, paint(made, flat, CLASSES, noise, grain_from=noise))
    assert not np.array_equal(image, paint(made, flat, CLASSES, noise, grain_from=other))
