from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.tasks.translation.painting.drawn import head, trunk
from volforge.errors import VolforgeError
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.paint import paint

STILL = Painting(outline_mm=0, slack=0)
CLEAN = Painting(outline_mm=0, slack=0, noise=(0.0, 0.002), lesions=0, fluid=False)


def painted(scan, seed=0, options=STILL, pixel_mm=2.0, between_mm=2.0, labels=None, contrasts=1):
    hu, body, _ = scan
    rng = np.random.default_rng(seed)
    lengths = {"pixel_mm": pixel_mm, "between_mm": between_mm}
    return paint(hu, body, rng, options=options, labels=labels, contrasts=contrasts, **lengths)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1.0, 2.0, 4.0]), st.integers(0, 10**6), st.integers(-1200, 3000))
def test_any_numbers_give_a_picture_in_range(slices, pixel_mm, seed, level):
    draw = np.random.default_rng(seed)
    hu = (level + draw.integers(0, 2000) * ndimage.gaussian_filter(draw.normal(0, 5, (slices, 24, 20)), 1)).astype("f4")
    body = ndimage.gaussian_filter(draw.normal(0, 1, hu.shape), 2) > draw.normal(0, 0.1)
    out = painted((hu, body, None), seed, pixel_mm=pixel_mm)
    assert out.dtype == np.float32
    assert out.shape == hu.shape
    assert (out[~body] == -1).all()
    assert (np.abs(out) <= 1).all()


def test_outline_is_off_by_what_is_asked_and_no_more():
    scan = head()
    body = scan[1]
    wide, narrow = ndimage.maximum_filter(body, (1, 3, 3)), ndimage.minimum_filter(body, (1, 3, 3))
    seen = set()
    for seed in range(24):
        out = painted(scan, seed, Painting())
        assert (out[~wide] == -1).all()
        seen.add(("wide", bool((out[wide & ~body] > -1).any())))
        seen.add(("narrow", bool((out[body & ~narrow] == -1).all())))
    assert len(seen) == 4


def test_same_seed_same_bytes_whatever_else_is_drawn():
    scan = trunk(slices=2)
    first = painted(scan, [4, 2], Painting(), 4.0, 4.0)
    np.random.seed(3)  # noqa: NPY002
    np.random.random(5)  # noqa: NPY002
    assert painted(scan, [4, 2], Painting(), 4.0, 4.0).tobytes() == first.tobytes()
    assert painted(scan, [4, 3], Painting(), 4.0, 4.0).tobytes() != first.tobytes()


def test_the_target_is_not_touched():
    hu, body, _ = head()
    before = hu.tobytes(), body.tobytes()
    hu.flags.writeable = body.flags.writeable = False
    painted((hu, body, None), 1, Painting())
    assert (hu.tobytes(), body.tobytes()) == before


def test_the_couch_is_not_seen():
    hu, body, _ = trunk()
    with_couch = hu.copy()
    with_couch[:, -6:] = -120
    assert (painted((hu, body, None), 5, pixel_mm=4.0) == painted((with_couch, body, None), 5, pixel_mm=4.0)).all()


def test_air_and_cortex_are_dark_in_every_contrast():
    scan = head(1.0)
    rank = []
    for seed in range(20):
        out = painted(scan, seed, pixel_mm=1.0)
        assert out[scan[2]["air"]].mean() < -0.6
        rank.append((out[scan[1]] < np.median(out[scan[2]["cortex"]])).mean())
    assert np.median(rank) < 0.15
    assert np.mean(np.array(rank) < 0.3) > 0.8


def test_gas_and_lungs_of_a_trunk_are_dark_but_lungs_show_vessels():
    scan = trunk(2.0)
    parts = scan[2]
    vessels = ndimage.binary_erosion(parts["lungs"][0], iterations=3)[None] & (scan[0] > 0)
    brighter = []
    for seed in range(12):
        out = painted(scan, seed)
        assert out[parts["gas"]].mean() < -0.6
        inner = ndimage.binary_erosion(parts["tissue"][0])[None] & parts["tissue"]
        assert out[inner].mean() < out[parts["muscle"] | parts["fat"]].mean()
        brighter.append(out[vessels].mean() > out[inner].mean())
    assert np.mean(brighter) > 0.7


def test_contrasts_differ_in_order_unless_they_are_t1():
    scan = trunk(slices=1)
    parts = scan[2]

    def fat_above_muscle(options, seed):
        out = painted(scan, seed, options, 4.0, 4.0)
        return np.median(out[parts["fat"]]) > np.median(out[parts["muscle"]])

    mixed = [fat_above_muscle(STILL, s) for s in range(20)]
    assert 3 < sum(mixed) < 17
    of_t1 = [fat_above_muscle(Painting(prior="t1", outline_mm=0, bias=0.1), s) for s in range(12)]
    assert sum(of_t1) >= 11


