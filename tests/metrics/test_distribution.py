"""Distances of sets of features: closed forms of Gaussians, laws, and other programs where definitions agree."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from volforge.metrics.distribution import (
    FeatureStatistics,
    _mmd2,
    frechet_distance,
    gaussian_mmd,
    kernel_distance,
    real_floor,
    statistics_of,
)

LAW = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def gaussian(mean, covariance):
    return FeatureStatistics(np.asarray(mean, float), np.asarray(covariance, float), 100)


def features(seed, n=60, d=8, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + shift


def two(seed, **of):
    return statistics_of(features(seed, **of)), statistics_of(features(seed + 1, **of))


def with_root(a, b):
    """The formula as it is written, by the matrix root of scipy."""
    root = np.trace(sqrtm(a.covariance @ b.covariance)).real
    return ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root


def test_statistics_are_those_of_numpy():
    x = features(0).astype(np.float32)
    found = statistics_of(x)
    assert np.allclose(found.mean, x.mean(axis=0), atol=1e-5)
    assert np.allclose(found.covariance, np.cov(x.astype(float), rowvar=False))
    assert found.n == 60
    assert found.covariance.dtype == np.float64


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5,), (2, 2, 2)])
def test_too_few_vectors_or_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        statistics_of(np.zeros(shape))


def test_gaussians_on_a_line():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    found = frechet_distance(gaussian([1], [[4]]), gaussian([-2], [[25]]))
    assert found == pytest.approx(9 + 9)


def test_gaussians_with_common_axes():
    a, b = np.array([1.0, 4, 9, 0]), np.array([4.0, 4, 1, 2.25])
    turn = ortho_group.rvs(4, random_state=0)
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    found = frechet_distance(*(gaussian(np.zeros(4), turn @ np.diag(v) @ turn.T) for v in (a, b)))
    assert found == pytest.approx(expected, abs=1e-6)


@LAW
@given(SEEDS, st.integers(1, 40))
def test_equal_to_the_matrix_root_of_scipy(seed, d):
    a, b = two(seed % 2**31, n=2 * d + 5, d=d)
    assert frechet_distance(a, b) == pytest.approx(with_root(a, b), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(2, 10), (20, 50), (50, 224)])
def test_fewer_images_than_features(n, d):
    """The trace of the root is the nuclear norm of the product of the centred sets."""
    x, y = features(1, n, d), features(2, n + 3, d, shift=0.5)
    centred = [(v - v.mean(axis=0)) / math.sqrt(len(v) - 1) for v in (x, y)]
    a, b = statistics_of(x), statistics_of(y)
    root = np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6 * np.trace(a.covariance))


def test_sets_without_spread_are_apart_by_their_means():
    flat = [statistics_of(np.full((5, 4), v)) for v in (1.0, 3.0)]
    assert frechet_distance(*flat) == pytest.approx(4 * 2**2)
    spread = gaussian(np.ones(4), np.diag([1.0, 2, 3, 4]))
    assert frechet_distance(flat[0], spread) == pytest.approx(10)


@LAW
@given(SEEDS, st.floats(-3, 3), st.floats(0.1, 10))
def test_laws_of_the_frechet_distance(seed, shift, factor):
    seed %= 2**31
    a, b = two(seed, d=5)
    found = frechet_distance(a, b)
    assert found >= 0
    assert found == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    moved = gaussian(a.mean + shift, a.covariance)
    assert frechet_distance(a, moved) == pytest.approx(5 * shift**2, rel=1e-6, abs=1e-6)
    turn = factor * ortho_group.rvs(5, random_state=seed)
    turned = [gaussian(turn @ s.mean + shift, turn @ s.covariance @ turn.T) for s in (a, b)]
    assert frechet_distance(*turned) == pytest.approx(factor**2 * found, rel=1e-6)
    c = statistics_of(features(seed + 2, d=5))
    lengths = [math.sqrt(frechet_distance(*pair)) for pair in ((a, c), (a, b), (b, c))]
    assert lengths[0] <= lengths[1] + lengths[2] + 1e-6


@pytest.mark.parametrize("n", [60, 20])
def test_equal_to_eigenvalues_and_monai(n):
    """torchmetrics' way: the trace of the root is the sum of the roots of the product's eigenvalues."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, y = features(5, n, 12), features(6, n + 7, 12, shift=0.3)
    a, b = statistics_of(x), statistics_of(y)
    root = np.sqrt(np.linalg.eigvals(a.covariance @ b.covariance).astype(complex)).real.sum()
    by_hand = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(by_hand, rel=1e-6)
    get_fid_score = pytest.importorskip("monai.metrics.fid", reason="MONAI is not installed").get_fid_score
    try:
        theirs = float(get_fid_score(torch.from_numpy(x), torch.from_numpy(y)))
    except (TypeError, ValueError) as error:  # MONAI asks scipy for an argument that newer ones do not know
        pytest.skip(f"MONAI cannot work with this scipy: {error}")
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)


def naive_mmd(x, y, kernel):
    """Unbiased squared MMD pair by pair."""

    def within(v):
        return np.mean([kernel(p, q) for p, q in itertools.permutations(v, 2)])

    return within(x) + within(y) - 2 * np.mean([kernel(p, q) for p in x for q in y])


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 9)])
def test_kernel_distance_pair_by_pair(n, m):
    x, y = features(1, n, 4), features(2, m, 4)
    found, deviation = kernel_distance(x, y)
    assert found == pytest.approx(naive_mmd(x, y, lambda p, q: (p @ q / 4 + 1) ** 3))
    assert math.isnan(deviation)


