import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.tasks.translation.painting.drawn import head
from volforge.errors import VolforgeError
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.warp import warped

NONE = {"turn_degrees": 0, "scale": 0, "shift": 0, "flip": False, "elastic_mm": 0}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(128, 96), (96, 128), (60, 60)]))
def test_images_and_masks_move_alike(seed, shape):
    level = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, (2, *shape)), (1, 6, 6)).astype("f4")
    image = level / level.std() * 200
    out = warped(
        {"hu": image, "body": image > 0, "ids": (image > 0) * 3},
        np.random.default_rng(seed),
        options=Painting(),
        pixel_mm=2.0,
    )
    seen = warped({"all": np.ones((2, *shape), bool)}, np.random.default_rng(seed), options=Painting(), pixel_mm=2.0)[
        "all"
    ]
    agree = (out["hu"] > 0) == out["body"]
    assert agree[seen].mean() > 0.97
    assert (out["ids"] == out["body"] * 3).all()
    assert out["body"].dtype == bool
    assert out["ids"].dtype == (image > 0).astype(int).dtype
    inner = ndimage.binary_erosion(~seen, np.ones((1, 3, 3)), border_value=1)
    assert np.allclose(out["hu"][inner], -1000)


def test_without_options_nothing_moves():
    hu, body, _ = head()
    out = warped({"hu": hu, "body": body}, np.random.default_rng(0), options=Painting(**NONE), pixel_mm=2.0)
    assert np.allclose(out["hu"], hu, atol=0.05)
    assert (out["body"] == body).all()


def test_a_flip_is_exact_and_happens_in_half():
    hu, body, _ = head()
    options = Painting(**{**NONE, "flip": True})
    flips = []
    for seed in range(30):
        out = warped({"hu": hu, "body": body}, np.random.default_rng(seed), options=options, pixel_mm=2.0)
        flips.append(np.allclose(out["hu"], hu[..., ::-1], atol=0.05))
        assert flips[-1] or np.allclose(out["hu"], hu, atol=0.05)
    assert 8 < sum(flips) < 22


def test_turn_keeps_shape_on_pictures_that_are_not_square():
    disc = np.hypot(*(np.indices((60, 100)) - np.array([29.5, 49.5])[:, None, None])) < 20
    options = Painting(**{**NONE, "turn_degrees": 90})
    for seed in range(5):
        out = warped({"disc": disc[None]}, np.random.default_rng(seed), options=options, pixel_mm=2.0)["disc"][0]
        assert (out != disc).mean() < 0.01


def test_slices_move_alike_and_lengths_are_in_mm():
    hu, _, _ = head(1.0, slices=3)
    out = warped({"hu": hu}, np.random.default_rng(5), options=Painting(), pixel_mm=1.0)["hu"]
    assert (out[0] == out[2]).all()
    coarse = warped({"hu": head(2.0)[0]}, np.random.default_rng(5), options=Painting(), pixel_mm=2.0)["hu"][0]
    means = out[0].reshape(128, 2, 96, 2).mean((1, 3))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.99


def test_shapes_that_differ_are_named():
    with pytest.raises(VolforgeError, match="different shapes"):
        warped(
            {"a": np.zeros((1, 4, 4)), "b": np.zeros((1, 4, 5))},
            np.random.default_rng(0),
            options=Painting(),
            pixel_mm=1.0,
        )