def test_contrasts_of_one_sitting_show_one_anatomy():
    """What fluid changes lies in the same places of both; the first is painted as if it stood alone."""
    scan, shares = head(), []
    for seed in range(12):
        made = [painted(scan, seed, replace(CLEAN, fluid=has), contrasts=2) for has in (True, False)]
        assert made[0][:1].tobytes() == painted(scan, seed, replace(CLEAN, fluid=True)).tobytes()
        assert (np.abs(made[0][0] - made[0][1]) > 0.1).any()
        change = np.abs(made[0] - made[1])
        first, second = ndimage.maximum_filter(change[0] > 0.05, 3), change[1] > 0.2
        if (change[0] > 0.2).sum() > 20 and second.sum() > 20:  # both differ in grey from what was there
            shares.append((first & second).sum() / second.sum())
    assert len(shares) > 3
    assert np.median(shares) > 0.9  # the window moves with what is in it, so some of the rest changes too


def test_outline_of_all_contrasts_is_the_same():
    scan = head()
    body = scan[1]
    for seed in range(12):
        made = np.split(painted(scan, seed, Painting(outline_mm=4.0), contrasts=3), 3)
        ring = ndimage.maximum_filter(body, (1, 5, 5)) & ~body
        beyond = [bool((m[ring] > -1).any()) for m in made]
        assert len(set(beyond)) == 1


def test_each_label_has_a_grey_of_its_own_but_air_stays_dark():
    scan = head()
    parts = scan[2]
    labels = np.where(parts["left"], 2, np.where(parts["right"], 5, np.where(parts["air"], 7, 0)))
    steady = Painting(outline_mm=0, noise=(0.0, 0.002), lesions=0, bias=0.05)
    apart, spread = [], []
    for seed in range(16):
        out = painted(scan, seed, steady, labels=labels)
        left, right = out[parts["left"]], out[parts["right"]]
        apart.append(abs(left.mean() - right.mean()))
        spread.append(max(left.std(), right.std()))
        assert out[parts["air"]].mean() < -0.6
    assert np.median(apart) > 0.3
    assert np.median(spread) < 0.2
    without = painted(scan, 3, steady)
    nothing = painted(scan, 3, steady, labels=np.zeros_like(labels))
    assert (without == nothing).all()


def test_neighbouring_slices_are_painted_alike():
    scan = head(slices=3)
    body = scan[1][0]
    alike = []
    for seed in range(12):
        out = painted(scan, seed, Painting(outline_mm=0, noise=(0.005, 0.01)), between_mm=2.0)
        alike += [np.corrcoef(out[k][body], out[k + 1][body])[0, 1] for k in range(2)]
    assert np.median(alike) > 0.95
    assert min(alike) > 0.9


def test_a_coarser_grid_is_painted_with_the_same_fields():
    fine, coarse = head(1.0), head(2.0)
    inner = ndimage.binary_erosion(coarse[1][0], iterations=3)
    alike = []
    for seed in range(8):
        a = painted(fine, seed, CLEAN, 1.0)[0]
        b = painted(coarse, seed, CLEAN, 2.0)[0]
        means = a.reshape(b.shape[0], 2, b.shape[1], 2).mean((1, 3))
        alike.append(np.corrcoef(means[inner], b[inner])[0, 1])
    assert min(alike) > 0.9
    assert np.median(alike) > 0.95


def test_fluid_is_painted_where_the_ct_is_soft():
    scan = head()
    changed = np.zeros(scan[0].shape, bool)
    for seed in range(12):
        plain = painted(scan, seed, Painting(fluid=False, outline_mm=0, blur_mm=(0, 0), gamma=(1, 1)))
        wet = painted(scan, seed, Painting(outline_mm=0, blur_mm=(0, 0), gamma=(1, 1)))
        changed |= np.abs(plain - wet) > 0.5
    assert changed[scan[2]["brain"]].any()
    assert not changed[scan[2]["cortex"] | scan[2]["air"]].any()


def test_window_of_percentiles():
    scan = head()
    out = painted(scan, 1, Painting(outline_mm=0, slack=0, gamma=(1, 1), window=(2.0, 90.0)))
    inside = out[scan[1]]
    assert (inside == 1).mean() == pytest.approx(0.1, abs=0.005)
    assert (inside == -1).mean() == pytest.approx(0.02, abs=0.005)


def test_nothing_to_paint():
    hu, body = np.full((1, 20, 20), -1000, np.float32), np.zeros((1, 20, 20), bool)
    assert (painted((hu, body, None), 0, Painting()) == -1).all()


def test_mistakes_are_named():
    hu, body, _ = head()
    with pytest.raises(VolforgeError, match="not all"):
        painted((hu[0], body[0], None))
    with pytest.raises(VolforgeError, match="not all"):
        painted((hu, body[:, 1:], None))
    with pytest.raises(VolforgeError, match="above 0"):
        painted((hu, body, None), pixel_mm=0.0)
