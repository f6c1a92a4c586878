"""Grids of networks: exact means, the way back, and where they lie in the patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.errors import VolforgeError
from volforge.tasks.implant.grids import Frame, box_frame, cap_frame, cut, native_frame
from volforge.tasks.implant.spline import spline_down, spline_up
from volforge.volume.geometry import Grid

AFFINE = np.diag([1.5, 1.0, 2.0, 1.0])
AFFINE[:3, 3] = -20, 5, 7


def head(shape=(30, 40, 24), radius=(12, 16, 18)):
    """The upper half of an ellipsoid shell whose base is the first slice."""
    p = np.indices(shape) - np.array([shape[0] / 2, shape[1] / 2, 0])[:, None, None, None]
    r = np.sqrt(sum((q / s) ** 2 for q, s in zip(p, radius, strict=True)))
    return (r < 1) & (r > 0.8)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(0.4, 3)] * 3), st.tuples(*[st.integers(1, 9)] * 3),
    st.integers(0, 2**31),
)  # fmt: skip
def test_means_keep_what_lies_inside(start, step, shape, seed):
    """The mean times the volume of a voxel is what the frame covers of the scan: integrals are exact."""
    volume = np.random.default_rng(seed).random((6, 5, 7))
    frame = Frame(start, step, shape)
    covered = [
        np.clip(np.minimum(np.arange(n) + 1, s + d * m) - np.maximum(np.arange(n), s), 0, 1)
        for n, s, d, m in zip(volume.shape, start, step, shape, strict=True)
    ]
    wanted = np.einsum("xyz,x,y,z->", volume, *covered)
    assert frame.average(volume).sum() * np.prod(step) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_means_of_whole_multiples_are_block_means():
    volume = np.random.default_rng(0).random((8, 12, 6))
    found = Frame((0, 0, 0), (2, 3, 1), (4, 4, 6)).average(volume)
    np.testing.assert_allclose(found, volume.reshape(4, 2, 4, 3, 6, 1).mean(axis=(1, 3, 5)), rtol=1e-5)


def test_a_frame_lies_where_its_voxels_are():
    """A linear field of world coordinates comes out at the frame's own voxel centres, there and back."""
    grid = Grid((30, 40, 24), AFFINE)
    frame = Frame((3.0, 5.0, -2.0), (2.0, 3.0, 2.0), (12, 10, 14))
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
    world = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    own = frame.grid(grid)
    inside = np.s_[:, :, 2:12]  # the first and the last lie beyond the scan in part
    centres = np.moveaxis(np.indices(own.shape), 0, -1) @ own.affine[:3, :3].T + own.affine[:3, 3]
    for axis in range(3):
        np.testing.assert_allclose(frame.average(world[..., axis])[inside], centres[..., axis][inside], atol=1e-3)
        back = frame.back(centres[..., axis].astype(np.float32), grid.shape)
        deep = np.s_[5:20, 7:28, 1:22]
        np.testing.assert_allclose(back[deep], world[..., axis][deep], atol=1e-3)


def test_native_frames_are_exact_both_ways_and_pad_beyond_the_scan():
    skull = head()
    frame = native_frame((-4, 10, 20), (20, 20, 20))
    part = frame.average(skull)
    assert part.shape == (20, 20, 20)
    assert not part[:4].any()
    assert not part[:, :, 4:].any()
    back = frame.back(part, skull.shape)
    assert back.shape == skull.shape
    np.testing.assert_array_equal(back[:16, 10:30, 20:] > 0, skull[:16, 10:30, 20:])
    assert not back[16:].any()


