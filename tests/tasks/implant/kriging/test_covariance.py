"""Covariances: what is put in comes out, symmetric parts tell of the other side, and all are positive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.implant.kriging.shells import SMALL
from volforge.tasks.implant.kriging.covariance import Covariance, Places, matern, terms
from volforge.tasks.implant.kriging.likelihood import fitted

LENGTHS = (6.0, 24.0)


def places(rng, count):
    points = rng.normal(size=(count, 3))
    return Places(80 * points / np.linalg.norm(points, axis=1, keepdims=True), rng.integers(0, 2, count))


def covariance(common=(0.0, 1.0), inner=(0.2, 0.0), symmetric=(0.0, 0.5), **more):
    variances = np.zeros((3, 2, 2))
    variances[0, 0], variances[1, 0], variances[2, 1] = common, inner, symmetric
    return Covariance(variances, LENGTHS, **more)


def by_hand(own, a, b):
    """The same covariance, written out for every pair."""
    out = np.zeros((len(a.points), len(b.points)))
    for i, (p, s) in enumerate(zip(a.points, a.surfaces, strict=True)):
        for j, (q, t) in enumerate(zip(b.points, b.surfaces, strict=True)):
            for owner in range(3):
                if owner and not (s == t == owner - 1):
                    continue
                for k, length in enumerate(own.lengths):
                    plain, symmetric = own.variances[owner, :, k]
                    here = matern(np.linalg.norm(p - q), length)
                    there = matern(np.linalg.norm(p - q * [-1, 1, 1]), length)
                    out[i, j] += plain * here + symmetric * (here + there)
    return out


def test_it_is_the_sum_of_its_terms():
    rng = np.random.default_rng(0)
    a, b, own = places(rng, 30), places(rng, 20), covariance()
    assert np.allclose(own.between(a, b), by_hand(own, a, b), atol=2e-4)
    assert np.allclose(own.of(a), np.diag(own.between(a, a)), atol=1e-9)


def test_gains_scale_surfaces_and_an_offset_moves_each_as_a_whole():
    rng = np.random.default_rng(1)
    a = places(rng, 40)
    plain, scaled = covariance().between(a, a), covariance(gain=(4.0, 9.0)).between(a, a)
    factor = np.where(a.surfaces == 0, 2.0, 3.0)
    assert np.allclose(scaled, plain * factor[:, None] * factor)
    moved = covariance(offset_mm=1.5).between(a, a) - plain
    assert np.allclose(moved, 2.25 * (a.surfaces[:, None] == a.surfaces))


@given(st.integers(0, 1000), st.lists(st.floats(0, 3), min_size=12, max_size=12))
@settings(max_examples=20, deadline=None)
def test_every_sum_of_terms_is_positive_and_mirror_blind(seed, variances):
    rng = np.random.default_rng(seed)
    own = Covariance(np.array(variances).reshape(3, 2, 2), LENGTHS, (1.3, 0.8), 0.4)
    a = places(rng, 60)
    matrix = own.between(a, a)
    assert np.allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > -1e-3 * max(1.0, matrix.max())
    other = Places(a.points * [-1, 1, 1], a.surfaces)
    assert np.allclose(own.between(other, other), matrix)


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_covariance_is_found_again_in_fields_that_were_drawn_from_it(symmetric):
    rng = np.random.default_rng(3)
    true = covariance(common=(0.0, 1.0), inner=(0.3, 0.0), symmetric=(0.0, 1.0 if symmetric else 0.0))
    region = SMALL.colatitudes < 80
    at = np.argwhere(region[::2, ::2]) * 2
    region = np.zeros_like(region)
    region[tuple(at.T)] = True
    region &= region[::-1]
    at = np.argwhere(region)
    points = SMALL.directions * 80.0
    every = Places(np.tile(points[region], (2, 1)), np.repeat([0, 1], len(at)))
    root = np.linalg.cholesky(true.between(every, every) + 1e-4 * np.eye(2 * len(at)))
    drawn = np.zeros((60, 2, *SMALL.shape))
    drawn[:, :, region] = (root @ rng.normal(size=(len(root), 60))).T.reshape(60, 2, -1)
    found = fitted(drawn, points, region, symmetric=symmetric, lengths=LENGTHS)
    want, have = true.tables[:, :, 0], found.tables[:, :, 0]
    assert np.allclose(have[0], want[0], rtol=0.2, atol=0.1)
    assert found.variances[:, 1].any() == symmetric
    assert found.nugget_mm < 0.1
    if symmetric:
        assert have[1, 1] == pytest.approx(want[1, 1], rel=0.2)
        assert have[1, 0] < 0.1


def test_terms_are_named_with_their_deviations():
    assert terms(covariance()) == {
        "common, plain, 24 mm": 1.0,
        "inner, plain, 6 mm": 0.447,
        "outer, symmetric, 24 mm": 0.707,
    }
