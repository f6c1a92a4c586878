"""The study's own encoder: features, training that a seed decides, and what is written."""

import json

import numpy as np
import pytest
import torch

from volforge.judging.slice_encoder import damaged, train_slice_encoder, write_slice_encoder
from volforge.metrics.features import slice_encoder
from volforge.networks.slice_encoder import SliceEncoder
from volforge.volume.folders import sha256_of

STEPS = 120


def slices(n=24, seed=0):
    """Bright discs of many sizes and places."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((64, 64))
    centres, radii = rng.uniform(20, 44, (n, 2)), rng.uniform(5, 18, n)
    found = [0.2 + 0.6 * (np.hypot(y - a, x - b) < r) for (a, b), r in zip(centres, radii, strict=True)]
    return np.array(found, np.float32)


@pytest.fixture(scope="module")
def trained():
    return train_slice_encoder(slices(), STEPS, seed=3)


def test_training_lessens_the_error(trained):
    network, losses = trained
    assert len(losses) == STEPS
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert not network.training


def test_a_seed_decides_everything(trained):
    torch.rand(7)  # what the process drew before does not matter
    network, losses = train_slice_encoder(slices(), STEPS, seed=3)
    assert losses == trained[1]
    states = [n.state_dict() for n in (network, trained[0])]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[1])
    assert train_slice_encoder(slices(), 2, seed=4)[1] != losses[:2]


def textured(n, seed):
    """Discs whose inside varies from pixel to pixel."""
    rng = np.random.default_rng(seed)
    found = slices(n, seed)
    return np.clip(found + 0.04 * rng.standard_normal(found.shape), 0, 1).astype(np.float32)


def test_features_are_counted_in_deviations_of_real_slices_and_see_texture():
    network, _ = train_slice_encoder(textured(64, 0), 120, seed=0)
    with torch.inference_mode():
        real, others, painted = (
            network(torch.from_numpy(v)[:, None]) for v in (textured(64, 0), textured(64, 1), slices(64, 1))
        )
    assert torch.allclose(real.mean(dim=0), torch.zeros(224), atol=1e-3)
    spread = real.std(dim=0)
    assert torch.allclose(spread[spread > 1e-2], torch.ones(1), atol=1e-3)
    # the same shapes without their texture are further away than other shapes with it
    assert (painted.mean(dim=0) ** 2).sum() > 5 * (others.mean(dim=0) ** 2).sum()


def test_damaged_slices_are_of_four_kinds():
    torch.manual_seed(0)
    images = torch.from_numpy(textured(64, 0))[:, None]
    seen, kind = damaged(images)
    assert set(kind.tolist()) == {0, 1, 2, 3}
    assert torch.equal(seen[kind == 0], images[kind == 0])
    grain = {k: float((seen[kind == k][..., 1:] - seen[kind == k][..., :-1]).abs().mean()) for k in range(4)}
    assert max(grain[1], grain[2]) < grain[0] < grain[3]


@pytest.mark.parametrize("wrong", [None, np.zeros((3, 64, 64), "S1")])
def test_the_number_of_threads_is_given_back(wrong):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        if wrong is None:
            train_slice_encoder(slices(2), 1, seed=0)
        else:
            with pytest.raises(ValueError, match="could not convert"):
                train_slice_encoder(wrong, 1, seed=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(0, 64, 64), (2, 64, 32), (64, 64), (2, 1, 64, 64)])
def test_slices_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        train_slice_encoder(np.zeros(shape, np.float32), 1, seed=0)


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (50, 90)])
def test_features_are_224_numbers_of_a_slice_resized_by_area(trained, size):
    x = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, picture = trained[0](x), trained[0].reconstruct(x)
        resized = SliceEncoder.resized(x)
        assert torch.equal(found, trained[0](resized))
    assert found.shape == (3, SliceEncoder.FEATURES) == (3, 224)
    assert picture.shape == resized.shape == (3, 1, 64, 64)
    if size == (128, 128):
        assert torch.allclose(resized, x.unflatten(2, (64, 2)).unflatten(4, (64, 2)).mean(dim=(3, 5)))


def test_features_are_means_and_deviations_of_three_scales(trained):
    network, x = trained[0], torch.from_numpy(slices(2))[:, None]
    expected = []
    with torch.inference_mode():
        found = network.raw(x).numpy()
        for block in network.down:
            x = block(x)
            values = x.flatten(2).numpy()
            expected += [values.mean(axis=2), values.std(axis=2, ddof=1)]
    assert np.allclose(found, np.concatenate(expected, axis=1), atol=1e-5)


def test_written_weights_give_the_same_features(trained, tmp_path):
    network, losses = trained
    sha256 = write_slice_encoder(tmp_path, network, {"seed": 3}, losses)
    assert sha256 == sha256_of(tmp_path / "weights.safetensors")
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["network"] == "slice_encoder"
    assert (about["sha256"], about["features"], about["seed"]) == (sha256, 224, 3)
    assert about["parameters"] == sum(p.numel() for p in network.parameters())
    assert (about["first_loss"], about["last_loss"]) == (losses[0], pytest.approx(np.mean(losses[-20:])))
    read = slice_encoder(tmp_path / "weights.safetensors")
    assert (read.name, read.sha256) == ("slice_encoder", sha256)
    assert [read.measure(k) for k in ("frechet", "mmd")] == ["frechet_slice_encoder", "mmd_slice_encoder"]
    many = slices(70, seed=5)  # more than two batches
    with torch.inference_mode():
        expected = network(torch.from_numpy(many)[:, None]).numpy()
    assert np.allclose(read.compute(many), expected, atol=1e-4)
    assert len(read.compute(many[:0])) == 0
