"""Latents of samples: drawn from words, shortened, own to structures, on the way between two."""

import itertools
import math

import numpy as np
import pytest
import torch

from volforge.tasks.semantic_synthesis.latents import between, latent, latent_hash, latents_of

Z = 6


def test_latents_are_drawn_from_words_alone():
    one = latent(Z, 0, "scan-a", 1)
    torch.manual_seed(9)
    assert torch.equal(one, latent(Z, 0, "scan-a", 1))
    assert not torch.equal(one, latent(Z, 0, "scan-a", 2))
    assert not torch.equal(one, latent(Z, 0, "scan-b", 1))
    assert latent_hash(one) == latent_hash(one.clone())
    many = torch.stack([latent(64, k) for k in range(200)])
    assert float(many.mean()) == pytest.approx(0, abs=0.03)
    assert float(many.std()) == pytest.approx(1, abs=0.03)


def test_the_way_between_two_latents():
    a, b = latent(Z, 1), latent(Z, 2)
    way = between(a, b, 5)
    assert torch.allclose(way[0], a, atol=1e-6)
    assert torch.allclose(way[-1], b, atol=1e-6)
    lengths = [float(v.norm()) for v in way]
    assert lengths == pytest.approx(np.linspace(lengths[0], lengths[-1], 5).tolist(), rel=1e-5)
    angles = [float(torch.arccos((u @ v) / u.norm() / v.norm())) for u, v in itertools.pairwise(way)]
    assert angles == pytest.approx([angles[0]] * 4, abs=1e-4)
    assert torch.allclose(between(a, 2 * a, 3)[1], 1.5 * a, atol=1e-5)
    assert torch.allclose(between(torch.zeros(Z), a, 3)[1], 0.5 * a)


def drawn(samples):
    return [latent(Z, 0, "scan", n) for n in range(samples)]


def test_each_sample_has_its_own_latent_unless_asked_otherwise():
    found = latents_of(drawn(3))
    assert all(torch.equal(f.whole, z) and torch.equal(f.grain, z) for f, z in zip(found, drawn(3), strict=True))
    assert all(f.own is None and math.isnan(f.share) for f in found)


def test_latents_are_shortened_and_the_grain_is_not():
    found = latents_of(drawn(2), length=0.0)
    assert not any(f.whole.any() for f in found)
    assert not torch.equal(found[0].grain, found[1].grain)  # texture still differs from sample to sample


def test_where_some_structures_vary_the_rest_stays_that_of_the_first_sample():
    found = latents_of(drawn(3), length=0.5, some_vary=True)
    for f, z in zip(found, drawn(3), strict=True):
        assert torch.equal(f.whole, drawn(1)[0] * 0.5)
        assert torch.equal(f.grain, drawn(1)[0])
        assert torch.equal(f.own, z * 0.5)


@pytest.mark.parametrize("some_vary", [False, True])
def test_samples_on_the_way_end_at_two_latents_and_share_their_grain(some_vary):
    found = latents_of(drawn(5), some_vary=some_vary, on_the_way=True)
    assert [f.share for f in found] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    moving = [f.own if some_vary else f.whole for f in found]
    assert torch.allclose(moving[0], drawn(1)[0], atol=1e-6)
    assert torch.allclose(moving[-1], drawn(5)[-1], atol=1e-6)
    steps = [float((b - a).norm()) for a, b in itertools.pairwise(moving)]
    assert max(steps) < 1.5 * min(steps)
    assert all(torch.equal(f.grain, found[0].grain) for f in found)
    assert (found[0].own is not None) == some_vary