def test_kernel_distance_by_its_sums():
    """The unbiased estimate of Binkowski et al. 2018, equation 4, with the kernel (x y / d + 1)^3."""
    x, y = features(3, 50, 16), features(4, 50, 16, shift=0.2)
    xx, yy, xy = ((p @ q.T / 16 + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (50 * 49)
    assert kernel_distance(x, y)[0] == pytest.approx(within - 2 * xy.mean(), rel=1e-6)


def test_mmd_with_a_linear_kernel_equals_monai():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    mmd = pytest.importorskip("monai.metrics.mmd", reason="MONAI is not installed")
    x, y = features(3, 20, 6), features(4, 20, 6, shift=0.2)
    theirs = float(mmd.MMDMetric()(torch.from_numpy(x), torch.from_numpy(y)))
    assert _mmd2(x @ x.T, y @ y.T, x @ y.T) == pytest.approx(theirs, rel=1e-6)


def test_kernel_distances_of_equal_distributions_are_0_on_average_and_shifted_ones_are_not():
    rng = np.random.default_rng(0)
    for distance in (lambda x, y: kernel_distance(x, y)[0], gaussian_mmd):
        values = [distance(*rng.standard_normal((2, 12, 5))) for _ in range(400)]
        assert abs(np.mean(values)) < 4 * np.std(values) / 20
        assert min(values) < 0  # unbiased, so it must fall below 0 at times
        assert distance(rng.standard_normal((200, 5)), rng.standard_normal((200, 5)) + 1) > 0.05


def test_large_sets_are_judged_by_subsets_that_a_seed_decides():
    x, y = (np.random.default_rng(s).standard_normal((n, 3)) + s for s, n in ((0, 1001), (1, 300)))
    found = kernel_distance(x, y, seed=1)
    assert found == kernel_distance(x, y, seed=1)
    assert found != kernel_distance(x, y, seed=2)
    whole = kernel_distance(x[:1000], y)[0]
    assert found[0] == pytest.approx(whole, rel=0.1)
    assert 0 < found[1] < whole


@LAW
@given(SEEDS)
def test_kernel_distances_know_no_order(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((9, 3))
    assert kernel_distance(x, y)[0] == pytest.approx(kernel_distance(y[::-1], x[::-1])[0])
    turn = ortho_group.rvs(3, random_state=seed % 2**31)
    assert kernel_distance(x @ turn, y @ turn)[0] == pytest.approx(kernel_distance(x, y)[0])
    # the width comes from the reference: no unit, no origin, no axes
    assert gaussian_mmd(3 * x @ turn + 1, 3 * y @ turn + 1) == pytest.approx(gaussian_mmd(x, y))
    assert gaussian_mmd(x, y) <= 2


def test_gaussian_mmd_pair_by_pair():
    x, y = features(1, 7, 4), features(2, 9, 4)
    median = np.median([((p - q) ** 2).sum() for p, q in itertools.combinations(x, 2)])
    expected = naive_mmd(x, y, lambda p, q: math.exp(-((p - q) ** 2).sum() / median))
    assert gaussian_mmd(x, y) == pytest.approx(expected)
    assert gaussian_mmd(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(expected, abs=1e-5)


def test_gaussian_mmd_of_sets_without_spread():
    """Equal vectors give no width; 1 is taken."""
    assert gaussian_mmd(np.zeros((4, 1)), np.zeros((3, 1))) == 0
    assert gaussian_mmd(np.zeros((4, 1)), np.full((3, 1), 2.0)) == pytest.approx(2 - 2 * math.exp(-4))


def test_gaussian_mmd_of_large_sets_is_drawn_by_the_seed():
    x, y = features(1, 80), features(2, 90)
    found = gaussian_mmd(x, y, most=30, seed=3)
    assert found == gaussian_mmd(x, y, most=30, seed=3) != gaussian_mmd(x, y, most=30, seed=4)
    assert gaussian_mmd(x, y, most=90) == gaussian_mmd(x, y)


@pytest.mark.parametrize("distance", [kernel_distance, gaussian_mmd])
def test_one_vector_has_no_unbiased_distance(distance):
    with pytest.raises(ValueError, match="two vectors"):
        distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_floor_of_two_subjects_is_their_distance():
    x = features(0, 50)
    groups = np.repeat(["a", "b"], [20, 30])
    expected = frechet_distance(statistics_of(x[:20]), statistics_of(x[20:]))
    found, size = real_floor(x, groups)
    assert (found, size) == (pytest.approx(expected, rel=1e-6), 20)


def test_floor_never_parts_a_subject():
    """Slices of a subject are equal: halves of whole subjects differ in mean by at least what subjects do."""
    groups = np.repeat(np.arange(3), 10)
    x = np.eye(3)[groups]
    found, size = real_floor(x, groups, seed=1)
    # one subject against two: |e1 - (e2 + e3) / 2|^2 = 1.5 and the spread of the two
    assert found == pytest.approx(1.5 + np.trace(np.cov(np.eye(3)[groups[:20]], rowvar=False)), rel=1e-9)
    assert size == 10
    assert (found, size) == real_floor(x, groups, seed=1)


@pytest.mark.parametrize("groups", [np.zeros(8), np.repeat([0, 1], [7, 1])])
def test_without_two_halves_there_is_no_floor(groups):
    found, size = real_floor(features(0, 8), groups)
    assert math.isnan(found)
    assert size == 0
