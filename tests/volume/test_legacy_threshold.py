"""The truth table of the published rule, and agreement with scikit-image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label

from volforge.volume.legacy_threshold import remove_background, stretch_slice


def patch(value: int, area: int, shape=(80, 80)) -> np.ndarray:
    image = np.zeros(shape, np.uint8)
    image.ravel()[: shape[1] * (area // shape[1])] = value
    rows, rest = divmod(area, shape[1])
    image[rows, :rest] = value
    return image


@pytest.mark.parametrize(
    ("value", "area", "kept"),
    [
        (45, 2000, False),
        (46, 2000, True),
        (46, 1000, False),
        (46, 1001, True),
        (255, 1001, True),
        (0, 5000, False),
    ],
)
def test_threshold_and_area(value, area, kept):
    image = patch(value, area)
    assert image.astype(bool).sum() == (area if value else 0)
    expected = image if kept else np.zeros_like(image)
    assert np.array_equal(remove_background(image), expected)


def test_diagonal_neighbours_are_not_connected():
    image = np.zeros((80, 80), np.uint8)
    image[:30, :30] = 200  # 900
    image[30:40, 30:50] = 200  # 200, touches by a corner
    assert not remove_background(image).any()
    image[29, 30] = 200
    assert remove_background(image).astype(bool).sum() == 1101


def test_dark_pixels_inside_become_zero_and_bright_ones_keep_their_value():
    image = np.full((64, 64), 100, np.uint8)
    image[20:30, 20:30] = 45
    image[5, 5] = 255
    out = remove_background(image)
    assert (out[20:30, 20:30] == 0).all()
    assert out[5, 5] == 255
    assert (out[40:, 40:] == 100).all()


@given(hnp.arrays(np.uint8, (64, 64), elements=st.integers(0, 255)))
def test_agrees_with_scikit_image(image):
    parts = label(image > 45, connectivity=1)
    areas = np.bincount(parts.ravel())
    kept = np.isin(parts, [i for i in range(1, len(areas)) if areas[i] > 1000])
    assert np.array_equal(remove_background(image), np.where(kept, image, 0))


def test_stretch_is_by_slice_and_floors():
    assert np.array_equal(stretch_slice(np.array([[-1000, 0, 1000]])), [[0, 127, 255]])
    assert not stretch_slice(np.full((3, 3), 7)).any()
