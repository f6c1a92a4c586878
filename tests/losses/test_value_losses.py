"""Losses of networks that give values: their formulas, and what is known of the boundary loss."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt

from volforge.losses.values import ValueBoundary, ValueDice, ValueDiceBoundary, ValueMSE, ValueMSEBoundary
from volforge.tasks.implant.distances import signed_distances


def shell(n=40):
    """A piece of a skull's vault."""
    p = np.indices((n, n, n)) - np.array([n / 2, n / 2, -4.0])[:, None, None, None]
    r = np.sqrt((p**2).sum(axis=0))
    return (r > 28) & (r < 32) & (np.hypot(p[0], p[1]) < 12)


def published_phi(mask):
    """Written anew from the formula, with scipy."""
    if not mask.any():
        return np.zeros(mask.shape)
    outside = distance_transform_edt(~mask)
    inside = distance_transform_edt(mask)
    return outside * ~mask - (inside - 1) * mask


@pytest.fixture
def values():
    torch.manual_seed(0)
    return torch.rand(2, 1, 5, 4, 3), (torch.rand(2, 1, 5, 4, 3) > 0.6).float()


def test_published_losses_are_their_formulas(values):
    s, g = values
    assert torch.allclose(ValueMSE()(s, g), ((s - g) ** 2).mean())
    dice = (2 * (s * g).sum() + 1e-6) / (s.sum() + g.sum() + 1e-6)
    assert torch.allclose(ValueDice()(s, g), -100 * dice)
    phi = torch.linspace(-3, 30, s.numel()).reshape(s.shape)
    assert torch.allclose(ValueBoundary("voxels", 0)(s, g, phi), (s * phi).mean())
    published = {"units": "voxels", "clip": 0}
    assert torch.allclose(ValueDiceBoundary(**published)(s, g, phi), (s * phi).mean() - 100 * dice)
    assert torch.allclose(ValueMSEBoundary(**published)(s, g, phi), (s * phi).mean() + 100 * ((s - g) ** 2).mean())
    clipped = phi.clamp(-20, 20) / 20
    assert torch.allclose(ValueBoundary()(s, g, phi), (s * clipped).mean())
    with pytest.raises(ValueError, match="distance maps"):
        ValueBoundary()(s, g)


def test_dice_of_a_batch_is_one_coefficient(values):
    s, g = values
    g = g.clone()
    g[1] = 0  # an empty implant beside another one changes the coefficient, and is none of its own
    assert float(ValueDice(1.0)(s, g)) != pytest.approx(
        float((ValueDice(1.0)(s[:1], g[:1]) + ValueDice(1.0)(s[1:], g[1:])) / 2), rel=1e-3
    )


@pytest.mark.parametrize(
    ("schedule", "progress", "weights"),
    [
        ("fixed", 0.0, (1.0, 0.5)),
        ("increase", 0.1, (1.0, 0.0)),
        ("increase", 0.2, (1.0, 0.5)),
        ("increase", 0.208, (1.0, 1.0)),
        ("rebalance", 0.19, (1.0, 0.0)),
        ("rebalance", 0.2, (0.99, 0.01)),
        ("rebalance", 0.28, (0.89, 0.11)),
        ("rebalance", 1.0, (0.5, 0.5)),
    ],
)
def test_weight_of_the_boundary_follows_its_schedule(schedule, progress, weights):
    for kind in (ValueMSEBoundary, ValueDiceBoundary):
        assert kind(schedule=schedule, weight=0.5).weights(progress) == pytest.approx(weights)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="units"):
        ValueBoundary(units="cm")
    with pytest.raises(ValueError, match="clip"):
        ValueBoundary(clip=-1)
    with pytest.raises(ValueError, match="schedule"):
        ValueMSEBoundary(schedule="never")
    with pytest.raises(ValueError, match="share"):
        ValueDiceBoundary(schedule="rebalance", weight=2)
    with pytest.raises(ValueError, match="start"):
        ValueDiceBoundary(start=1)


def test_published_distances_have_the_published_signs():
    mask = shell()
    phi = signed_distances(mask, (0.4, 0.4, 0.6), units="voxels")
    assert phi.dtype == np.float32
    np.testing.assert_allclose(phi, published_phi(mask), atol=1e-5)
    first_inside = mask & binary_dilation(~mask)
    first_outside = ~mask & binary_dilation(mask)
    assert (phi[first_inside] == 0).all()
    assert (phi[first_outside] == 1).all()
    assert (phi[mask] <= 0).all()
    assert (phi[~mask] > 0).all()


def test_distances_of_an_empty_mask_are_0():
    for units in ("voxels", "mm"):
        assert not signed_distances(np.zeros((4, 5, 6), bool), (1, 1, 1), units=units, clip=20).any()


def test_distances_in_mm_obey_the_spacing_and_the_clip():
    mask = np.zeros((40, 5, 5), bool)
    mask[:10] = True
    phi = signed_distances(mask, (0.5, 3, 3), units="mm")
    np.testing.assert_allclose(phi[:, 2, 2], [*-0.5 * np.arange(10, 0, -1), *0.5 * np.arange(1, 31)])
    clipped = signed_distances(mask, (0.5, 3, 3), units="mm", clip=2)
    np.testing.assert_allclose(clipped, phi.clip(-2, 2))


@pytest.mark.parametrize("clip", [0.0, 20.0])
def test_the_boundary_loss_prefers_nothing_to_too_much(clip):
    """The published pitfall: an empty answer costs 0, hardly more than the best, and less than one grown by two."""
    mask = shell()
    units = "mm" if clip else "voxels"
    phi = torch.from_numpy(signed_distances(mask, (1, 1, 1), units=units, clip=clip))[None, None]
    loss = ValueBoundary(units, clip)

    def cost(shape):
        s = torch.from_numpy(shape.astype(np.float32))[None, None]
        return float(loss(s, s, phi))

    empty = cost(np.zeros_like(mask))
    assert empty == 0
    assert cost(mask) < empty < cost(binary_dilation(mask, iterations=2))
