"""Kriging against its formula, and on shells whose surfaces are known everywhere."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from tests.tasks.implant.kriging.shells import SMALL, cap, drawn
from volforge.errors import VolforgeError
from volforge.tasks.implant.kriging.complete import Passes, complete_maps
from volforge.tasks.implant.kriging.covariance import Covariance
from volforge.tasks.implant.kriging.disc import Disc
from volforge.tasks.implant.kriging.evidence import EVERY, likelier
from volforge.tasks.implant.kriging.fit import fit, model_of, one_of_each_head
from volforge.tasks.implant.kriging.pose import Template
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.tasks.implant.kriging.solve import Field, Thinning, chosen, grid_of, solve

REGION = SMALL.colatitudes < 70
DENSE = Thinning(every_mm=500.0)


def small_field():
    variances = np.zeros((3, 2, 2))
    variances[0, 0, 1], variances[0, 1, 1], variances[1, 0, 0] = 1.0, 0.5, 0.2
    mean = np.stack([np.full(SMALL.shape, 72.0), np.full(SMALL.shape, 80.0)])
    return Field(SMALL, mean, REGION & (SMALL.colatitudes < 30), Covariance(variances, (9.0, 24.0), nugget_mm=0.2))


def test_mean_and_deviation_are_those_of_the_formula():
    field, rng = small_field(), np.random.default_rng(0)
    observed = field.mean + rng.normal(0, 1, field.mean.shape)
    hole = cap(SMALL.directions, (0.2, 0.1, 1), 8) & field.region
    trusted = np.stack([field.region & ~hole] * 2)
    found = solve(field, observed, trusted, hole, DENSE, deviation=True)
    seen, asked = field.places(trusted), field.places(np.stack([hole, hole]))
    own = field.covariance
    inverse = np.linalg.inv(own.between(seen, seen) + 0.2**2 * np.eye(len(seen.points)))
    cross = own.between(asked, seen)
    mean = cross @ inverse @ (observed - field.mean)[trusted]
    spread = np.sqrt(np.maximum(own.of(asked) - np.einsum("ij,jk,ik->i", cross, inverse, cross), 0))
    both = np.stack([hole, hole])
    assert np.allclose(found.mean[both], field.mean[both] + mean, atol=1e-8)
    i, j = np.indices(SMALL.shape) - SMALL.half
    exact = both & ((i % 2 == 0) & (j % 2 == 0))
    assert np.allclose(found.deviation[exact], spread.reshape(2, -1)[:, exact[0][hole]].ravel(), atol=1e-6)
    assert np.abs(found.deviation[both] - spread).max() < 0.1  # between them it is interpolated
    assert np.isnan(found.mean[~both]).all()


def test_observations_are_symmetric_about_the_vertex():
    field = small_field()
    hole = cap(SMALL.directions, (0.3, 0.1, 1), 8) & field.region
    trusted = np.stack([field.region & ~hole] * 2)
    kept = chosen(field, trusted, hole, Thinning())
    other = chosen(field, trusted[:, ::-1], hole[::-1], Thinning())
    assert (kept[:, ::-1] == other).all()
    assert kept.any()
    assert not (kept & ~trusted).any()


def test_a_skull_that_is_seen_nowhere_is_refused():
    field = small_field()
    nothing = np.zeros((2, *SMALL.shape), bool)
    with pytest.raises(VolforgeError, match="no bone"):
        solve(field, field.mean, nothing, field.region, Thinning())


@pytest.fixture(scope="module")
def shells():
    """A model of 16 shells, and a 17th."""
    rng, disc = np.random.default_rng(7), Disc()
    maps = np.stack([drawn(rng, disc.directions) for _ in range(17)])
    maps[:, :, ~disc.inside] = np.nan
    trusted = disc.inside & (disc.colatitudes < 108)
    settings = KrigingSettings()
    template = Template(disc, np.nan_to_num(maps[:16].mean(0), nan=70.0), trusted)
    return model_of(maps[:16], template, settings), maps[16]


@pytest.mark.parametrize("towards", [(0, 0, 1), (0.3, -0.8, 0.5), (0.9, 0.2, 0.4)])
def test_a_hole_of_50_mm_in_a_17th_shell_is_closed_within_a_tenth_of_a_millimetre(shells, towards):
    model, true = shells
    hole = cap(model.field.disc.directions, towards, np.rad2deg(25 / 80)) & model.field.region
    observed = np.where(hole, np.nan, true)
    found = complete_maps(model.field, observed, hole, Passes(ring_mm=3.0), model.settings.thinning)
    off = (found.maps - true)[:, hole]
    assert np.sqrt(np.mean(off**2)) < 0.1
    assert (found.deviation[:, hole] > 0).all()
    assert (found.deviation[:, ~hole & np.isfinite(observed).all(0) & (found.distance > 20)] == 0).all()


def test_slanted_walls_are_not_believed(shells):
    model, true = shells
    hole = cap(model.field.disc.directions, (0.2, 0.5, 1), 16) & model.field.region
    distance = distance_transform_edt(~hole) * model.field.disc.pixel_mm
    slanted = np.where(hole, np.nan, true)
    slanted[0] += np.where(distance < 6, 6 - distance, 0)  # the inner table is cut away towards the hole
    both = [complete_maps(model.field, slanted, hole, Passes(count=n)) for n in (1, 3)]
    for found in both:
        assert np.sqrt(np.mean((found.maps - true)[:, hole] ** 2)) < 0.3
        assert np.abs((found.maps - true)[0, distance < 5]).max() < 1.0
    one, two = (np.abs((f.maps - true)[1, (distance > 0) & (distance < 9)]).mean() for f in both)
    assert two < one  # the outer table was whole: the second pass believes it again


def test_a_head_that_comes_twice_is_one_head(shells):
    model, true = shells
    rng = np.random.default_rng(2)
    other = drawn(rng, model.field.disc.directions)
    again = true + rng.normal(0, 0.1, true.shape)
    again[:, cap(model.field.disc.directions, (0, 1, 1), 15)] = np.nan
    used, same = one_of_each_head(np.stack([true, other, again]), model.settings)
    assert used == (0, 1)
    assert same == ((0, 2),)


def test_two_skulls_are_too_few():
    with pytest.raises(VolforgeError, match="at least 3"):
        fit(2, lambda n: (np.ones((4, 4, 4), np.uint8), np.eye(4)))


def test_a_skull_tells_whether_it_is_symmetric():
    """Fields drawn with and without a symmetric part are told apart by their likelihood."""
    rng = np.random.default_rng(5)
    plain, symmetric = (np.zeros((3, 2, 1)) for _ in range(2))
    plain[0, 0, 0], symmetric[0, 1, 0] = 2.0, 2.0
    kinds = [Covariance(v, (24.0,), nugget_mm=0.2) for v in (plain, symmetric)]
    mean = np.stack([np.full(SMALL.shape, 72.0), np.full(SMALL.shape, 80.0)])
    field = Field(SMALL, mean, SMALL.colatitudes < 80, kinds[1])
    seen = np.stack([field.region & grid_of(SMALL, EVERY)] * 2)
    for kind in kinds:
        matrix = kind.between(field.places(seen), field.places(seen))
        root = np.linalg.cholesky(matrix + 0.2**2 * np.eye(len(matrix)))
        for _ in range(5):
            drawn_one = np.where(seen, mean, np.nan)
            drawn_one[seen] += root @ rng.normal(size=len(root))
            assert likelier(field, kinds[0], drawn_one, seen[0]).covariance is kind
