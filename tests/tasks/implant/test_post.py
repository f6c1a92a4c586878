"""What happens to a predicted mask: order, laws, and steps with closed forms."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.implant.making.phantoms import shell_masks
from volforge.errors import VolforgeError
from volforge.tasks.implant.post import PostOptions, nearer_to, postprocess, thinned

SPACING = (0.8, 0.8, 1.0)


@pytest.fixture(scope="module")
def case():
    implant, bone, _ = shell_masks(spacing=SPACING, gap_degrees=0.0)
    return implant, bone


def by_name(steps):
    return {s.step: s for s in steps}


def test_steps_come_in_order_and_tell_what_they_took(case):
    implant, bone = case
    prediction = implant | (bone & np.roll(implant, 5, axis=0))
    options = PostOptions(close_border=True, gap_mm=1.0, outside_mm=3.0, thin_ratio=0.9)
    found, steps = postprocess(prediction, bone, SPACING, options)
    assert [s.step for s in steps] == [
        "minus_bone", "open", "components", "fill_holes", "close_border", "clearance", "outside_head", "thin",
        "small_pieces",
    ]  # fmt: skip
    assert steps[0].removed_mm3 == pytest.approx((prediction & bone).sum() * 0.64)
    for before, after in itertools.pairwise(steps):
        assert before.after_mm3 == after.before_mm3
    assert steps[-1].after_mm3 == pytest.approx(found.sum() * 0.64)
    assert steps[0].record["step"] == "minus_bone"
    assert not (found & bone).any()


def test_a_whole_implant_stays_as_it_is(case):
    implant, bone = case
    found, steps = postprocess(implant, bone, SPACING)
    assert (found & ~implant).sum() == 0
    assert found.sum() > 0.97 * implant.sum()
    assert [s.step for s in steps] == ["minus_bone", "open", "components", "fill_holes"]


def test_an_opening_that_takes_too_much_is_skipped(case):
    implant, bone = case
    thin = implant & (np.cumsum(implant, axis=2) <= 2)
    found, steps = postprocess(thin, bone, SPACING, PostOptions(open_mm=2.0))
    assert "skipped" in by_name(steps)["open"].note
    assert found.sum() > 0.9 * thin.sum()


def test_pieces_holes_and_films():
    bone = np.zeros((60, 60, 60), bool)
    mask = bone.copy()
    mask[10:30, 10:30, 10:30] = True
    mask[15:20, 15:20, 15:20] = False  # a hole inside
    mask[40:50, 40:50, 40:50] = True
    mask[30:40, 20, 20] = True  # a film
    mask[55, 55, 55] = True
    one, steps = postprocess(mask, bone, (1, 1, 1))
    assert one.sum() == pytest.approx(20**3, abs=260)
    assert one[17, 17, 17]
    assert not one[35, 20, 20]
    assert by_name(steps)["fill_holes"].removed_mm3 == -125
    two, _ = postprocess(mask, bone, (1, 1, 1), PostOptions(max_components=2))
    assert two[45, 45, 45]
    assert not two[55, 55, 55]
    none, _ = postprocess(mask, bone, (1, 1, 1), PostOptions(max_components=2, min_cm3=5.0))
    assert none.any()
    assert not none[45, 45, 45]
    assert not postprocess(mask, bone, (1, 1, 1), PostOptions(min_cm3=50.0))[0].any()


def test_a_hole_that_is_bone_is_not_filled():
    bone = np.zeros((30, 30, 30), bool)
    bone[14:16, 14:16, 14:16] = True
    mask = np.zeros_like(bone)
    mask[5:25, 5:25, 5:25] = True
    found, _ = postprocess(mask, bone, (1, 1, 1))
    assert not (found & bone).any()
    assert found.sum() == pytest.approx(20**3 - 8, abs=260)


def test_the_seam_is_closed_by_a_voxel(case):
    implant, bone = case
    narrow = implant & ~_grown(bone)
    found, steps = postprocess(narrow, bone, SPACING, PostOptions(open_mm=0, close_border=True))
    assert by_name(steps)["close_border"].removed_mm3 < 0
    seam = implant & ~narrow
    assert (found & seam).sum() > 0.8 * seam.sum()
    assert not (found & bone).any()


def _grown(mask):
    from scipy.ndimage import binary_dilation

    return binary_dilation(mask)


@pytest.mark.parametrize("gap", [0.5, 2.0])
def test_clearance_leaves_a_gap(case, gap):
    from scipy.ndimage import distance_transform_edt

    implant, bone = case
    found, _ = postprocess(implant, bone, SPACING, PostOptions(gap_mm=gap))
    away = distance_transform_edt(~bone, sampling=SPACING)
    assert away[found].min() >= gap + 0.4
    # and no more than a gap: what is further off by a voxel stays
    assert found[implant & (away > gap + 1.5)].mean() > 0.95


def test_what_stands_out_of_the_head_goes(case):
    implant, bone = case
    spike = implant.copy()
    x, y = (int(n) for n in np.argwhere(implant).mean(axis=0)[:2])
    top = int(np.flatnonzero(implant[x, y]).max())
    spike[x - 3 : x + 4, y - 3 : y + 4, top : top + 14] = True
    head = np.zeros(bone.shape, bool)
    head[bone] = True
    # over a hole the hull is flat: the bulge of this one stands 4 mm out of it
    found, steps = postprocess(spike, head, SPACING, PostOptions(outside_mm=7.0))
    assert by_name(steps)["outside_head"].removed_mm3 > 50
    assert found[implant].mean() > 0.95
    assert not found[x, y, top + 13]


def test_thinning_takes_the_inner_side(case):
    implant, bone = case
    found, steps = postprocess(implant, bone, SPACING, PostOptions(thin_ratio=0.6))
    before = by_name(steps)["thin"].before_mm3
    assert by_name(steps)["thin"].after_mm3 == pytest.approx(0.6 * before, rel=0.15)
    places, kept = np.argwhere(implant), np.argwhere(found)
    assert kept[:, 2].mean() > places[:, 2].mean()
    x, y = (int(n) for n in places.mean(axis=0)[:2])
    column, thinner = implant[x, y].nonzero()[0], found[x, y].nonzero()[0]
    assert thinner.max() >= column.max() - 1
    assert thinner.min() > column.min()
    assert (thinned(implant, np.zeros(3), SPACING, 1.0) == implant).all()
    assert not thinned(np.zeros_like(implant), np.zeros(3), SPACING, 0.5).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 0.8]), st.sampled_from([None, 0.7]))
def test_nothing_ever_overlaps_with_bone(seed, border, gap, thin):
    rng = np.random.default_rng(seed)
    from scipy.ndimage import gaussian_filter

    bone, mask = (gaussian_filter(rng.normal(size=(16, 17, 18)), 1.5) > 0.03 for _ in range(2))
    options = PostOptions(open_mm=1.0, close_border=border, gap_mm=gap, thin_ratio=thin, outside_mm=1.0)
    kept = mask.copy()
    found, steps = postprocess(mask, bone, (1, 1, 1), options)
    assert not (found & bone).any()
    assert (mask == kept).all()
    assert found.shape == mask.shape
    assert steps[-1].after_mm3 == found.sum()


def test_an_empty_prediction_stays_empty(case):
    implant, bone = case
    found, steps = postprocess(np.zeros_like(implant), bone, SPACING)
    assert not found.any()
    assert steps == []


@pytest.mark.parametrize("wrong", [{"open_mm": -1.0}, {"max_components": 0}, {"thin_ratio": 0.0}, {"thin_ratio": 1.2}])
def test_options_that_cannot_be(wrong):
    with pytest.raises(VolforgeError):
        PostOptions(**wrong)


def test_other_grids_are_refused(case):
    with pytest.raises(VolforgeError, match="grids differ"):
        postprocess(case[0], case[1][1:], SPACING)


def test_pieces_of_two_sides_are_thinned_each_in_its_own_direction():
    n = 140
    x, y, z = np.meshgrid(*[np.arange(n) - 69.5] * 3, indexing="ij")
    r = np.sqrt(x * x + y * y + z * z)
    shell = (r >= 60) & (r <= 67)
    caps = [shell & (side * x / r > np.cos(np.radians(angle))) for side, angle in ((-1, 22), (1, 14))]
    implant = caps[0] | caps[1]
    options = PostOptions(max_components=2, thin_ratio=0.7)
    found, steps = postprocess(implant, shell & ~implant, (1.0, 1.0, 1.0), options)
    assert found.sum() == pytest.approx(0.7 * implant.sum(), rel=0.1)
    for cap in caps:
        middle = r[cap & found & (np.hypot(y, z) < 6)]
        assert middle.max() > 66  # the outer surface stays where it was
        assert middle.min() > 61


def test_a_gap_that_voxels_are_too_coarse_for_is_said(case):
    implant, bone = case
    found, steps = postprocess(implant, bone, (2.0, 2.0, 2.0), PostOptions(gap_mm=0.5))
    (step,) = [s for s in steps if s.step == "clearance"]
    assert step.removed_mm3 == 0
    assert step.note == "nothing was taken: voxels of 2 x 2 x 2 mm are too coarse for a gap of 0.5 mm"
    _, steps = postprocess(implant, bone, (2.0, 2.0, 2.0), PostOptions(gap_mm=1.1))
    (step,) = [s for s in steps if s.step == "clearance"]
    assert step.removed_mm3 > 0
    assert step.note == ""


def test_a_gap_is_measured_along_each_side_of_a_voxel():
    bone = np.zeros((21, 21, 21), bool)
    bone[10, 10, 10] = True
    near = nearer_to(bone, (0.4, 0.4, 3.0), 0.5)
    assert near.sum() == 9  # one voxel all round in the plane: 0.2 mm; the next slice begins 1.5 mm away
    assert near[9:12, 9:12, 10].all()
    wide = nearer_to(bone, (1.0, 1.0, 1.0), 4.0)
    centres = np.linalg.norm(np.argwhere(wide) - 10, axis=1)
    assert centres.max() == pytest.approx(4.5, abs=0.3)


def test_crumbs_that_a_gap_leaves_are_no_implants(case):
    implant, bone = case
    options = PostOptions(gap_mm=2.0, min_cm3=1.0, max_components=20)
    crumb = np.zeros_like(implant)
    crumb[2:10, 2:10, 2:10] = True  # 0.33 cm3, tied to the implant by a line that the gap takes
    found, _ = postprocess(implant | (crumb & ~bone), bone, SPACING, options)
    from volforge.volume.morphology import components

    assert (components(found, 26)[1][1:] * np.prod(SPACING) >= 1000).all()
