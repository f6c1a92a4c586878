"""A joint from below: who lies where in the picture, what hides what, and colours by width."""

import numpy as np
import pytest

from volforge.shape.mesh import Mesh
from volforge.tasks.negative_volume.below import (
    BONE,
    REST,
    SHADES,
    TILE,
    TITLE,
    UNKNOWN,
    VIEWS,
    Scene,
    joint_from_below,
    strip_of,
    view_of,
)
from volforge.tasks.negative_volume.ids import BONE_IDS, IDS
from volforge.volume.geometry import Grid

N = 40


def scene(side="left", mask=None, joint=None, **more):
    """Bone above, and before and right of the middle; a ball of negative volume below it."""
    x, y, z = np.mgrid[:N, :N, :N]
    values, bones = np.zeros((N, N, N), np.uint8), np.zeros((N, N, N), np.uint8)
    ball = (x - 20) ** 2 + (y - 20) ** 2 + (z - 18) ** 2 < 100 if mask is None else mask
    values[ball] = IDS[side]["rest"]
    if joint is not None:
        values[ball & joint] = IDS[side]["joint_space"]
    bones[(x > 20) & (y > 20) & (z > 30)] = BONE_IDS[side]["barrier"]
    return Scene(values, bones, Grid((N, N, N), np.eye(4)), **more)


def hue(pixel):
    """Which colour a lit pixel has."""
    shades = {"bone": BONE, "rest": REST, "unknown": UNKNOWN, "narrow": SHADES[0], "wide": SHADES[-1]}
    own = np.asarray(pixel, float)
    return max(shades, key=lambda n: own @ np.array(shades[n], float) / np.linalg.norm(shades[n]))


def tiles(picture):
    return picture.reshape(VIEWS, TILE, TILE, 3)


def test_front_is_up_the_right_is_on_the_left_and_what_is_nearer_hides():
    here = scene()
    view = view_of("a", "left", here.values, here.grid)
    below = tiles(joint_from_below(view, here))[0]
    assert hue(below[TILE // 2, TILE // 2]) == "rest"
    quarter = TILE // 5
    lit = below.sum(axis=2) > 0
    assert hue(below[quarter, quarter]) == "bone"
    assert not lit[quarter, -quarter]
    assert not lit[-quarter, quarter]
    assert not lit[-quarter, -quarter]


def test_sides_are_tilted_towards_their_outer_face():
    left, right = scene("left"), scene("right", joint=None)
    pictures = []
    for side, own in (("left", left), ("right", right)):
        # mirrored about the middle, the two heads are each other's image
        turned = own if side == "left" else Scene(own.values[::-1], own.bones[::-1], Grid((N, N, N), np.eye(4)))
        view = view_of("a", side, turned.values, turned.grid)
        pictures.append((tiles(joint_from_below(view, turned)).sum(axis=3) > 0)[1])
    mirrored = pictures[1][:, ::-1]
    assert (pictures[0] != mirrored).mean() < 0.02
    assert (pictures[0] != pictures[1]).mean() > 0.05


@pytest.mark.parametrize(("width", "name"), [(0.1, "narrow"), (9.0, "wide"), (None, "unknown"), (np.nan, "unknown")])
def test_the_joint_space_has_the_colour_of_its_width(width, name):
    every = np.ones((N, N, N), bool)
    condyle = Mesh(np.array([[20.0, 20, 10]]), np.zeros((0, 3), np.int64))
    more = {} if width is None else {"condyle": condyle, "width_mm": np.array([width])}
    here = scene(joint=every, **more)
    view = view_of("a", "left", here.values, here.grid)
    shown = tiles(joint_from_below(view, here))
    assert hue(shown[0][TILE // 2, TILE // 2]) == hue(shown[2][TILE // 2, TILE // 2]) == name


def test_the_last_view_leaves_out_what_no_bone_bounds():
    upper = np.mgrid[:N, :N, :N][2] > 18
    here = scene(joint=upper)
    view = view_of("a", "left", here.values, here.grid)
    shown = tiles(joint_from_below(view, here))
    assert hue(shown[0][TILE // 2, TILE // 2]) == "rest"
    assert hue(shown[2][TILE // 2, TILE // 2]) == "unknown"


def test_a_side_without_a_negative_volume_has_no_view_and_a_missing_prediction_is_black():
    here = scene()
    assert view_of("a", "right", here.values, here.grid) is None
    view = view_of("a", "left", here.values, here.grid)
    assert view.edge_mm == pytest.approx(19 + 10)
    strip, picture = strip_of(view, None, "volforge: predicted")
    assert (strip.title, strip.place, strip.label) == (TITLE, "arm", "volforge: predicted")
    assert picture.shape == (VIEWS * TILE, TILE, 3)
    assert not picture.any()
