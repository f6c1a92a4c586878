"""Laws that every measure of a segmentation obeys, on masks that Hypothesis makes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from volforge.metrics.segmentation import OVERLAP, SegmentationMetrics, measure_structures
from volforge.metrics.surface import surface_distances

TOLERANCES = (0.5, 1.0, 2.0)
STEPS = (0.3, 0.5, 0.977, 1.0, 1.25, 2.5, 3.0)
SYMMETRIC = ("dice", "iou", "hd", "assd", "nsd")
laws = settings(deadline=None, max_examples=60)
spacings = st.tuples(*[st.sampled_from(STEPS)] * 3)
surfaces = st.sampled_from(["voxels", "elements"])
shapes = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def pairs(draw, count=2):
    """Masks on one grid, each with a voxel at least."""
    shape = draw(shapes)
    masks = []
    for _ in range(count):
        mask = draw(hnp.arrays(bool, shape))
        mask[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
        masks.append(mask)
    return masks


def values(p, r, spacing, surface="voxels", tolerances=TOLERANCES):
    found = measure_structures(p, r, spacing, {"a": 1}, SegmentationMetrics(tolerances, surface))
    assert all(m.status == "ok" for m in found)
    return {m.measure: m.value for m in found}


def same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-6, abs=1e-9), name


@laws
@given(pairs(), spacings, surfaces)
def test_exchange_changes_only_what_has_a_direction(masks, spacing, surface):
    p, r = masks
    one, other = values(p, r, spacing, surface), values(r, p, spacing, surface)
    for name, value in one.items():
        if name.startswith(SYMMETRIC):
            assert other[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert one["sensitivity"] == other["precision"]
    grown, shrunk = (1 + v["volume_error_percent"] / 100 for v in (one, other))
    assert grown * shrunk == pytest.approx(1)


@laws
@given(pairs(1), spacings, surfaces)
def test_a_mask_against_itself_is_perfect(masks, spacing, surface):
    for name, value in values(masks[0], masks[0].copy(), spacing, surface).items():
        assert value == (0 if name.endswith(("_mm", "percent")) else 1), name


@laws
@given(pairs(), spacings, surfaces, st.lists(st.tuples(*[st.integers(0, 4)] * 2), min_size=3, max_size=3))
def test_place_in_the_array_and_empty_margins_do_not_matter(masks, spacing, surface, margins):
    p, r = masks
    same(values(*(np.pad(m, margins) for m in masks), spacing, surface), values(p, r, spacing, surface))


@laws
@given(pairs(), spacings, surfaces, st.sampled_from([0.1, 0.5, 2.0, 3.0, 10.0]))
def test_spacing_times_k_is_millimetres_times_k(masks, spacing, surface, k):
    p, r = masks
    one = values(p, r, spacing, surface)
    other = values(p, r, tuple(k * s for s in spacing), surface, tuple(k * t for t in TOLERANCES))
    scaled = (k * v if n.endswith("_mm") else v for n, v in one.items())
    same(dict(zip(one, other.values(), strict=True)), dict(zip(one, scaled, strict=True)))


@laws
@given(
    pairs(),
    spacings,
    surfaces,
    st.sampled_from(list(itertools.permutations(range(3)))),
    st.tuples(*[st.booleans()] * 3),
)
def test_flips_and_exchanged_axes_do_not_matter(masks, spacing, surface, order, flips):
    step = tuple(slice(None, None, -1 if f else 1) for f in flips)
    turned = (m[step].transpose(order) for m in masks)
    found = values(*turned, tuple(spacing[a] for a in order), surface)
    same(found, values(*masks, spacing, surface))


@laws
@given(pairs(), spacings, surfaces)
def test_bounds(masks, spacing, surface):
    p, r = masks
    found = values(p, r, spacing, surface)
    mark = "_elements" if surface == "elements" else ""
    hd, hd95, pooled, assd = (found[f"{n}{mark}_mm"] for n in ("hd", "hd95", "hd95_pooled", "assd"))
    assert 0 <= max(hd95, pooled, assd) <= hd * (1 + 1e-9)
    diagonal = np.linalg.norm(np.multiply(p.shape, spacing))
    assert hd <= diagonal * (1 + 1e-6)
    for name in ("dice", "iou", "sensitivity", "precision", *(n for n in found if n.startswith("nsd"))):
        assert 0 <= found[name] <= 1, name
    assert found["iou"] == pytest.approx(found["dice"] / (2 - found["dice"]))
    assert found["volume_error_abs_percent"] == abs(found["volume_error_percent"])
    if found["dice"] > 0:
        harmonic = 2 / (1 / found["sensitivity"] + 1 / found["precision"])
        assert found["dice"] == pytest.approx(harmonic)


@laws
@given(pairs(), spacings, surfaces)
def test_a_wider_tolerance_never_lowers_the_surface_dice_and_the_greatest_distance_is_enough(masks, spacing, surface):
    found = surface_distances(*masks, spacing, surface)
    scores = [found.surface_dice(t) for t in (0, 0.3, 0.5, 1, 2, 5, 20)]
    assert scores == sorted(scores)
    assert found.surface_dice(found.hausdorff()) == pytest.approx(1)


@laws
@given(pairs(3), spacings, surfaces)
def test_hausdorff_distance_obeys_the_triangle_inequality(masks, spacing, surface):
    a, b, c = masks
    ab, bc, ac = (surface_distances(*m, spacing, surface).hausdorff() for m in ((a, b), (b, c), (a, c)))
    assert ac <= (ab + bc) * (1 + 1e-6)


@laws
@given(shapes.flatmap(lambda s: st.tuples(*[hnp.arrays(np.uint8, s, elements=st.integers(0, 4))] * 2)), spacings)
def test_many_structures_at_once_equal_one_after_the_other(maps, spacing):
    structures = {"four": 4, "one": 1, "three": 3, "two": 2, "nine": 9}
    together = measure_structures(*maps, spacing, structures)
    apart = [m for n, i in structures.items() for m in measure_structures(*(v == i for v in maps), spacing, {n: 1})]
    assert [(m.measure, m.structure, m.status, m.n) for m in together] == [
        (m.measure, m.structure, m.status, m.n) for m in apart
    ]
    assert np.array_equal([m.value for m in together], [m.value for m in apart], equal_nan=True)


@laws
@given(pairs(), spacings, surfaces, st.sampled_from([(True, False), (False, True), (False, False)]))
def test_an_empty_mask_is_never_scored(masks, spacing, surface, kept):
    p, r = (m & k for m, k in zip(masks, kept, strict=True))
    found = measure_structures(p, r, spacing, {"a": 1}, SegmentationMetrics(TOLERANCES, surface))
    assert len(found) == len(OVERLAP) + 4 + len(TOLERANCES)
    assert all(np.isnan(m.value) for m in found)
    assert all(m.failed == (p.any() or r.any()) for m in found)


@laws
@given(pairs(), spacings, st.data())
def test_voxels_common_to_both_raise_overlap_and_one_stray_voxel_lowers_it(masks, spacing, data):
    place = tuple(data.draw(st.integers(0, n - 1)) for n in masks[0].shape)
    p, r = (np.pad(m, (0, 1)) for m in masks)
    p[-1, -1, -1] = True  # so that it is not empty without the voxel at `place`
    more = p.copy()
    p[place], more[place] = False, True
    before = values(p, r, spacing)
    after = values(more, r, spacing)
    if r[place]:
        assert after["dice"] > before["dice"]
        assert after["sensitivity"] > before["sensitivity"]
    else:
        assert after["dice"] <= before["dice"]
        assert after["precision"] <= before["precision"]
