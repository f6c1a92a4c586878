"""The blur before sampling down: scipy's Gaussian along an axis."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from volforge.volume.resample import SLAB, gaussian_along


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("shape", "sigma"), [((7, 9, 5), 0.4), ((20, SLAB + 3, 2 * SLAB), 1.3), ((3, 2, 1), 2.5)])
def test_equals_the_gaussian_of_scipy(axis, order, shape, sigma):
    """Also where the kernel is longer than the axis, and over the joints of parts."""
    values = np.asarray(np.random.default_rng(0).normal(0, 500, shape), order=order)
    found = gaussian_along(values, sigma, axis)
    assert np.allclose(found, gaussian_filter1d(values, sigma, axis=axis, mode="nearest"), atol=1e-9)
    assert found.flags.f_contiguous == values.flags.f_contiguous
    single = gaussian_along(values.astype(np.float32), sigma, axis)
    assert single.dtype == np.float32
    assert np.allclose(single, found, atol=1e-3)


def test_what_is_even_stays_even():
    assert np.allclose(gaussian_along(np.full((4, 4, 4), 7.5, np.float32), 1.0, 1), 7.5)
