"""Terms of structure: other implementations, laws, and that a copy of the source is no goal once they are hinged."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import normalized_mutual_information

from volforge.losses.masked import inside
from volforge.losses.structure import (
    gradient_correlation,
    gradient_magnitude,
    hinged,
    mind,
    mind_distance,
    mutual_information,
)

TERMS = {"gradients": gradient_correlation, "mind": mind_distance, "information": mutual_information}
BEST = {"gradients": 1.0, "mind": 0.0, "information": 2.0}  # of a copy
PIXEL_MM = 2.0


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def smooth(seed, size, sigma):
    return gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), sigma)


def head(seed, size=72):
    """MR, CT and body of a drawn head: scalp, skull with marrow, tissues that MR tells apart and CT hardly."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2 + rng.uniform(-2, 2, (2, 1, 1))
    r = np.hypot(y / rng.uniform(0.9, 1), x / rng.uniform(0.8, 0.9)) + 3 * smooth(seed, size, 6) * 6
    body, skull, brain = r < 33, (r < 28) & (r > 21), r < 21
    marrow = (r < 26) & (r > 23)
    grey, fluid = brain & (smooth(seed + 50, size, 2) > 0), brain & (smooth(seed + 90, size, 2) < -0.06)
    mr, ct = np.full((size, size), 0.0), np.full((size, size), -1000.0)
    for part, signal, hu in (
        (body, 0.9, -80), (skull, 0.08, 1100), (marrow, 0.7, 450), (brain, 0.65, 34), (grey, 0.45, 40), (fluid, 0.1, 8),
    ):  # fmt: skip
        mr[part], ct[part] = signal, hu
    bone_in_base = brain & (smooth(seed + 130, size, 3) > 0.06)
    mr[bone_in_base], ct[bone_in_base] = 0.1, 700
    mr = gaussian_filter(mr, 0.6) + 0.03 * rng.standard_normal(mr.shape)
    ct = gaussian_filter(ct, 0.6) + 12 * rng.standard_normal(ct.shape)
    found = [np.clip(2 * mr - 1, -1, 1), np.clip((ct + 1000) / 1400 - 1, -1, 1), body]
    found[:2] = [np.where(body, v, -1.0) for v in found[:2]]
    return [torch.from_numpy(v.astype(np.float32))[None, None] for v in found]


@pytest.fixture(scope="module")
def heads():
    mr, ct, body = (torch.cat(v) for v in zip(*(head(s) for s in range(8)), strict=True))
    return mr, ct, inside(body, PIXEL_MM)


@pytest.mark.parametrize("name", TERMS)
def test_a_copy_wins_where_a_term_is_minimised_and_loses_where_it_is_hinged(heads, name):
    """The level is that of other subjects' true pairs."""
    term, (mr, ct, inner) = TERMS[name], heads
    level = float(term(mr[:4], ct[:4], inner[:4]).mean())
    mr, ct, inner = mr[4:], ct[4:], inner[4:]
    true, copy = term(mr, ct, inner), term(mr, mr, inner)
    assert len(true) == len(copy) == 4
    if name != "information":  # whose window blurs a copy
        torch.testing.assert_close(copy, torch.full((4,), BEST[name]))
    assert ((copy - BEST[name]).abs() < (true - BEST[name]).abs()).all()  # the unhinged minimum is the copy
    assert float(hinged(copy, level)) > 2 * float(hinged(true, level))
    assert float(hinged(term(mr, torch.zeros_like(mr), inner), level)) > float(hinged(true, level))


@pytest.mark.parametrize("name", TERMS)
def test_following_a_hinged_term_from_a_copy_leads_to_its_level(heads, name):
    mr, ct, inner = (v[:1] for v in heads)
    level = float(TERMS[name](mr, ct, inner))
    fake = (mr + 0.01 * noise(0, *mr.shape)).requires_grad_()
    optimizer = torch.optim.Adam([fake], 0.03)
    first = float(hinged(TERMS[name](fake, mr, inner), level).detach())
    for _ in range(40):
        optimizer.zero_grad()
        loss = hinged(TERMS[name](fake, mr, inner), level)
        loss.backward()
        assert torch.isfinite(fake.grad).all()
        optimizer.step()
    assert float(loss.detach()) < 0.35 * first


