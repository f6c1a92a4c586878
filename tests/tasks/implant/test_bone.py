"""The skull of a CT, and caps that go back exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.implant.skulls import INNER_MM, OUTER_MM, head_ct, shell
from volforge.cohort.phantoms.fields import rotation
from volforge.errors import VolforgeError
from volforge.tasks.implant.bone import cap_of, cut, has_metal, metal_mm3, paste_back, skull_of_ct


@pytest.fixture(scope="module")
def head():
    return head_ct()


def test_the_skull_of_a_ct_is_without_holder_couch_and_calcification(head):
    hu, spacing, parts = head
    found = skull_of_ct(hu, spacing)
    assert not (found & parts["holder"]).any()
    assert not (found & parts["calcification"]).any()
    assert np.array_equal(found, parts["skull"] | parts["flap"])


def test_a_loose_flap_belongs_to_a_defective_skull_alone(head):
    hu, spacing, parts = head
    assert np.array_equal(skull_of_ct(hu, spacing, defective=False), parts["skull"])


def test_a_body_found_on_coarse_voxels_gives_the_same_skull():
    for asked, body_mm in (((2.0, 2.0, 2.0), 4.0), ((1.5, 1.5, 3.0), 3.0)):
        hu, spacing, _ = head_ct(asked)
        assert np.array_equal(skull_of_ct(hu, spacing, body_mm=body_mm), skull_of_ct(hu, spacing))
    with pytest.raises(VolforgeError, match="no body"):
        skull_of_ct(np.full((20, 20, 20), -1000, np.int16), (2.0, 2.0, 2.0), body_mm=4.0)


def test_a_window_of_bone_leaves_metal_out(head):
    hu, spacing, parts = head
    hu = hu.copy()
    place = tuple(np.argwhere(parts["skull"])[0])
    hu[place] = 3000
    assert skull_of_ct(hu, spacing)[place]
    assert not skull_of_ct(hu, spacing, most_hu=2500.0)[place]
    assert metal_mm3(hu, spacing) == 8.0
    assert not has_metal(hu, spacing)
    hu[parts["flap"]] = 3000
    assert has_metal(hu, spacing)


def test_a_ct_without_bone_and_one_without_body_are_refused(head):
    hu, spacing, _ = head
    with pytest.raises(VolforgeError, match="no bone"):
        skull_of_ct(np.minimum(hu, 100), spacing)
    with pytest.raises(VolforgeError, match="no body"):
        skull_of_ct(np.full((20, 20, 20), -1000, np.int16), spacing)


def grids():
    """Affines: anisotropic, oblique by 25 degrees at most, any axis order and flips."""

    def made(spacing, tilt, order, flips, origin):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(tilt) @ np.eye(3)[:, list(order)] * (np.array(spacing) * flips)
        matrix[:3, 3] = origin
        return matrix

    number = st.floats(-25, 25)
    return st.builds(
        made,
        st.tuples(*[st.floats(0.4, 6.0)] * 3),
        st.tuples(number, number, number),
        st.permutations((0, 1, 2)),
        st.tuples(*[st.sampled_from((-1, 1))] * 3),
        st.tuples(number, number, number),
    )


@settings(max_examples=150, deadline=None)
@given(
    affine=grids(),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    seed=st.integers(0, 999),
    share=st.floats(0.01, 1.0),
    cap_mm=st.floats(0.5, 150),
    margin_mm=st.floats(0, 30),
)
def test_cut_and_put_back_is_the_skull_above_the_plane_and_zero_below(affine, shape, seed, share, cap_mm, margin_mm):
    rng = np.random.default_rng(seed)
    skull = rng.random(shape) < share
    skull[tuple(int(rng.integers(n)) for n in shape)] = True
    cap = cap_of(skull, affine, cap_mm, margin_mm)
    heights = np.moveaxis(np.indices(shape), 0, -1) @ affine[2, :3] + affine[2, 3]
    kept = skull & (heights >= heights[skull].max() - cap_mm - 1e-6)
    back = paste_back(cap.part, cap.place, skull.shape)
    assert back.dtype == bool
    assert np.array_equal(back, kept)
    # the part lies where its affine says
    inside = np.argwhere(cap.part)
    places = inside @ cap.affine[:3, :3].T + cap.affine[:3, 3]
    index = (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.allclose(np.sort(index, axis=0), np.sort(np.argwhere(kept), axis=0), atol=1e-6)
    # any other volume of the grid goes the same way
    values = rng.integers(1, 99, shape)
    again = paste_back(cut(values, cap.place), cap.place, shape)
    assert np.array_equal(again[kept], values[kept])
    assert set(np.unique(again - values)) <= {0, *(-values.ravel())}


@pytest.mark.parametrize(("tilt", "half_voxel"), [((0.0, 0.0, 0.0), 1.0), ((19.0, 0.0, 0.0), 0.0)])
def test_an_oblique_grid_gives_the_same_cap(tilt, half_voxel):
    """Half a shell less a slab, whose area is the same at any height; straight voxels reach below their centres."""
    skull, affine = shell(tilt=tilt)
    cap = cap_of(skull, affine, 60.0)
    plane = (np.argwhere(skull) @ affine[2, :3] + affine[2, 3]).max() - 60.0 - half_voxel
    truth = 2 / 3 * np.pi * (OUTER_MM**3 - INNER_MM**3) - np.pi * (OUTER_MM**2 - INNER_MM**2) * plane
    assert cap.part.sum() * 8.0 == pytest.approx(truth, rel=0.005)


def test_a_short_volume_is_filled_up_with_zeros():
    skull, affine = shell()
    short = skull[:, :, -40:]
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 2] * (skull.shape[2] - 40)
    whole, part = cap_of(skull, affine, 100.0), cap_of(short, moved, 100.0)
    assert part.part.shape[2] == whole.part.shape[2]
    assert part.place[2].start < 0
    assert np.allclose(part.affine[2], whole.affine[2])
    assert not part.part[:, :, : -part.place[2].start].any()


def test_what_is_no_cap_is_refused():
    skull, affine = shell((4.0, 4.0, 4.0))
    with pytest.raises(VolforgeError, match="empty"):
        cap_of(np.zeros_like(skull), affine)
    with pytest.raises(VolforgeError, match="is none"):
        cap_of(skull, affine, 0.0)
    cap = cap_of(skull, affine)
    with pytest.raises(VolforgeError, match="does not fit"):
        paste_back(cap.part[1:], cap.place, skull.shape)
