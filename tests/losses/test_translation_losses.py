"""Losses of translation: their formulas, closed forms, other implementations, gradients that stay finite."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from volforge.losses.bone import bone_loss, pixel_weights
from volforge.losses.contrast import patch_nce
from volforge.losses.correlation import correlation_loss
from volforge.losses.least_squares import discriminator_loss, generator_loss
from volforge.losses.masked import inside
from volforge.losses.shape import shape_l1

WINDOW = (-1000.0, 1800.0)


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(seed, *shape):
    return torch.nn.functional.normalize(noise(seed, *shape), dim=-1)


# least squares


def test_least_squares_are_0_where_they_should_be_and_their_formula_else():
    one, zero = torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    assert float(generator_loss(one)) == float(discriminator_loss(zero, one)) == 0
    assert float(generator_loss(zero)) == 1
    assert float(discriminator_loss(one, zero)) == 1
    fake, real = noise(0, 2, 1, 5, 5), noise(1, 3, 1, 7, 7)
    wanted = 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())
    torch.testing.assert_close(discriminator_loss(fake, real), wanted)


# correlation


@given(
    st.floats(0.05, 20),
    st.booleans(),
    st.floats(-3, 3),
    st.integers(0, 99),
    st.sampled_from(["whole", "mask", "legacy"]),
)
def test_the_correlation_loss_of_a_line_is_0(factor, turned, constant, seed, how):
    a = noise(seed, 2, 1, 12, 9)
    mask = noise(seed + 1, 2, 1, 12, 9) > 0
    given_mask = {"mask": mask} if how == "mask" else {"legacy": how == "legacy"}
    b = (-factor if turned else factor) * a + constant
    assert float(correlation_loss(a, b, **given_mask)) == pytest.approx(0, abs=1e-4)
    assert float(correlation_loss(b, a, **given_mask)) == pytest.approx(0, abs=1e-4)


def test_the_correlation_loss_of_orthogonal_images_is_1():
    x = torch.linspace(0, 2 * math.pi, 65)[:-1]
    a, b = x.sin().expand(1, 1, 64, 64), x.cos().expand(1, 1, 64, 64)
    for legacy in (False, True):
        assert float(correlation_loss(a, b, legacy=legacy)) == pytest.approx(1, abs=1e-6)
        assert float(correlation_loss(a, b.transpose(2, 3), legacy=legacy)) == pytest.approx(1, abs=1e-6)


def test_it_is_numpy_s_correlation_of_every_sample_within_its_mask():
    a, b = noise(0, 3, 1, 10, 10), noise(1, 3, 1, 10, 10)
    b = b + torch.tensor([0.2, 1.0, -3.0]).view(3, 1, 1, 1) * a
    mask = noise(2, 3, 1, 10, 10) > 0.3
    r = [np.corrcoef(a[k][mask[k]], b[k][mask[k]])[0, 1] for k in range(3)]
    assert float(correlation_loss(a, b, mask)) == pytest.approx(1 - np.mean(np.square(r)), abs=1e-5)
    whole = np.corrcoef(a.flatten(), b.flatten())[0, 1]
    assert float(correlation_loss(a, b, legacy=True)) == pytest.approx(1 - whole**2, abs=1e-5)


def test_one_bad_sample_does_not_reach_the_others_unless_as_published():
    a, b = noise(0, 2, 1, 8, 8), noise(0, 2, 1, 8, 8)
    b[1] += 10
    assert float(correlation_loss(a, b)) == pytest.approx(0, abs=1e-5)
    assert float(correlation_loss(a, b, legacy=True)) > 0.9


def test_constants_are_finite_and_published_ones_are_not():
    a = noise(0, 2, 1, 8, 8)
    for constant in (torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), -1.0)):
        fake = constant.clone().requires_grad_()
        loss = correlation_loss(fake, a)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(1)
        assert torch.isfinite(fake.grad).all()
        assert math.isnan(float(correlation_loss(constant, a, legacy=True)))


def test_samples_without_a_mask_are_left_out():
    a, b = noise(0, 2, 1, 8, 8), noise(1, 2, 1, 8, 8)
    mask = torch.ones(2, 1, 8, 8)
    mask[1] = 0
    torch.testing.assert_close(correlation_loss(a, b, mask), correlation_loss(a[:1], b[:1]))
    fake = a.clone().requires_grad_()
    nothing = correlation_loss(fake, b, torch.zeros(2, 1, 8, 8))
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert not fake.grad.any()


def test_the_correlation_refuses_what_does_not_fit():
    a = noise(0, 2, 1, 8, 8)
    with pytest.raises(ValueError, match="images of"):
        correlation_loss(a, a[:, :, :4])
    with pytest.raises(ValueError, match="no mask"):
        correlation_loss(a, a, torch.ones(2, 1, 8, 8), legacy=True)


# the inside of a body


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.floats(0.7, 4), st.floats(0.7, 4), st.sampled_from([0.0, 2.0, 5.0, 8.0]), st.booleans())
def test_the_inside_is_what_the_exact_distance_transform_says(seed, rows, columns, depth, is_edge):
    body = np.random.default_rng(seed).random((2, 1, 40, 33)) > 0.004
    if not is_edge:
        body[..., :3, :] = body[..., -3:, :] = body[..., :3] = body[..., -3:] = False
    found = inside(torch.from_numpy(body), (rows, columns), depth)
    for k in range(2):
        far = distance_transform_edt(np.pad(body[k, 0], 1), sampling=(rows, columns))[1:-1, 1:-1]
        sure = np.abs(far - depth) > 1e-6
        np.testing.assert_array_equal(found[k, 0].numpy()[sure], (far > depth)[sure])


def test_a_disc_of_30_mm_is_one_of_22_mm_inside():
    y, x = np.mgrid[-20:21, -20:21] * 2.0
    r = torch.from_numpy(np.hypot(y, x))[None, None]
    found = inside(r < 30, 2.0)
    assert bool(found[r < 20].all())
    assert not bool(found[r > 22 + 2 * math.sqrt(2)].any())  # the outline lies between pixels


def test_no_body_has_an_inside_of_none_and_nonsense_is_refused():
    assert not inside(torch.zeros(1, 1, 9, 9), 2.0).any()
    for body, pixel, depth in ((torch.zeros(1, 9, 9), 2.0, 8.0), (torch.zeros(1, 1, 9, 9), 0.0, 8.0)):
        with pytest.raises(ValueError, match="pixel's size"):
            inside(body, pixel, depth)


# shape


def test_the_shape_term_is_its_formula():
    logits, body = noise(0, 2, 1, 9, 9), (noise(1, 2, 1, 9, 9) > 0).float()
    p = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    m = body.numpy()
    assert float(shape_l1(logits, body)) == pytest.approx(np.abs(p - m).mean(), rel=1e-5)
    sure = torch.where(body > 0, 40.0, -40.0)
    assert float(shape_l1(sure, body)) == pytest.approx(0, abs=1e-6)


# contrast


def nce_by_loops(query, key, temperature):
    """Each patch by itself, in plain numbers."""
    n, p, _ = query.shape
    total = 0.0
    for image in range(n):
        for k in range(p):
            likeness = [math.exp(float(np.dot(query[image, k], key[image, j])) / temperature) for j in range(p)]
            total -= math.log(likeness[k] / sum(likeness))
    return total / (n * p)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_patch_nce_is_what_plain_loops_give(temperature):
    query, key = unit(0, 2, 7, 5), unit(1, 2, 7, 5)
    wanted = nce_by_loops(query.double().numpy(), key.double().numpy(), temperature)
    assert float(patch_nce(query, key, temperature)) == pytest.approx(wanted, rel=1e-5)


def test_patch_nce_of_equal_patches_is_log_p_and_of_apart_ones_0():
    alike = torch.nn.functional.normalize(torch.ones(2, 16, 8), dim=-1)
    assert float(patch_nce(alike, alike)) == pytest.approx(math.log(16), rel=1e-5)
    apart = torch.eye(8)[None]
    assert float(patch_nce(apart, apart)) == pytest.approx(math.log(1 + 7 * math.exp(-1 / 0.07)), abs=1e-6)


@given(st.integers(0, 99))
def test_patch_nce_does_not_mind_the_order_of_patches(seed):
    query, key = unit(seed, 2, 6, 4), unit(seed + 1, 2, 6, 4)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert float(patch_nce(query[:, order], key[:, order])) == pytest.approx(float(patch_nce(query, key)), rel=1e-4)


def test_keys_get_no_gradient():
    query, key = unit(0, 1, 6, 4).requires_grad_(), unit(1, 1, 6, 4).requires_grad_()
    patch_nce(query, key).backward()
    assert query.grad.abs().max() > 0
    assert key.grad is None
    with pytest.raises(ValueError, match="queries"):
        patch_nce(query, key[:, :3])
    with pytest.raises(ValueError, match="temperature"):
        patch_nce(query, key, 0.0)


# bone


def of_hu(hu, window=WINDOW):
    return 2 * (torch.as_tensor(hu, dtype=torch.float32) - window[0]) / (window[1] - window[0]) - 1


@pytest.mark.parametrize("window", [WINDOW, (-1000.0, 1400.0)])
def test_weights_rise_with_the_hu_of_bone_in_whatever_window(window):
    hu = torch.tensor([-1000.0, 40, 150, 300, 450, 750, 1300]).view(1, 1, 1, 7)
    found = pixel_weights(of_hu(hu, window), window, bone=2.0)
    torch.testing.assert_close(found.flatten(), torch.tensor([1, 1, 1, 1.5, 2, 3, 3]), atol=1e-3, rtol=0)


def test_without_weights_it_is_l1_and_with_them_bone_counts():
    target = of_hu(torch.tensor([[40.0, 40.0], [40.0, 750.0]]))[None, None]
    fake = target + 0.1
    assert float(bone_loss(fake, target, WINDOW, bone=0)) == pytest.approx(0.1, rel=1e-4)
    assert float(bone_loss(fake, target, WINDOW, bone=4)) == pytest.approx(0.1 * (3 + 5) / 4, rel=1e-4)
    assert float(bone_loss(target, target, WINDOW, bone=4, edge=2)) == 0


def test_edges_weigh_inside_alone():
    target = torch.zeros(1, 1, 9, 9)
    target[..., 5:] = 1
    inner = torch.zeros(1, 1, 9, 9)
    inner[..., :5, :] = 1
    found = pixel_weights(target, WINDOW, bone=0, edge=3, inner=inner)
    assert float(found[..., :5, 4:6].min()) == 4
    assert float(found[..., 5:, :].max()) == 1
    assert float(found[..., :3].max()) == pytest.approx(1, abs=1e-4)
    everywhere = pixel_weights(target, WINDOW, bone=0, edge=3)
    assert float(everywhere[..., 8, 4]) == 4


def test_soft_bone_costs_more_than_hard_muscle_and_only_the_fake_gets_a_gradient():
    target = of_hu(torch.tensor([40.0, 1200.0])).view(1, 1, 1, 2).requires_grad_()
    fake = (target.detach() - 0.1).requires_grad_()
    bone_loss(fake, target, WINDOW, edge=1.0).backward()
    assert float(fake.grad[..., 1] / fake.grad[..., 0]) == pytest.approx(4 / 2, rel=1e-3)
    for wrong in ({"window": (3.0, 3.0)}, {"bone": -1.0}, {"edge": -1.0}, {"full_hu": 150.0}):
        with pytest.raises(ValueError, match="window"):
            pixel_weights(target, **{"window": WINDOW, **wrong})
