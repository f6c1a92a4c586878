"""Measures of a synthetic image inside a mask: by hand, against other packages, and where there is nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from tests.metrics.images import blob, ct_pair
from tests.metrics.masks import box
from tests.metrics.test_ssim import synthrad2025
from volforge.cohort.phantoms import body
from volforge.metrics.image import TISSUES, ImageMetrics, mae, measure_image, measure_outline, ncc, psnr, rmse

SHAPE = (24, 22, 20)
PLAIN = ImageMetrics(structural=False)


def values(found, structure="body"):
    return {m.measure: m.value for m in found if m.structure == structure}


def test_constant_offset_by_hand():
    r = np.full(SHAPE, 100.0)
    r[:12] = -300.0
    found = values(measure_image(r + 40.24, r, np.ones(SHAPE, bool)))
    assert found["mae_hu"] == pytest.approx(40.24)
    assert found["rmse_hu"] == pytest.approx(40.24)
    assert found["psnr_db"] == pytest.approx(40.0)  # 20 log10(4024 / 40.24)
    assert found["ncc"] == pytest.approx(1)


def test_a_few_voxels_by_hand():
    r, p = (np.array(v, float).reshape(1, 1, 4) for v in ([0, 0, 100, 9999], [3, -4, 100, 0]))
    mask = np.array([True, True, True, False]).reshape(1, 1, 4)
    found = values(measure_image(p, r, mask, PLAIN))
    assert found["mae_hu"] == pytest.approx(7 / 3)
    assert found["rmse_hu"] == pytest.approx(math.sqrt(25 / 3))
    assert found["psnr_db"] == pytest.approx(10 * math.log10(4024**2 / (25 / 3)))
    assert found["ncc"] == pytest.approx(np.corrcoef([0, 0, 100], [3, -4, 100])[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_image_and_numpy_in_the_mask(seed):
    p, r = ct_pair(seed)
    mask = blob(seed, SHAPE)
    found = values(measure_image(p, r, mask, PLAIN))
    x, y = p[mask], r[mask]
    assert found["mae_hu"] == pytest.approx(np.mean(np.abs(x - y)), rel=1e-12)
    assert found["rmse_hu"] == pytest.approx(math.sqrt(mean_squared_error(y, x)), rel=1e-12)
    assert found["ncc"] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
    clipped = (np.clip(v, -1024, 3000) for v in (y, x))
    assert found["psnr_db"] == pytest.approx(peak_signal_noise_ratio(*clipped, data_range=4024), rel=1e-12)
    assert (x > 3000).any()
    assert (x < -1024).any()


def test_structural_measures_follow_the_rule_of_synthrad():
    """Clip to the range, its least value outside the mask, shifted to 0; 3071 HU at the top for that of 2025."""
    p, r = ct_pair(4)
    mask = blob(4, SHAPE)
    found = values(measure_image(p, r, mask))
    x, y = (np.where(mask, np.clip(v, -1024, 3000), -1024) + 1024 for v in (p, r))
    core = (slice(3, -3),) * 3
    _, whole = structural_similarity(x, y, data_range=4024, full=True)
    assert found["ssim"] == pytest.approx(whole[core][mask[core]].mean(), abs=1e-9)
    x, y = (np.where(mask, np.clip(v, -1024, 3071), -1024) + 1024 for v in (p, r))
    assert found["ms_ssim_synthrad2025"] == pytest.approx(synthrad2025(x, y, mask, 4095), abs=1e-9)


def test_phantom_ct_equals_scikit_image():
    """The body of a phantom against its blurred self, in whole HU as scans are stored."""
    scan = body.draw(1, "s", "CT", True, 6.0)
    r, mask = scan.volumes["image"], scan.volumes["labels"] > 0
    p = ndimage.gaussian_filter(r, 0.8)
    found = values(measure_image(p, r, mask))
    x, y = (np.where(mask, np.clip(v.astype(float), -1024, 3000), -1024) + 1024 for v in (p, r))
    _, whole = structural_similarity(x, y, data_range=4024, full=True)
    core = (slice(3, -3),) * 3
    assert r.max() < 3000  # the ranges of 2023 and 2025 differ only beyond
    assert found["ssim"] == pytest.approx(whole[core][mask[core]].mean(), abs=1e-9)
    assert found["psnr_db"] == pytest.approx(peak_signal_noise_ratio(y[mask], x[mask], data_range=4024), rel=1e-12)
    assert found["mae_hu"] == pytest.approx(np.abs(p.astype(float) - r)[mask].mean(), rel=1e-12)
    assert found["ms_ssim_synthrad2025"] == pytest.approx(synthrad2025(x, y, mask, 4095), abs=1e-9)


def test_what_lies_outside_of_the_mask_never_counts():
    p, r = ct_pair(5)
    mask = blob(5, SHAPE)
    before = measure_image(p, r, mask)
    for rubbish in (9e9, -5.0, math.nan, math.inf):
        after = measure_image(np.where(mask, p, rubbish), np.where(mask, r, -rubbish), mask.astype(np.uint8))
        assert before == after


@pytest.mark.parametrize("kind", [np.float32, np.int16, ">f4"])
def test_type_of_the_image_does_not_matter(kind):
    p, r = (np.round(v) for v in ct_pair(6))
    mask = blob(6, SHAPE)
    expected = measure_image(p, r, mask)
    for order in ("C", "F"):
        found = measure_image(*(np.asarray(v, kind, order=order) for v in (p, r)), mask)
        assert [(m.measure, m.structure, m.status, m.n) for m in found] == [
            (m.measure, m.structure, m.status, m.n) for m in expected
        ]
        assert np.allclose([m.value for m in found], [m.value for m in expected], rtol=0, atol=1e-6, equal_nan=True)


def test_equal_images_are_perfect_and_their_psnr_infinite():
    _, r = ct_pair(7)
    mask = blob(7, SHAPE)
    found = measure_image(r, r.copy(), mask)
    for m in found:
        expected = {"mae_hu": 0, "rmse_hu": 0, "psnr_db": math.inf}.get(m.measure, 1)
        assert m.value == pytest.approx(expected, abs=1e-12), m
        assert m.status == "ok"
    beyond = np.where(r > 3000, r + 500, r)  # differences beyond the range are no noise, but errors
    found = values(measure_image(beyond, r, mask, PLAIN))
    assert found["psnr_db"] == math.inf
    assert found["mae_hu"] > 0


def test_tissues_are_bins_of_the_reference():
    edges = [-2000, -900.001, -900, -200.001, -200, 149.999, 150, 5000]
    r = np.array(edges).reshape(2, 2, 2)
    found = measure_image(r + 10 * np.arange(8).reshape(2, 2, 2), r, np.ones((2, 2, 2), bool), PLAIN)
    tissues = {m.structure: (m.value, m.n) for m in found if m.measure == "mae_hu"}
    expected = {"air": (5, 2), "lung": (25, 2), "soft": (45, 2), "bone": (65, 2), "body": (35, 8)}
    assert {s: (pytest.approx(v[0]), v[1]) for s, v in tissues.items()} == expected


def test_absent_tissue_is_no_failure_and_missed_bone_is_one():
    shape, mask = (9, 9, 9), np.ones((9, 9, 9), bool)
    water, bone = np.zeros(shape), box(shape, (2, 2, 2), (3, 3, 3))
    found = {(m.measure, m.structure): m for m in measure_image(water, water, mask, PLAIN)}
    for tissue in ("air", "lung", "bone"):
        assert math.isnan(found["mae_hu", tissue].value)
        assert (found["mae_hu", tissue].status, found["mae_hu", tissue].n) == ("absent", 0)
    assert found["bone_dice", "bone"].status == "absent"
    with_bone = np.where(bone, 700.0, 0.0)
    cases = ((water, with_bone, "empty_prediction", 27), (with_bone, water, "empty_reference", 0))
    for p, r, status, n in cases:
        last = measure_image(p, r, mask, PLAIN)[-1]
        assert (last.measure, last.status, last.n, last.failed) == ("bone_dice", status, n, True)
        assert math.isnan(last.value)
    shifted = np.where(np.roll(bone, 1, 0), 150.0, 0.0)
    last = measure_image(shifted, with_bone, mask, PLAIN)[-1]
    assert (last.value, last.status) == (pytest.approx(2 / 3), "ok")


def test_nothing_in_the_mask_is_undefined():
    p, r = ct_pair(8)
    for metrics in (ImageMetrics(), PLAIN, ImageMetrics(0, 1, hu=False)):
        found = measure_image(p, r, np.zeros(SHAPE, bool), metrics, "liver")
        assert len(found) >= 4
        assert all(math.isnan(m.value) and m.status == "undefined" for m in found)
        assert {m.structure for m in found} == ({"liver", *TISSUES, "bone"} if metrics.hu else {"liver"})


@pytest.mark.parametrize("value", [0.1, 1 / 3, -1000.0, -1000.3, 40.1])
@pytest.mark.parametrize("count", [7, 10, 1000, 1001])
def test_a_constant_image_correlates_with_nothing(value, count):
    """Also where the mean of equal values is not quite that value."""
    constant, other = np.full(count, value), np.random.default_rng(0).random(count)
    for pair in ((constant, other), (other, constant), (constant, constant), (constant, np.full(count, 0.2))):
        assert math.isnan(ncc(*pair))


def test_a_prediction_with_nan_has_no_value_that_counts():
    p, r = ct_pair(9)
    mask = np.ones(SHAPE, bool)
    place = np.unravel_index(r.argmax(), SHAPE)  # bone
    p[place] = math.nan
    found = measure_image(p, r, mask)
    assert all(m.status != "ok" for m in found if math.isnan(m.value))
    assert all(math.isnan(m.value) for m in found if m.structure == "body")


def test_other_units_have_other_names_and_no_tissues():
    rng = np.random.default_rng(1)
    p, r = rng.random((2, *SHAPE))
    mask = blob(1, SHAPE)
    found = measure_image(p, r, mask, ImageMetrics(0, 1, hu=False), "head")
    assert [m.measure for m in found] == ["mae", "rmse", "psnr_db", "ncc", "ssim", "ssim_2d", "ms_ssim"]
    assert {m.structure for m in found} == {"head"}
    core = (slice(3, -3),) * 3
    _, whole = structural_similarity(np.where(mask, p, 0), np.where(mask, r, 0), data_range=1, full=True)
    assert values(found, "head")["ssim"] == pytest.approx(whole[core][mask[core]].mean(), abs=1e-9)
    assert [m.n for m in found[4:6]] == [mask[core].sum(), mask[5:-5, 5:-5].sum()]


def test_images_that_cannot_be_compared_are_refused():
    p, r = ct_pair(1)
    mask = blob(1, SHAPE)
    for wrong in ((p[1:], r, mask), (p, r[1:], mask), (p, r, mask[1:])):
        with pytest.raises(ValueError, match="grids differ"):
            measure_image(*wrong)
    with pytest.raises(ValueError, match="is empty"):
        measure_image(p, r, mask, ImageMetrics(5, 5))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.floats(-500, 500))
def test_laws_of_scale_and_shift(seed, scale, shift):
    a, b = np.random.default_rng(seed).uniform(-800, 800, (2, 60))
    moved = scale * a + shift, scale * b + shift
    assert mae(*moved) == pytest.approx(scale * mae(a, b))
    assert rmse(*moved) == pytest.approx(scale * rmse(a, b))
    assert ncc(scale * a + shift, b) == pytest.approx(ncc(a, b))
    assert ncc(-a, b) == pytest.approx(-ncc(a, b))
    assert -1 <= ncc(a, b) <= 1
    assert mae(a, b) <= rmse(a, b) * (1 + 1e-12)
    assert psnr(a, b, -1024, 3000) == pytest.approx(psnr(b, a, -1024, 3000))
    low, high = (scale * v + shift for v in (-1024, 3000))
    assert psnr(*moved, low, high) == pytest.approx(psnr(a, b, -1024, 3000))


def test_outline_of_a_body():
    reference = box(SHAPE, (4, 4, 4), (12, 10, 8))
    found = {m.measure: m for m in measure_outline(np.roll(reference, 2, 1), reference.astype(np.uint8), (2, 1.5, 3))}
    assert list(found) == ["outline_dice", "outline_hd95_mm"]
    assert found["outline_dice"].value == pytest.approx(0.8)
    assert found["outline_hd95_mm"].value == pytest.approx(3.0, rel=1e-6)
    assert {(m.structure, m.status, m.n) for m in found.values()} == {("body", "ok", 960)}
    missing = measure_outline(np.zeros(SHAPE), reference, (1, 1, 1))
    assert [(m.status, m.failed, math.isnan(m.value)) for m in missing] == [("empty_prediction", True, True)] * 2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_scan_of_one_slice_has_the_ssim_of_its_plane_and_no_other(axis):
    p, r = ct_pair(9)
    mask = np.ones(SHAPE, bool)
    flat = [np.moveaxis(v[:, :, 10:11], 2, axis) for v in (p, r, mask)]
    found = values(measure_image(*flat))
    assert not set(found) & {"ssim", "ms_ssim", "ms_ssim_synthrad2025"}
    x, y = (np.clip(v[:, :, 10], -1024, 3000) + 1024 for v in (p, r))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "truncate": 3.35}
    _, whole = structural_similarity(x, y, data_range=4024, full=True, **options)
    assert found["ssim_2d"] == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-9)
    nothing = measure_image(flat[0] * math.nan, *flat[1:])
    assert {m.measure for m in nothing if m.structure == "body"} == set(found)
