"""Patches for contrast: places, the values at them, and heads that are whole from the beginning."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volforge.losses.contrast import patch_nce
from volforge.networks.resnet_generator import ResnetGenerator
from volforge.tasks.translation.patches import PatchHeads, patch_places, patches_at, sizes_of


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=4), st.integers(1, 300), st.integers(0, 99))
def test_places_are_drawn_once_each_and_lie_in_their_map(sizes, count, seed):
    found = patch_places(sizes, np.random.default_rng(seed), count)
    again = patch_places(sizes, np.random.default_rng(seed), count)
    assert len(found) == len(sizes)
    for places, same, (h, w) in zip(found, again, sizes, strict=True):
        assert torch.equal(places, same)
        assert places.dtype == torch.int64
        assert len(places) == len(places.unique()) == min(count, h * w)
        assert int(places.min()) >= 0
        assert int(places.max()) < h * w


def test_every_place_is_as_likely():
    drawn = torch.cat([patch_places([(5, 8)], np.random.default_rng(s), 10)[0] for s in range(800)])
    counts = torch.bincount(drawn, minlength=40)
    assert 150 < int(counts.min()) < int(counts.max()) < 250  # 200 each
    with pytest.raises(ValueError, match="at least one"):
        patch_places([(5, 8)], np.random.default_rng(0), 0)


def test_values_at_places_are_those_of_row_and_column():
    features = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    found = patches_at(features, torch.tensor([7, 19]))
    assert found.shape == (2, 2, 3)
    assert torch.equal(found[1, 0], features[1, :, 1, 2])
    assert torch.equal(found[0, 1], features[0, :, 3, 4])


def test_heads_of_a_generator_embed_its_feature_maps():
    torch.manual_seed(0)
    generator = ResnetGenerator(1, width=4, blocks=5)
    taps = generator.contrast_taps
    heads = PatchHeads(generator.channels_of(taps), width=32)
    features = generator.features(torch.rand(2, 1, 32, 32) * 2 - 1, taps)
    places = patch_places(sizes_of(features), np.random.default_rng(0), 100)
    found = heads(features, places)
    assert [tuple(f.shape) for f in found] == [(2, n, 32) for n in (100, 100, 64, 64, 64)]
    for one in found:
        torch.testing.assert_close(one.norm(dim=2), torch.ones(one.shape[:2]))
    sum(patch_nce(q, q.flip(1)) for q in found).backward()
    assert all(torch.isfinite(p.grad).all() for p in heads.parameters())
    assert any(p.grad.any() for p in generator.parameters())
    with pytest.raises(ValueError, match="4 feature maps"):
        heads(features[1:], places)


def test_heads_have_their_weights_from_the_beginning():
    torch.manual_seed(0)
    first = PatchHeads([1, 128, 256], 256)
    torch.manual_seed(0)
    second = PatchHeads([1, 128, 256], 256)
    assert sum(p.numel() for p in first.parameters()) == sum(c * 256 + 256 + 256 * 256 + 256 for c in (1, 128, 256))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert float(first.heads[2][2].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not any(p.any() for n, p in first.named_parameters() if n.endswith("bias"))
    for wrong in ([], [0], [3, -1]):
        with pytest.raises(ValueError, match="heads need"):
            PatchHeads(wrong)


def test_contrast_learns_what_lies_at_one_place():
    """Heads alone, on two images that show the same structures in other greys."""
    torch.manual_seed(0)
    source = torch.randn(1, 6, 12, 12)
    other = -source + 0.3
    heads = PatchHeads([6], 32)
    optimizer = torch.optim.Adam(heads.parameters(), 1e-2)
    losses = []
    for step in range(60):
        places = patch_places([(12, 12)], np.random.default_rng([0, step]), 64)
        loss = patch_nce(heads([other], places)[0], heads([source], places)[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