@pytest.mark.parametrize("name", TERMS)
def test_terms_look_at_their_mask_alone_and_leave_out_empty_samples(heads, name):
    mr, ct, inner = heads
    inner = inner.clone()
    inner[1] = False
    found = TERMS[name](mr, ct, inner)
    assert found.shape == (7,)
    torch.testing.assert_close(found[0], TERMS[name](mr[:1], ct[:1], inner[:1])[0])
    far = torch.zeros_like(inner)
    far[..., :3, :3] = True  # beyond the reach of any window from the inside
    changed = torch.where(far, torch.rand(ct.shape, generator=torch.Generator().manual_seed(0)), ct)
    torch.testing.assert_close(TERMS[name](mr, changed, inner), found, atol=2e-3, rtol=0)
    fake = ct.clone().requires_grad_()
    nothing = hinged(TERMS[name](fake, mr, torch.zeros_like(inner)), 0.5)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert not fake.grad.any()


@pytest.mark.parametrize("name", TERMS)
def test_constants_have_the_values_that_say_nothing_with_finite_gradients(heads, name):
    mr, _, inner = heads
    fake = torch.full_like(mr, -1.0).requires_grad_()
    found = TERMS[name](fake, mr, inner)
    found.sum().backward()
    assert torch.isfinite(fake.grad).all()
    if name != "mind":
        torch.testing.assert_close(found.detach(), torch.full((8,), {"gradients": 0.0, "information": 1.0}[name]))
    both = TERMS[name](fake.detach(), fake.detach(), inner)
    torch.testing.assert_close(both, torch.full((8,), {"gradients": 0.0, "mind": 0.0, "information": 1.0}[name]))


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("change", ["size", "channels", "mask"])
def test_what_does_not_fit_is_refused(name, change):
    a, b, mask = (torch.zeros(2, 1, 12, 12) for _ in range(3))
    if change == "size":
        b = b[..., :8]
    elif change == "channels":
        a, b, mask = (v.expand(2, 3, 12, 12) for v in (a, b, mask))
    else:
        mask = mask[:, 0]
    with pytest.raises(ValueError, match="of one size"):
        TERMS[name](a, b, mask)


def test_the_gradient_correlation_is_numpy_s():
    a, b = noise(0, 2, 1, 14, 11), noise(1, 2, 1, 14, 11)
    mask = noise(2, 2, 1, 14, 11) > -0.5
    found = gradient_correlation(a, b, mask)
    for k in range(2):
        lengths = []
        for image in (a, b):
            gy, gx = np.gradient(np.pad(image[k, 0].numpy().astype(float), 1, mode="edge"))
            lengths.append(2 * np.hypot(gy, gx)[1:-1, 1:-1][mask[k, 0].numpy()])
        assert float(found[k]) == pytest.approx(np.corrcoef(*lengths)[0, 1], abs=1e-4)
    ramp = 0.3 * torch.arange(9.0).expand(1, 1, 9, 9)
    torch.testing.assert_close(gradient_magnitude(ramp)[..., 1:-1], torch.full((1, 1, 9, 7), 0.6), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.3, 3), st.booleans(), st.floats(-0.5, 0.5), st.integers(0, 99))
def test_gradients_and_mind_do_not_know_lines(factor, turned, constant, seed):
    a = noise(seed, 1, 1, 16, 16)
    b = (-factor if turned else factor) * a + constant
    mask = torch.ones(1, 1, 16, 16)
    assert float(gradient_correlation(a, b, mask)) == pytest.approx(1, abs=1e-3)
    assert float(mind_distance(a, b, mask)) == pytest.approx(0, abs=1e-3)
    other = noise(seed + 1, 1, 1, 16, 16)
    assert float(gradient_correlation(a, other, mask)) == pytest.approx(float(gradient_correlation(other, a, mask)))


