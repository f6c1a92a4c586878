"""Controls that know the outline alone: depths by hand, medians, means, and only training CTs learnt from."""

import numpy as np
import pytest
from scipy import ndimage

from volforge.baselines import depth
from volforge.errors import VolforgeError
from volforge.volume.intensity import AIR_HU


def disc(shape=(41, 41, 1), radius=15.0, spacing=(1.0, 1.0, 1.0)):
    axes = [s * (np.arange(n) - (n - 1) / 2) for n, s in zip(shape, spacing, strict=True)]
    return np.linalg.norm(np.meshgrid(*axes, indexing="ij"), axis=0) < radius


@pytest.mark.parametrize(
    ("shape", "spacing", "across"),
    [((9, 9, 9), (1, 1, 1), None), ((9, 9, 9), (1, 1, 3), None), ((9, 9, 9), (1, 1, 3.1), 2),
     ((9, 1, 9), (1, 1, 1), 1), ((9, 9, 9), (5, 1, 1), 0)],
)  # fmt: skip
def test_where_depth_is_counted(shape, spacing, across):
    assert depth.plane_of(shape, spacing) == across


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_depth_of_one_slice_is_scipys_distance_in_its_plane(axis):
    body = disc()
    expected = np.where(body, ndimage.distance_transform_edt(body[:, :, 0], sampling=(1.0, 2.0))[:, :, None] - 0.5, 0)
    spacing = [1.0, 2.0]
    spacing.insert(axis, 3.0)
    found = depth.depth_mm(np.moveaxis(body, 2, axis), tuple(spacing), axis)
    np.testing.assert_allclose(np.moveaxis(found, axis, 2), expected, rtol=1e-6)


def test_depth_in_three_dimensions_and_within_thick_slices():
    spacing = (1.0, 1.0, 4.0)
    body = disc((31, 31, 9), 14, spacing)
    solid = ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(depth.depth_mm(body, spacing, None)[body], solid[body] - 0.5, rtol=1e-5)
    flat = depth.depth_mm(body, spacing, 2)
    for k in range(9):
        plane = ndimage.distance_transform_edt(body[:, :, k])
        np.testing.assert_allclose(flat[:, :, k][body[:, :, k]], plane[body[:, :, k]] - 0.5, rtol=1e-6)


def layered(body, spacing, across, noise=0.0, seed=0):
    """HU that depend on depth alone: fat, bone, brain."""
    deep = depth.depth_mm(body, spacing, across)
    hu = np.where(deep < 3, -90, np.where(deep < 7, 800, 35)) + noise * np.random.default_rng(seed).normal(
        size=body.shape
    )
    return np.where(body, hu, AIR_HU)


@pytest.mark.parametrize("across", [None, 2])
def test_a_world_of_layers_is_learnt_whole(across):
    spacing = (1.0, 1.0, 1.0 if across is None else 5.0)
    bodies = [disc((41, 41, 7 if across == 2 else 41), r, (1.0, 1.0, 1.0)) for r in (14, 17)]
    training = [(layered(b, spacing, across, 5, i), b, spacing) for i, b in enumerate(bodies)]
    profile = depth.depth_profile(training, across)
    other = disc(bodies[0].shape, 15.5)
    found = depth.by_depth(other, spacing, profile, across)
    truth = layered(other, spacing, across)
    assert np.median(np.abs(found - truth)[other]) <= 5
    assert np.mean(np.abs(found - truth)[other] > 60) < 0.2  # on the borders of layers alone
    assert (found[~other] == AIR_HU).all()


def test_medians_are_numpys():
    generator = np.random.default_rng(3)
    body = disc((31, 31, 1), 12)
    images = [np.rint(generator.normal(40, 300, body.shape)) for _ in range(3)]
    at, medians = depth.depth_profile(((v, body, (1, 1, 1)) for v in images), 2)
    deep = depth.depth_mm(body, (1, 1, 1), 2)
    for where, value in zip(at, medians, strict=True):
        chosen = body & (np.floor(deep) == where - 0.5)
        assert value == np.median(np.concatenate([v[chosen] for v in images]))
    assert depth.median_of((v, body) for v in images) == np.median(np.concatenate([v[body] for v in images]))


def test_mean_subject_of_scaled_copies_is_the_subject():
    """Two subjects of one shape and other sizes: their mean in a third size is that shape, up to interpolation."""

    def subject(radius):
        body = disc((61, 61, 1), radius)
        x, y = np.meshgrid(*[np.arange(61) - 30.0] * 2, indexing="ij")
        inner = (np.hypot(x, y) < 0.5 * radius)[:, :, None]
        return np.where(body, np.where(inner, 700, 30), AIR_HU), body

    mean = depth.mean_subject([subject(18), subject(24)], 2)
    assert mean.shape == (96, 96, 1)
    truth, body = subject(21)
    made = depth.in_box(mean, body)
    assert np.median(np.abs(made - truth)[body]) < 5
    assert np.mean(np.abs(made - truth)[body] > 100) < 0.2


def test_nothing_to_learn_from_is_said():
    nobody = [(np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool))]
    for learn in (
        lambda: depth.median_of(nobody),
        lambda: depth.mean_subject(nobody, None),
        lambda: depth.depth_profile([(*nobody[0], (1, 1, 1))], None),
    ):
        with pytest.raises(VolforgeError, match="no training image shows a body"):
            learn()


def test_cut_to_an_outline():
    image = np.array([[[40.4, 900.0]]])
    assert depth.cut_to(image, np.array([[[True, False]]])).tolist() == [[[40, AIR_HU]]]
