import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.tasks.translation.painting.fields import Frame, smooth_field, step_up


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4), st.integers(8, 40), st.integers(8, 40), st.floats(2, 60), st.floats(0.5, 5), st.integers(0, 9)
)
def test_a_finer_grid_shows_the_same_field(slices, rows, columns, cell, pixel, seed):
    coarse = smooth_field(Frame((slices, rows, columns), pixel, 3.0), cell, np.random.default_rng(seed))
    fine = smooth_field(Frame((slices, 3 * rows, 3 * columns), pixel / 3, 3.0), cell, np.random.default_rng(seed))
    assert np.allclose(fine[:, 1::3, 1::3], coarse, atol=2e-3)


def test_an_extent_of_whole_cells_has_as_many_knots_however_it_was_rounded():
    step = 2.0000000000000004
    coarse = smooth_field(Frame((1, 8, 10), step, 3.0), step, np.random.default_rng(0))
    fine = smooth_field(Frame((1, 24, 30), step / 3, 3.0), step, np.random.default_rng(0))
    assert np.allclose(fine[:, 1::3, 1::3], coarse, atol=2e-3)


def test_variance_is_one_and_correlation_halves_at_a_cell():
    rng = np.random.default_rng(0)
    frame = Frame((1, 30, 40), 2.0, 2.0)
    fields = np.stack([smooth_field(frame, 16.0, rng)[0] for _ in range(1500)])
    assert fields.mean(0) == pytest.approx(np.zeros((30, 40)), abs=0.15)
    assert fields.var(0) == pytest.approx(np.ones((30, 40)), abs=0.2)
    assert (fields[:, :, 8:] * fields[:, :, :-8]).mean() == pytest.approx(0.5, abs=0.06)  # 8 pixels are one cell
    assert abs((fields[:, :, 32:] * fields[:, :, :-32]).mean()) < 0.05


def test_slices_near_each_other_are_alike():
    field = smooth_field(Frame((5, 40, 40), 2.0, 3.0), 12.0, np.random.default_rng(3))
    alike = [np.corrcoef(field[0].ravel(), field[k].ravel())[0, 1] for k in range(1, 5)]
    assert alike[0] > 0.9
    assert sorted(alike, reverse=True) == alike


def test_step_is_logistic():
    values = np.array([-1e6, -2.0, 0.0, 2.0, 1e6], np.float32)
    assert step_up(values, 2.0) == pytest.approx([0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1], abs=1e-6)
