"""Attenuation and water-equivalent paths: closed forms of the curves, discs of water, and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volforge.errors import VolforgeError
from volforge.tasks.translation.attenuation import CURVES, linear_attenuation, stopping_power
from volforge.tasks.translation.paths import path_measures, ray_errors, ray_points, sampled

HU = st.floats(-1024, 3071)


def test_attenuation_of_vacuum_water_and_bone():
    found = linear_attenuation(np.array([-1000, 0, 46, 47, 1000, -1024]))
    np.testing.assert_allclose(found, [0, 0.096, 0.100416, 0.100497, 0.1491, 0], rtol=1e-9, atol=1e-15)
    assert linear_attenuation(np.array(1000), 80) == pytest.approx(0.1354)
    assert linear_attenuation(np.array(1000), 140) == pytest.approx(0.1536)
    with pytest.raises(VolforgeError, match="no attenuation curve for 100 kVp"):
        linear_attenuation(np.zeros(1), 100)


def test_stopping_power_of_air_water_and_bone():
    found = stopping_power(np.array([-1000.0, 0.0, 1500.0]))
    np.testing.assert_allclose(found, [0, 1, 1.74], atol=0.005)
    assert found[:2].tolist() == pytest.approx([0, 1], abs=1e-12)
    ratio = stopping_power(np.array([40.0, 3000.0])) / stopping_power(np.array([40.0, 3000.0]), photons=True)
    np.testing.assert_allclose(ratio, [1, 0.955])


@pytest.mark.parametrize("kvp", CURVES)
@given(HU, HU)
def test_denser_tissue_attenuates_more_and_stops_more(kvp, a, b):
    low, high = min(a, b), max(a, b)
    for curve in (linear_attenuation, stopping_power):
        assert curve(np.array(low), kvp) <= curve(np.array(high), kvp) + 2e-3  # the published lines do not quite meet


def disc(radius_mm, spacing, value=0.0, shape=(101, 81)):
    """A disc in air on pixels that are finely averaged, and where it lies."""
    fine = 9
    axes = [(np.arange(n * fine) + 0.5) / fine - 0.5 - (n - 1) / 2 for n in shape]  # pixel coordinates from the middle
    x, y = np.meshgrid(*(a * s for a, s in zip(axes, spacing, strict=True)), indexing="ij")
    inside = (np.hypot(x, y) < radius_mm).reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))
    return -1000 + (value + 1000) * inside, inside > 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.8, 1.3)])
def test_a_line_through_a_disc_of_water(spacing):
    """Its attenuation is 0.096 per cm times its diameter, its water-equivalent path the radius to the middle."""
    radius = 30.0
    hu, inside = disc(radius, spacing)
    points, step = ray_points(hu.shape, spacing, (50.0, 40.0))
    rays = sampled(hu, points)
    half = linear_attenuation(rays).sum(axis=1) * step / 10
    through = half[:18] + half[18:]
    np.testing.assert_allclose(through, 0.096 * 2 * radius / 10, rtol=0.005)
    np.testing.assert_allclose(stopping_power(rays).sum(axis=1) * step, radius, rtol=0.005)
    path, line = ray_errors(np.full(hu.shape, -1000.0), hu, inside, (50.0, 40.0), spacing)
    np.testing.assert_allclose(path, -radius, rtol=0.005)
    np.testing.assert_allclose(line, 100 * (math.exp(-0.096 * 6) - 1), rtol=0.005)


def test_a_disc_that_is_larger_is_seen_from_the_union_of_both():
    hu, _ = disc(20, (1.0, 1.0))
    larger, union = disc(25, (1.0, 1.0))
    path, _ = ray_errors(larger, hu, union, (50.0, 40.0), (1.0, 1.0))
    np.testing.assert_allclose(path, 5, atol=0.1)


def test_what_lies_outside_of_both_outlines_is_no_path():
    hu, inside = disc(20, (1.0, 1.0))
    couch = hu.copy()
    couch[:, 70:75] = 200
    for v in ray_errors(couch, hu, inside, (50.0, 40.0), (1.0, 1.0)):
        np.testing.assert_allclose(v, 0, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_measures_of_a_slice_are_those_of_its_own_plane(axis):
    """Water that becomes 1 % denser: a bias of the same share in every measure."""
    hu, inside = disc(30, (1.0, 1.0))
    made = np.where(inside, hu + 10 * (hu + 1000) / 1000, hu)
    stack = [np.expand_dims(v, axis) for v in (made, hu, inside, inside)]
    found = {m.measure: m for m in path_measures(*stack, (1.0, 1.0, 1.0), 120)}
    assert found["water_path_error_mm"].value == pytest.approx(0.3, rel=0.01)
    assert found["water_path_error_abs_mm"].value == pytest.approx(0.3, rel=0.01)
    assert found["attenuation_error_percent"].value == pytest.approx(100 * math.expm1(0.096 * 6 * 0.01), rel=0.01)
    assert {m.structure for m in found.values()} == {"body"}
    unknown = path_measures(*stack, (1.0, 1.0, 1.0))
    assert {m.structure for m in unknown} == {"kvp_unknown"}
    assert [m.value for m in unknown] == [m.value for m in found.values()]


def test_a_volume_counts_every_slice_that_shows_the_body():
    hu, inside = disc(20, (1.0, 1.0), shape=(61, 61))
    volume, body = (np.repeat(v[:, :, None], 4, axis=2) for v in (hu, inside))
    body[:, :, 3] = False
    made = volume.copy()
    made[:, :, 0] = np.where(inside, -1000, volume[:, :, 0])
    made[:, :, 3] = 3000
    found = {m.measure: m for m in path_measures(made, volume, body, body, (1.0, 1.0, 2.0), 120)}
    assert found["water_path_error_mm"].n == 3 * 36
    assert found["water_path_error_mm"].value == pytest.approx(-20 / 3, rel=0.01)
    assert found["water_path_error_p95_mm"].value == pytest.approx(20, rel=0.01)
    nothing = np.zeros_like(body)
    assert {m.status for m in path_measures(made, volume, nothing, nothing, (1.0, 1.0, 2.0), 120)} == {"absent"}
