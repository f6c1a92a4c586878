"""Losses of semantic synthesis: formulas, the place of `fake`, gradients that pull."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volforge.losses.adversarial import discriminator_loss, generator_loss, gradient_penalty
from volforge.losses.outline import OutlineLoss, blur, published_mask_loss
from volforge.losses.semantic import (
    balanced_cross_entropy,
    class_weights,
    fake_cross_entropy,
    label_mask,
    label_mix_loss,
)


@given(st.integers(2, 9), st.integers(0, 99), st.booleans())
def test_class_weights_have_mean_one_over_the_pixels(classes, seed, ignore):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (2, 8, 8), generator=generator)
    weights = class_weights(labels, classes, ignore)
    if bool((labels > 0).any()) or not ignore:
        assert float(weights[labels].mean()) == pytest.approx(1, rel=1e-5)
    assert not ignore or weights[0] == 0


def test_every_class_has_the_same_say():
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 0, :5] = 3
    weights = class_weights(labels, 5)
    assert float(weights[0] * 95) == pytest.approx(float(weights[3] * 5))
    assert weights[[1, 2, 4]].tolist() == [0, 0, 0]


def test_fake_is_channel_0_and_class_k_is_channel_k_plus_1():
    labels = torch.tensor([[[0, 1], [2, 2]]])
    logits = torch.full((1, 4, 2, 2), -30.0)
    logits[0, 1, 0, 0] = logits[0, 2, 0, 1] = logits[0, 3, 1, :] = 30.0
    assert float(balanced_cross_entropy(logits, labels, torch.ones(3))) == pytest.approx(0, abs=1e-6)
    assert float(fake_cross_entropy(logits)) > 50
    logits[:, 0] = 90.0
    assert float(fake_cross_entropy(logits)) == pytest.approx(0, abs=1e-6)


def test_label_mix_is_free_where_the_mask_is_one_or_logits_add_up():
    real, fake = torch.randn(2, 4, 6, 6), torch.randn(2, 4, 6, 6)
    assert float(label_mix_loss(real, real, fake, torch.ones(2, 1, 6, 6))) == 0
    mask = torch.randint(0, 2, (2, 1, 6, 6)).float()
    assert float(label_mix_loss(mask * real + (1 - mask) * fake, real, fake, mask)) == 0
    assert float(label_mix_loss(fake, real, fake, torch.ones(2, 1, 6, 6))) > 0


def test_the_mask_of_label_mix_is_one_draw_per_class():
    """Each class by itself: a table, not ids that are overwritten one after the other."""
    labels = torch.randint(6, (2, 16, 16))
    seen = set()
    for seed in range(40):
        mask = label_mask(labels, 6, torch.Generator().manual_seed(seed))[:, 0]
        per_class = tuple(mask[labels == k].unique().tolist() for k in range(6))
        assert all(len(v) == 1 for v in per_class)
        seen.add(tuple(v[0] for v in per_class))
    assert len(seen) > 20
    assert {s[0] == s[1] for s in seen} == {True, False}


def test_logistic_losses():
    zero = torch.zeros(3, 1)
    assert float(generator_loss(zero)) == pytest.approx(math.log(2))
    assert float(discriminator_loss(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(generator_loss(torch.full((1, 1), 30.0))) < 1e-6
    assert float(discriminator_loss(torch.full((1, 1), -30.0), torch.full((1, 1), 30.0))) < 1e-6


def test_the_gradient_penalty_of_a_linear_score_is_its_squared_length():
    weight = torch.randn(2 * 5 * 5)
    image = torch.randn(4, 2, 5, 5, requires_grad=True)
    score = image.flatten(1) @ weight[:, None]
    assert float(gradient_penalty(score, image)) == pytest.approx(float(weight.square().sum()), rel=1e-5)


def disc(radius, size=64):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (((x - size / 2) ** 2 + (y - size / 2) ** 2) <= radius**2).float()[None, None]


def painted(radius):
    return 2 * blur(disc(radius)) * 0.5 - 1  # from -1 outside to 0 inside


def test_the_outline_loss_is_least_where_image_and_map_agree():
    loss = OutlineLoss(level=-0.5)
    values = {r: float(loss(painted(r), disc(20))) for r in (14, 17, 20, 23, 26)}
    assert min(values, key=values.__getitem__) == 20
    assert values[20] < 0.05
    assert values[14] > values[17] > values[20] < values[23] < values[26]


def test_its_gradient_pulls_the_outline_both_ways():
    loss = OutlineLoss(level=-0.5)
    for radius, missing in ((17, True), (23, False)):
        image = painted(radius).requires_grad_()
        loss(image, disc(20)).backward()
        ring = (disc(20) - disc(17)) if missing else (disc(23) - disc(20))
        pull = float((image.grad * ring).sum())
        assert (pull < 0) == missing  # brighter where body is missing, darker where there is too much
        assert abs(pull) > 1e-4


def test_following_it_mends_an_outline():
    loss = OutlineLoss(level=-0.5)
    image = painted(16).clone().requires_grad_()
    optimizer = torch.optim.Adam([image], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(image, disc(20)).backward()
        optimizer.step()
    found = (image.detach() > -0.5).float()
    assert float(2 * (found * disc(20)).sum() / (found + disc(20)).sum()) > 0.97


def test_dark_organs_at_the_outline_do_not_count():
    loss, lung = OutlineLoss(level=-0.5), disc(20) * 0
    lung[..., 30:40, 40:52] = 1
    lung = lung * disc(20)
    image = painted(20) * (1 - lung) - lung
    assert float(loss(image, disc(20), lung)) < 0.6 * float(loss(image, disc(20)))


def test_a_map_without_a_body_asks_for_air_alone():
    loss, empty = OutlineLoss(level=-0.5), torch.zeros(1, 1, 32, 32)
    assert float(loss(torch.full((1, 1, 32, 32), -1.0), empty)) == 0
    assert float(loss(torch.zeros(1, 1, 32, 32), empty)) == pytest.approx(1)


def test_the_published_mask_loss_is_a_number_alone_with_its_faults():
    def big(radius):
        return 2 * blur(disc(radius, 256)) * 0.5 - 1

    labels = disc(60, 256)[:, 0].long() * 3
    image = big(60).requires_grad_()
    same, other = published_mask_loss(image, labels), published_mask_loss(big(30), labels)
    assert isinstance(same, float)
    assert same < 0.01 < other
    # two bodies of a batch wear each other down: where they lie apart nothing is left to differ
    apart = published_mask_loss(
        torch.cat([big(30), torch.roll(big(30), 128, 2)]), torch.cat([labels, torch.roll(labels, 128, 1)])
    )
    assert apart < 0.5 * other
    # and on small images the air around a body is a hole that is filled
    assert published_mask_loss(painted(10), disc(20)[:, 0].long()) == 0
