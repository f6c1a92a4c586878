import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import ball_ct
from volforge.errors import ScanError
from volforge.volume.intensity import canonical_values, outside_value


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
