"""Mean and spread of structures, and what samples of one map share of it."""

import numpy as np
import pytest
import torch

from volforge.losses.moments import moments_loss, variety_loss
from volforge.tasks.semantic_synthesis.training import one_hot

LABELS = torch.zeros(2, 16, 16, dtype=torch.long)
LABELS[:, 4:12, 4:12] = 1
LABELS[1, 6:8, 6:8] = 2  # four pixels: too few
GIVEN = one_hot(LABELS, 4)


def noise(seed, spread=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, spread, (2, 1, 16, 16)).astype(np.float32))


def test_the_distance_is_that_of_means_and_standard_deviations():
    fake, real = noise(1), noise(2, 0.3) + 0.5
    wanted = []
    for n in range(2):
        for k in (0, 1):
            a, b = (v[n, 0][LABELS[n] == k].numpy() for v in (fake, real))
            wanted.append(abs(a.mean() - b.mean()) + abs(a.std() - b.std()))
    assert float(moments_loss(fake, real, GIVEN)) == pytest.approx(np.mean(wanted), rel=1e-4)


def test_texture_may_lie_elsewhere_but_not_be_missing():
    real = noise(1)
    moved = real.clone()
    for n in range(2):
        for k in range(3):
            mask = LABELS[n] == k
            moved[n, 0][mask] = real[n, 0][mask].flip(0)
    assert float(moments_loss(moved, real, GIVEN)) == pytest.approx(0, abs=1e-5)
    flat = torch.zeros_like(real, requires_grad=True)
    loss = moments_loss(flat, real, GIVEN)
    loss.backward()
    assert float(loss.detach()) > 0.8
    assert torch.isfinite(flat.grad).all()


def test_structures_of_few_pixels_have_no_say():
    real = noise(1)
    other = real.clone()
    other[1, 0][LABELS[1] == 2] += 9
    assert float(moments_loss(other, real, GIVEN)) == 0
    nothing = one_hot(torch.full((1, 2, 2), 3), 4)
    assert float(moments_loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), nothing)) == 0


def test_equal_samples_lack_variety_and_independent_ones_do_not():
    one, other = noise(1), noise(2)
    assert float(variety_loss(one, one, GIVEN)) == pytest.approx(1, abs=0.1)
    assert float(variety_loss(one, other, GIVEN)) < 0.1
    shared = noise(3)  # half of the variance is common: the difference spreads like the other half
    found = float(variety_loss((shared + one) / 2**0.5, (shared + other) / 2**0.5, GIVEN))
    assert found == pytest.approx(1 - 0.5**0.5, abs=0.1)


def test_another_brightness_is_no_variety():
    one = noise(1)
    levels = torch.tensor([0.5, -0.3, 0.2, 0.0])[LABELS][:, None]
    assert float(variety_loss(one, one + levels, GIVEN)) == pytest.approx(
        float(variety_loss(one, one, GIVEN)), rel=0.01
    )


def test_variety_is_not_had_by_flattening():
    base = noise(1)
    scale = torch.tensor(1.0, requires_grad=True)
    grain = 0.1 * noise(2)
    variety_loss(scale * base + grain, scale * base - grain, GIVEN).backward()
    assert float(scale.grad) == pytest.approx(0, abs=1e-4)  # nothing to be gained by less of what is common
