"""Errors by tissue, dense bone, and the inside of a skull, by hand."""

import numpy as np
import pytest

from volforge.metrics.image import measure_image
from volforge.tasks.translation.tissues import (
    dense_bone_dice,
    inside_of_skull,
    intracranial_air,
    tissue_measures,
)

SPACING = (2.0, 2.0, 2.0)


def head(shape=(60, 60, 12), brain=40.0):
    """A skull of 80 to 90 mm about a brain, the same in every axial slice; HU and distance from the axis in mm."""
    x, y = np.meshgrid(*(2.0 * (np.arange(n) - (n - 1) / 2) for n in shape[:2]), indexing="ij")
    r = np.broadcast_to(np.hypot(x, y)[:, :, None], shape)
    hu = np.full(shape, -1000.0)
    hu[r < 50] = 20
    hu[(r >= 40) & (r < 45)] = 900
    hu[r < 40] = brain
    return hu, r


def by_name(found):
    return {(m.structure, m.measure): m for m in found}


def test_bias_is_signed_and_by_tissue():
    hu, r = head()
    body = r < 50
    made = hu + np.where(hu > 150, -200.0, np.where(hu > -200, 30.0, 0.0))
    found = by_name(tissue_measures(made, hu, body, SPACING))
    assert found["bone", "bias_hu"].value == pytest.approx(-200)
    assert found["bone_200", "bias_hu"].value == pytest.approx(-200)
    assert found["bone_200", "mae_hu"].value == pytest.approx(200)
    assert found["soft", "bias_hu"].value == pytest.approx(30)
    shares = np.mean(hu[body] > 150)
    assert found["body", "bias_hu"].value == pytest.approx(-200 * shares + 30 * (1 - shares))
    assert {found[t, m].status for t in ("fat", "inner_air") for m in ("bias_hu", "mae_hu")} == {"absent"}


def test_bias_is_at_most_the_error_of_the_same_tissue():
    generator = np.random.default_rng(0)
    hu = generator.uniform(-1000, 1500, (12, 12, 12))
    made = hu + generator.normal(20, 100, hu.shape)
    body = np.ones(hu.shape, bool)
    errors = {m.structure: m.value for m in measure_image(made, hu, body) if m.measure == "mae_hu"}
    found = tissue_measures(made, hu, body, SPACING)
    errors |= {m.structure: m.value for m in found if m.measure == "mae_hu"}
    biases = {m.structure: m.value for m in found if m.measure == "bias_hu"}
    assert set(errors) == set(biases)
    assert all(abs(biases[t]) <= errors[t] for t in biases)


def test_inner_air_lies_away_from_the_outline():
    hu, r = head()
    body = r < 50
    hu = np.where(r < 10, -800.0, hu)
    hu[(r > 47) & (r < 50)] = -500  # partial volume of the skin
    found = by_name(tissue_measures(np.where(r < 10, -700.0, hu), hu, body, SPACING))
    assert found["inner_air", "bias_hu"].value == pytest.approx(100)
    assert found["inner_air", "bias_hu"].n == np.count_nonzero(r < 10)


def test_dense_bone():
    hu, r = head()
    assert dense_bone_dice(hu, hu, r < 50).value == 1
    assert dense_bone_dice(np.where(hu > 250, 200.0, hu), hu, r < 50).status == "empty_prediction"
    half = np.where(np.arange(60)[:, None, None] < 30, hu, 0.0)
    assert dense_bone_dice(half, hu, r < 50).value == pytest.approx(2 / 3)
    soft = np.where(hu > 250, 50.0, hu)
    assert dense_bone_dice(soft, soft, r < 50).status == "absent"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_inside_of_a_skull_of_one_slice_lies_in_its_plane(axis):
    hu, r = head()
    flat, near = (np.moveaxis(v[:, :, :1], 2, axis) for v in (hu, r))
    np.testing.assert_array_equal(inside_of_skull(flat, SPACING), near < 40)


def test_holes_in_the_skull_are_closed_and_what_is_air_in_the_truth_is_left_out():
    hu, r = head()
    gap = hu.copy()
    gap[:, 28:32][hu[:, 28:32] == 900] = 20  # 8 mm
    inside = inside_of_skull(gap, SPACING)
    assert inside[r < 38].all()
    assert not inside[r >= 45].any()
    sinus = np.where(r < 8, -900.0, hu)
    np.testing.assert_array_equal(inside_of_skull(sinus, SPACING), (r < 40) & (r >= 8))


def test_a_chest_and_a_spinal_canal_are_no_skull():
    lungs, _ = head(brain=-800)
    assert not inside_of_skull(lungs, SPACING).any()
    canal = np.full((40, 40, 6), 40.0)
    canal[10:20, 10:20] = 900
    canal[13:17, 13:17] = 30
    assert not inside_of_skull(canal, SPACING).any()
    assert intracranial_air(canal, canal, SPACING).status == "absent"


def test_share_of_air_where_the_brain_is():
    hu, r = head()
    made = hu.copy()
    made[(r < 40) & (np.arange(12) < 3)] = -600
    made[r > 50] = -1000
    found = intracranial_air(made, hu, SPACING)
    assert found.value == pytest.approx(0.25)
    assert found.n == np.count_nonzero(r < 40)
    assert intracranial_air(hu, hu, SPACING).value == 0
