"""Patches of caps: what is cut and pasted is what was there."""

import numpy as np
import pytest
import torch

from volforge.tasks.implant.tiles import gaussian_tiles, hard_tiles, tile_starts
from volforge.tasks.implant.windows import gaussian_weights, window_starts


def test_the_published_field_gives_sixteen_patches_in_raster_order():
    starts = tile_starts((512, 512, 128), (128, 128, 128))
    assert len(starts) == 16
    assert starts[:5] == [(0, 0, 0), (0, 128, 0), (0, 256, 0), (0, 384, 0), (128, 0, 0)]


@pytest.mark.parametrize("shape", [(32, 32, 16), (37, 20, 9), (5, 40, 17)])
def test_cut_and_paste_is_the_identity(shape):
    cap = np.random.default_rng(0).random(shape) > 0.5
    np.testing.assert_array_equal(hard_tiles(lambda x: x, cap, (16, 16, 8)) > 0.5, cap)


@pytest.mark.parametrize("shape", [(32, 32, 16), (37, 20, 9)])
def test_a_blend_of_a_constant_is_that_constant(shape):
    cap = np.zeros(shape, bool)
    found = gaussian_tiles(lambda x: torch.full_like(x, 0.3), cap, (16, 16, 8), 0.5)
    assert found.shape == shape
    np.testing.assert_allclose(found, 0.3, atol=1e-5)


def test_a_blend_has_no_seams_where_pasted_patches_have():
    """A network whose answer depends on the place in the patch: the published cracks along the patch borders."""
    ramp = torch.linspace(0, 1, 16).reshape(1, 1, 16, 1, 1)

    def answer(x):
        return torch.zeros_like(x) + ramp

    cap = np.zeros((48, 16, 16), bool)
    hard, soft = (
        np.abs(np.diff(f(answer, cap, (16, 16, 16), 0.5), axis=0)).max() for f in (hard_tiles, gaussian_tiles)
    )
    assert hard == pytest.approx(1.0)
    assert soft < 0.5


@pytest.mark.parametrize(("n", "w", "overlap"), [(40, 16, 0.5), (17, 16, 0.25), (10, 16, 0.5), (16, 16, 0.0)])
def test_windows_cover_everything_and_stay_inside(n, w, overlap):
    starts = [s[0] for s in window_starts((n, w, w), (w, w, w), overlap)]
    seen = np.zeros(n, bool)
    for s in starts:
        assert n <= w or 0 <= s <= n - w
        seen[max(0, s) : s + w] = True
    assert seen.all()
    weights = gaussian_weights((4, 5, 6))
    assert weights.min() > 0
    np.testing.assert_allclose(weights, weights[::-1, ::-1, ::-1])
