"""Distance maps as pictures: inside blue, outside red, a black line between; one for each layout of the volume."""

import numpy as np
import pytest

from volforge.errors import VolforgeError
from volforge.tasks.implant.distance_picture import TILE, distance_picture, distance_plane


def box():
    implant = np.zeros((24, 20, 12), bool)
    implant[8:16, 6:14, 8:] = True  # ends with the scan
    return implant


def test_a_plane_is_blue_inside_red_outside_and_black_between():
    x = np.linspace(-20, 20, 41)
    phi = np.hypot(x[:, None], x[None]) - 10
    tile = distance_plane(phi, TILE, TILE).astype(int)
    inside, outside = tile[TILE // 2, TILE // 2], tile[5, 5]
    assert inside[2] > inside[0]
    assert outside[0] > outside[2]
    black = (tile == 0).all(axis=2)
    rows, columns = np.nonzero(black)
    radius = np.hypot(rows - TILE / 2, columns - TILE / 2) * 40 / TILE
    assert abs(np.median(radius) - 10) < 0.5
    assert np.ptp(radius) < 1.5


def test_the_picture_has_three_planes_and_three_surfaces_and_the_same_bytes_again():
    picture = distance_picture(box(), (2.0, 2.0, 3.0))
    assert picture.shape == (2 * TILE + 4, 3 * TILE + 4, 3)
    assert np.array_equal(picture, distance_picture(box(), (2.0, 2.0, 3.0)))
    for k in range(3):
        tile = picture[:TILE, k * (TILE + 2) :][:, :TILE].astype(int)
        assert (tile[..., 2] > tile[..., 0] + 20).any(), k
        assert (tile[..., 0] > tile[..., 2] + 20).any(), k
    below = picture[TILE + 4 :].astype(int)
    third = below.shape[1] // 3
    is_blue = below[..., 2] > below[..., 0] + 40
    amounts = [int(is_blue[:, k * third : (k + 1) * third].sum()) for k in range(3)]
    assert amounts[0] == 0
    assert 0 < amounts[1] < amounts[2], "the outer surfaces, ever larger"


def test_the_published_map_has_a_thicker_zero():
    mm, voxels = (distance_picture(box(), (2.0, 2.0, 2.0), units=u) for u in ("mm", "voxels"))
    assert not np.array_equal(mm[:TILE], voxels[:TILE])


def test_an_empty_implant_is_refused():
    with pytest.raises(VolforgeError, match="empty"):
        distance_picture(np.zeros((4, 4, 4), bool), (1.0, 1.0, 1.0))
