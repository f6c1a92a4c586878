"""Joints found, mirrored and guessed."""

import numpy as np
import pytest

from volforge.inference.joints import find_joints

PRIOR = {"left": [0.25, 0.5, 0.5], "right": [0.75, 0.5, 0.5]}
SHAPE = (40, 30, 30)


def ball(*centres, radius=3.0):
    grid = np.indices(SHAPE)
    found = np.zeros(SHAPE, np.float32)
    for c in centres:
        found[((grid - np.array(c).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= radius**2] = 0.9
    return found


def find(probability, body=None):
    return {j.side: j for j in find_joints(probability, body, PRIOR, (2, 2, 2))}


def test_both_are_found_by_their_side():
    joints = find(ball((9, 16, 14), (31, 13, 15)))
    assert joints["left"].centre == pytest.approx((9, 16, 14))
    assert joints["right"].centre == pytest.approx((31, 13, 15))
    assert {j.origin for j in joints.values()} == {"found"}


def test_the_missing_one_is_mirrored_about_the_usual_middle():
    joints = find(ball((9, 16, 14)))
    assert (joints["left"].origin, joints["right"].origin) == ("found", "mirrored")
    assert joints["right"].centre == pytest.approx((31, 16, 14))


def test_without_any_the_usual_places_serve_within_the_bodys_box():
    body = np.zeros(SHAPE, bool)
    body[10:30, 5:25, :20] = True
    joints = find(np.zeros(SHAPE, np.float32), body)
    assert {j.origin for j in joints.values()} == {"prior"}
    assert joints["left"].centre == pytest.approx((15, 15, 10))
    assert joints["right"].centre == pytest.approx((25, 15, 10))


def test_crumbs_and_strangers_are_no_joints():
    crumbs = ball((9, 16, 14), (31, 13, 15)) + ball((12, 20, 20), radius=1)
    assert find(crumbs)["left"].centre == pytest.approx((9, 16, 14))
    far = ball((9, 16, 14), (31, 29, 1), radius=2.5)  # the right one lies at the rim of the head
    assert find(far)["right"].origin == "mirrored"


def test_the_larger_of_two_on_one_side_wins():
    joints = find(ball((8, 12, 12), radius=2) + ball((12, 20, 20), radius=3.5))
    assert joints["left"].centre == pytest.approx((12, 20, 20))
