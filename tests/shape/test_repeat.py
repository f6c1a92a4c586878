"""The same joint scanned again."""

import numpy as np
import pytest

from tests.shape.joints import UNDER_FOSSA_MM3, joint
from volforge.shape.joint import JointSettings, measure_joint
from volforge.shape.repeat import rescanned


def test_shifted_grids_show_the_same_joint():
    one = joint((0.5, 0.5, 0.8))
    masks = {"condyle": one.condyle, "barrier": one.barrier}
    values = []
    for found, grid in rescanned(masks, one.grid, 4, seed=1):
        assert not np.allclose(grid.affine, one.grid.affine)
        assert found["condyle"].sum() * grid.voxel_mm3 == pytest.approx(905, rel=0.03)
        settings = JointSettings(with_width=False)
        values.append(measure_joint(found["condyle"], found["barrier"], None, grid, settings).joint_space_mm3)
    assert len(values) == 4
    assert values == pytest.approx([UNDER_FOSSA_MM3] * 4, rel=0.06)


def test_seeds_decide_and_empty_masks_stay_empty():
    one = joint((0.8, 0.8, 0.8), kind="none")
    masks = {"condyle": one.condyle, "barrier": one.barrier}
    first, again, other = (next(rescanned(masks, one.grid, 1, seed=s)) for s in (3, 3, 4))
    assert np.array_equal(first[0]["condyle"], again[0]["condyle"])
    assert not np.allclose(first[1].affine, other[1].affine)
    assert not first[0]["barrier"].any()
