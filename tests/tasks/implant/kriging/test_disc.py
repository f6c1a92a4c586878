"""The disc of directions: equal areas, and a mirror that is a flip."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from volforge.tasks.implant.kriging.disc import Disc, mirrored

DISC = Disc()


def test_directions_are_unit_vectors_and_come_back_to_their_pixels():
    lengths = np.linalg.norm(DISC.directions, axis=-1)
    assert np.allclose(lengths, 1)
    radius, at = DISC.locate(DISC.directions * 75.0)
    held = DISC.inside
    assert np.allclose(radius[held], 75)
    i, j = np.indices(DISC.shape)
    assert np.abs(at[0] - i)[held].max() < 1e-6
    assert np.abs(at[1] - j)[held].max() < 1e-6


def test_the_middle_is_the_vertex_and_axes_are_right_and_front():
    assert np.allclose(DISC.directions[DISC.half, DISC.half], [0, 0, 1])
    assert DISC.directions[DISC.half + 20, DISC.half][0] > 0.2
    assert DISC.directions[DISC.half, DISC.half + 20][1] > 0.2


def test_pixels_have_equal_areas():
    # a cap of colatitude t covers 2 pi R^2 (1 - cos t) of the sphere
    for colatitude in (30, 60, 90, 118):
        pixels = (DISC.colatitudes <= colatitude).sum() * DISC.pixel_mm**2
        area = 2 * np.pi * DISC.radius_mm**2 * (1 - np.cos(np.deg2rad(colatitude)))
        assert abs(pixels / area - 1) < 0.01


@given(st.integers(0, 184), st.integers(0, 184))
def test_a_flip_is_the_mirror_image(i, j):
    flipped = mirrored(np.moveaxis(DISC.directions, -1, 0))[:, i, j]
    assert np.allclose(flipped * [-1, 1, 1], DISC.directions[i, j], atol=1e-12)