@pytest.mark.parametrize("size", [(16, 16, 8), (32, 48, 16)])
def test_a_cap_is_seen_whole_and_put_back(size):
    skull, grid = head(), Grid((30, 40, 24), AFFINE)
    frame = cap_frame(skull, grid, size=size, cap_mm=16, margin_mm=4)
    assert frame.shape == size
    seen = frame.average(skull)
    assert seen.max() > 0.5
    back = frame.back(seen, skull.shape)
    assert back.shape == skull.shape
    top = int(np.argwhere(skull)[:, 2].max())
    below = top - int(np.ceil((16 + 4) / 2)) - 1
    assert not back[:, :, :below].any()  # nothing is said below the cap
    cap = skull.copy()
    cap[:, :, : top - 7] = False
    assert (back[cap] > 0.25).mean() > 0.95


def test_a_cap_of_a_size_keeps_its_voxel_size_and_its_top():
    skull, grid = head(), Grid((30, 40, 24), AFFINE)
    frame = cap_frame(skull, grid, size=(16, 16, 8), cap_mm=100, margin_mm=4, spacing_mm=3.0)
    np.testing.assert_allclose(frame.grid(grid).spacing_mm, 3.0)
    top = frame.start[2] + frame.step[2] * frame.shape[2]
    assert top >= np.argwhere(skull)[:, 2].max() + 1
    assert frame.start[2] > 0  # what there is no room for is cut off below


def test_a_cap_higher_than_the_scan_is_padded():
    """Scans of fewer slices than a cap: the published code kept the last few alone."""
    skull = head()[:, :, 12:]
    frame = cap_frame(skull, Grid(skull.shape, AFFINE), size=(16, 16, 16), cap_mm=200, margin_mm=0)
    seen = frame.average(skull)
    assert seen.sum() * np.prod(frame.step) == pytest.approx(skull.sum(), rel=1e-4)
    assert frame.back(seen, skull.shape).shape == skull.shape


def test_a_whole_field_reaches_over_the_scan():
    skull = head()
    frame = cap_frame(skull, Grid(skull.shape, AFFINE), size=(16, 16, 8), cap_mm=30, margin_mm=0, field="whole")
    assert frame.start[:2] == (0.0, 0.0)
    assert (frame.step[0] * 16, frame.step[1] * 16) == skull.shape[:2]


def test_an_empty_skull_is_refused_by_name():
    with pytest.raises(VolforgeError, match="empty") as raised:
        cap_frame(np.zeros((4, 4, 4), bool), Grid((4, 4, 4), AFFINE), size=None, cap_mm=50, margin_mm=0, where="s1")
    assert raised.value.where == "s1"


def test_a_box_has_the_coarse_implant_in_its_middle():
    implant = np.zeros((40, 40, 40), bool)
    implant[10:16, 20:30, 38:40] = True
    frame, shown = box_frame(implant, (32, 32, 32), 3)
    inside = cut(implant, frame.first, frame.shape)
    assert inside.sum() == implant.sum()
    box = np.zeros(frame.shape, bool)
    box[shown] = True
    assert box.sum() == 12 * 16 * 5  # the margin ends where the scan ends
    assert not inside[~box].any()
    whole, everything = box_frame(np.zeros_like(implant), (16, 16, 16), 3)  # no coarse implant: the scan's middle
    assert np.array_equal(whole.first, [12, 12, 12])
    assert all(s == slice(0, 16) for s in everything)


def test_splines_go_down_and_up_as_published():
    from scipy.ndimage import zoom

    skull = np.zeros((64, 64, 40), bool)
    skull[16:48, 16:48, 20:] = True
    frame = Frame((0.0, 0.0, 8.0), (4.0, 4.0, 2.0), (16, 16, 16))
    down = spline_down(skull, frame)
    np.testing.assert_allclose(
        down, zoom(skull[:, :, 8:].astype(np.float32), (0.25, 0.25, 0.5), order=2, mode="constant")
    )
    up = spline_up(down > 0.5, frame, skull.shape)
    assert up.shape == skull.shape
    assert not up[:, :, :8].any()
    both = ((up > 0.5) & skull).sum() * 2 / ((up > 0.5).sum() + skull[:, :, 8:].sum())
    assert both > 0.8
