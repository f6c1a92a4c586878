import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import ball_ct
from volforge.errors import ScanError
from volforge.volume.intensity import canonical_values, outside_value, values_in


def test_integers_within_int16_stay_identical():
    for dtype in (np.int16, np.int32, np.float64, np.float32, np.uint16):
        values = (ball_ct().astype(np.int32) + (1024 if dtype == np.uint16 else 0)).astype(dtype)
        unit = "hu+1024" if dtype == np.uint16 else "hu"
        result = canonical_values(values, unit)
        assert result.array.dtype == np.int16
        assert np.array_equal(result.array, ball_ct())
        assert result.flags == []


@given(hnp.arrays(np.float64, (6, 6, 6), elements=st.floats(-1024, 3000)))
def test_fractional_hu_are_within_half_a_unit_and_flagged(noise):
    values = ball_ct((12, 12, 12), 4).astype(float)
    values[:6, :6, :6] += noise / 100
    result = canonical_values(values, "hu")
    assert np.abs(result.array - values).max() <= 0.5
    assert ("hu_rounded" in result.flags) == (not np.array_equal(np.rint(values), values))


def test_shifted_ct_names_the_unit_column_and_the_shift():
    with pytest.raises(ScanError, match=r"no air near -1000 HU.*look like HU \+ 1024") as error:
        canonical_values(ball_ct() + 1024, "hu")
    assert "`unit` column" in error.value.remedy


def test_scaled_ct_is_refused_and_arbitrary_accepted():
    with pytest.raises(ScanError, match="no air near"):
        canonical_values(((ball_ct().astype(float) + 1000) / 4).astype(np.uint8), "hu")
    assert canonical_values(((ball_ct().astype(float) + 1000) / 4).astype(np.uint8), "arbitrary").flags == []


def test_ct_inside_the_body_and_padded_ct_are_not_mistaken():
    inside = np.random.default_rng(0).normal(40, 30, (20, 20, 20)).astype(np.int16)
    assert canonical_values(inside, "hu").flags == ["air_not_in_view"]
    padded = ball_ct()
    padded[0] = -3024
    assert canonical_values(padded, "hu").flags == []


def test_values_that_cannot_be_hu_are_refused():
    for values in (ball_ct().astype(float) * 100, np.full((4, 4, 4), 1e20)):
        with pytest.raises(ScanError, match="no Hounsfield units"):
            canonical_values(values, "hu")


def test_nan_and_infinity_are_refused_with_their_place():
    values = ball_ct().astype(float)
    values[1, 2, 3] = np.nan
    values[4, 4, 4] = np.inf
    with pytest.raises(ScanError, match=r"2 values are NaN or infinite, the first at voxel \(1, 2, 3\)"):
        canonical_values(values, "arbitrary")


def test_scaled_mr_keeps_its_fractions():
    values = np.linspace(0, 1, 27).reshape(3, 3, 3)
    result = canonical_values(values, "arbitrary")
    assert result.array.dtype == np.float32
    assert np.allclose(result.array, values)


def test_air_outside():
    assert outside_value("hu", ball_ct()) == -1024
    assert outside_value("arbitrary", np.array([3.0, 9.0])) == 0
    assert outside_value("arbitrary", np.array([-3.0, 9.0])) == -3


def noisy_ct(air=-1000, tissue=40, seed=0):
    """A trunk of muscle, fat and bone in air, with noise."""
    rng = np.random.default_rng(seed)
    x, y, z = np.indices((60, 60, 40)) - np.array((29.5, 29.5, 19.5))[:, None, None, None]
    radius = np.hypot(x, y)
    values = np.full(radius.shape, float(air))
    values[radius < 24] = -100
    values[radius < 21] = tissue
    values[np.hypot(x, y + 9) < 4] = 500
    return np.rint(values + rng.normal(0, 14, radius.shape) + 0 * z).astype(np.int32)


def unit_in(error):
    return re.search(r"`(hu[^`]*)`", error.remedy).group(1)


@pytest.mark.parametrize("offset", [1000, 1024, 1010, 2000, 8192, 32768])
@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_hint_names_the_number_that_was_added(offset, kind):
    true = noisy_ct()
    with pytest.raises(ScanError, match=rf"air lies at about .* look like HU \+ {offset}\n") as error:
        canonical_values((true + offset).astype(kind), "hu")
    assert unit_in(error.value) == f"hu+{offset}"
    assert np.array_equal(canonical_values((true + offset).astype(kind), unit_in(error.value)).array, true)


@pytest.mark.parametrize(("offset", "wrong"), [(1000, 1024), (1024, 1000), (1000, 8192), (8192, 1024)])
def test_another_number_than_the_one_added_is_refused(offset, wrong):
    with pytest.raises(ScanError, match=rf"look like HU \+ {offset}\n") as error:
        canonical_values(noisy_ct() + offset, f"hu+{wrong}")
    assert unit_in(error.value) == f"hu+{offset}"


def test_air_that_is_cut_off_at_zero_is_judged_by_soft_tissue():
    """Unsigned values cut the lower half of the noise off; a background of one value leaves nothing to measure."""
    cut = np.maximum(noisy_ct() + 1000, 0).astype(np.uint16)
    with pytest.raises(ScanError) as error:
        canonical_values(cut, "hu")
    assert unit_in(error.value) == "hu+1000"
    assert canonical_values(cut, "hu+1000").flags == []
    with pytest.raises(ScanError, match=r"only soft tissue tells HU [+] 1000 from HU [+] 1024: hu[+]1000 puts"):
        canonical_values(cut, "hu+1024")
    saturated = np.where(noisy_ct() < -900, 0, noisy_ct(tissue=32) + 1024).astype(np.uint16)  # both are possible
    with pytest.raises(ScanError, match=r"hu[+]1000 puts soft tissue at 5\d HU, hu[+]1024 puts soft tissue at 3\d HU"):
        canonical_values(saturated, "hu")
    assert canonical_values(saturated, "hu+1024").flags == []
    assert canonical_values(saturated, "hu+1000").flags == []
    assert canonical_values(np.where(saturated > 0, saturated + 40, 0), "hu+1000").flags == ["hu_offset_uncertain"]


def test_hu_with_an_intercept_that_is_off_are_flagged():
    assert canonical_values(noisy_ct() - 24, "hu").flags == ["air_off_minus_1000"]
    assert canonical_values(noisy_ct() - 8, "hu").flags == []
    clipped = np.maximum(noisy_ct(air=-1020), -1024)
    assert canonical_values(clipped, "hu").flags == []


def test_hu_taken_for_shifted_ones_and_shifted_twice_are_refused():
    with pytest.raises(ScanError, match="below -1100 HU"):
        canonical_values(noisy_ct(), "hu+1000")
    with pytest.raises(ScanError, match="below -1100 HU"):
        canonical_values(noisy_ct() - 1000, "hu")


@pytest.mark.parametrize("orders", ["CC", "FF", "CF", "FC"])
def test_values_in_a_mask_are_the_same_in_every_order_of_memory(orders):
    rng = np.random.default_rng(0)
    image = np.asarray(rng.integers(-1000, 1000, (7, 6, 5)), np.int16, order=orders[0])
    mask = np.asarray(rng.random((7, 6, 5)) > 0.5, order=orders[1])
    np.testing.assert_array_equal(np.sort(values_in(image, mask)), np.sort(image[mask]))
