"""The blur before sampling down: scipy's Gaussian along an axis."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from volforge.volume import resample
from volforge.volume.geometry import Grid
from volforge.volume.resample import SLAB, about, gaussian_along, resample_to


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


def oblique(spacing, shape):
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag(spacing), (-40.0, 12.5, 300.0)
    return Grid(shape, affine)


@pytest.mark.parametrize("nearest, smooth", [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize("place", ["inside", "at a corner", "nowhere"])
def test_what_lies_outside_of_a_thing_changes_nothing(monkeypatch, nearest, smooth, place):
    rng = np.random.default_rng(3)
    grid = oblique((0.5, 0.5, 2.0), (64, 56, 30))
    image = np.full(grid.shape, -1024, np.int16, order="F")
    box = {"inside": np.s_[20:40, 25:40, 8:19], "at a corner": np.s_[:17, 40:, :12], "nowhere": np.s_[:0]}[place]
    image[box] = rng.integers(-1024, 1500, image[box].shape)
    # no centre of a voxel lies between two others, where the nearest is either
    onto = Grid((20, 22, 34), grid.affine @ np.diag([2.73, 2.17, 0.93, 1.0]))
    found = resample_to(image, grid, onto, nearest=nearest, outside=-1024.0, smooth=smooth)
    assert about(image, grid, onto, -1024.0)[0].size < image.size
    monkeypatch.setattr(resample, "about", lambda array, grid, onto, outside: (array, grid))
    np.testing.assert_array_equal(
        found, resample_to(image, grid, onto, nearest=nearest, outside=-1024.0, smooth=smooth)
    )
    assert (place == "nowhere") == bool((found == -1024).all())