def mind_by_scipy(image, reach, sigma, presmooth):
    """The descriptor from its equations, with scipy's Gaussian."""

    def blur(x, s):
        return gaussian_filter(x, s, mode="nearest", radius=max(1, round(3 * s)))

    x = blur(image.astype(float), presmooth)
    h, w = x.shape
    padded = np.pad(x, reach, mode="edge")
    d = []
    for dy, dx in ((0, reach), (reach, 0), (0, -reach), (-reach, 0)):
        d.append(blur((x - padded[reach + dy : reach + dy + h, reach + dx : reach + dx + w]) ** 2, sigma))
    d = np.stack(d)
    v = d.mean(axis=0)
    v = np.maximum(v, 0.01 * v.mean() + 1e-6)
    found = np.exp(-d / v)
    return found / found.max(axis=0)


@pytest.mark.parametrize(("reach", "sigma"), [(2, 1.0), (1, 0.5), (3, 1.5)])
def test_mind_is_that_of_its_equations(reach, sigma):
    image = noise(0, 1, 1, 20, 17)
    wanted = mind_by_scipy(image[0, 0].numpy(), reach, sigma, 0.6)
    np.testing.assert_allclose(mind(image, reach, sigma)[0].numpy(), wanted, atol=1e-4)


def test_mind_knows_where_structures_lie(heads):
    """A CT that is shifted by two pixels is farther from its MR than one in its place."""
    mr, ct, inner = heads
    assert (mind_distance(mr, ct.roll(2, 2), inner) > mind_distance(mr, ct, inner)).all()
    assert (gradient_correlation(mr, ct.roll(2, 2), inner) < gradient_correlation(mr, ct, inner)).all()
    assert (mutual_information(mr, ct.roll(2, 2), inner) < mutual_information(mr, ct, inner)).all()


@pytest.mark.parametrize("bins", [2, 8, 32])
def test_mutual_information_of_images_of_bin_values_is_that_of_their_histogram(bins):
    rng = np.random.default_rng(bins)
    a = rng.integers(bins, size=(40, 40))
    b = np.where(rng.random(a.shape) < 0.6, bins - 1 - a, rng.integers(bins, size=a.shape))
    mask = rng.random(a.shape) < 0.8
    for v in (a, b):  # both ends of the scale are there: then skimage's bins are ours
        v[mask.nonzero()[0][:2], mask.nonzero()[1][:2]] = 0, bins - 1
    as_values = [torch.from_numpy(2.0 * v / (bins - 1) - 1).float()[None, None] for v in (a, b)]
    found = mutual_information(*as_values, torch.from_numpy(mask)[None, None], bins)
    wanted = normalized_mutual_information(a[mask], b[mask], bins=bins)
    assert float(found) == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_mutual_information_of_any_images_is_near_that_of_a_histogram(weight):
    shared = smooth(0, 96, 2)
    a, b = (weight * shared / shared.std() + smooth(s, 96, 1) / smooth(s, 96, 1).std() for s in (1, 2))
    scaled = [2 * (v - v.min()) / np.ptp(v) - 1 for v in (a, b)]
    images = [torch.from_numpy(v).float()[None, None] for v in scaled]
    found = mutual_information(*images, torch.ones(1, 1, 96, 96), 16)
    wanted = normalized_mutual_information(*scaled, bins=16)
    assert float(found) == pytest.approx(wanted, abs=0.02)
    assert 1 <= float(found) <= 2


def test_mutual_information_has_a_gradient_that_is_that_of_differences():
    a = (0.4 * noise(0, 1, 1, 10, 10)).double()
    b = (0.5 * a + 0.2 * noise(1, 1, 1, 10, 10)).float().requires_grad_()
    mask = torch.ones(1, 1, 10, 10)
    mutual_information(b, a.float(), mask, 8).backward()
    direction, step = noise(2, 1, 1, 10, 10), 1e-3
    with torch.no_grad():
        up, down = (mutual_information(b + s * step * direction, a.float(), mask, 8) for s in (1, -1))
    assert float((b.grad * direction).sum()) == pytest.approx(float((up - down) / (2 * step)), rel=0.05)


def test_two_bins_are_the_fewest():
    with pytest.raises(ValueError, match="two bins"):
        mutual_information(*(torch.zeros(1, 1, 8, 8) for _ in range(3)), bins=1)
