"""Condyle and barrier from a mandible and a skull: the posterior process, whatever is higher and however the head lies."""

import numpy as np
import pytest

from tests.shape.joints import turned
from volforge.errors import VolforgeError
from volforge.shape.derive import derive_barrier, derive_condyle, split_sides
from volforge.volume.geometry import Grid


def capsule(p, a, b, radius):
    a, b = np.array(a, float), np.array(b, float)
    axis = b - a
    t = np.clip(((p - a) @ axis) / (axis @ axis), 0, 1)
    return np.linalg.norm(p - a - t[..., None] * axis, axis=-1) < radius


def mandible(coronoid_top=4.0, pitch=0.0, spacing=(1.0, 1.0, 1.0), hollow=False, coronoid=True):
    """One side: condyle behind, centre at 0, coronoid 32 mm in front, ramus, body. Returns mask, grid, truth."""
    shape = tuple(int(e / s) for e, s in zip((40, 110, 90), spacing, strict=True))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-20, -30, -70)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    p = (index * np.array(spacing) + affine[:3, 3]) @ turned((pitch, 0, 0))
    head = ((p / np.array([9, 4.5, 5])) ** 2).sum(axis=-1) < 1
    neck = capsule(p, (0, -1, -3), (0, 0, -25), 4)
    ramus = capsule(p, (0, 2, -28), (0, 30, -28), 5) | capsule(p, (0, 5, -35), (0, 25, -35), 8)
    body = capsule(p, (0, 15, -45), (-6, 65, -50), 7)
    front = capsule(p, (-2, 32, coronoid_top - 3), (0, 28, -28), 3.5) if coronoid else np.zeros(shape, bool)
    whole = head | neck | ramus | body | front
    if hollow:
        marrow = ((p / np.array([7.5, 3, 3.5])) ** 2).sum(axis=-1) < 1
        whole &= ~marrow
    x, y, z = shape
    return whole, Grid((x, y, z), affine), head


@pytest.mark.parametrize("top", [-4.0, 0.0, 8.0])
@pytest.mark.parametrize("pitch", [-25.0, 0.0, 25.0])
def test_the_posterior_process_is_the_condyle(top, pitch):
    whole, grid, head = mandible(top, pitch)
    found = derive_condyle(whole, grid)
    assert np.count_nonzero(found.condyle & head) > 0.97 * np.count_nonzero(head)
    assert not (found.condyle & found.rest).any()
    assert ((found.condyle | found.rest) >= whole).all()
    if pitch == 0:  # the condyle's own top lies at 5 mm
        assert found.process.coronoid_higher == (top > 5)


def test_thick_slices_do_as_well():
    whole, grid, head = mandible(6.0, 10.0, spacing=(0.8, 0.8, 2.5))
    found = derive_condyle(whole, grid)
    assert np.count_nonzero(found.condyle & head) > 0.95 * np.count_nonzero(head)


def test_a_hollow_condyle_is_filled():
    whole, grid, head = mandible(hollow=True)
    assert np.count_nonzero(whole & head) < 0.7 * np.count_nonzero(head)
    found = derive_condyle(whole, grid)
    assert np.count_nonzero(found.condyle & head) > 0.97 * np.count_nonzero(head)


def test_without_two_processes_nothing_is_guessed():
    whole, grid, _ = mandible(coronoid=False)
    with pytest.raises(VolforgeError, match="sigmoid notch"):
        derive_condyle(whole, grid)
    with pytest.raises(VolforgeError, match="no mandible"):
        derive_condyle(np.zeros_like(whole), grid)


def test_a_whole_mandible_is_parted_at_its_middle():
    whole, grid, _ = mandible()
    both = np.concatenate([whole, whole[::-1]], axis=0)
    matrix = grid.affine.copy()
    matrix[0, 3] = -40
    x, y, z = both.shape
    sides = split_sides(both, Grid((x, y, z), matrix))
    assert np.array_equal(sides["left"][: whole.shape[0]], whole)  # RAS: the first axis grows to the right
    assert np.array_equal(sides["right"][whole.shape[0] :], whole[::-1])


def test_the_barrier_is_the_skull_about_the_joint_without_crumbs():
    whole, grid, head = mandible()
    skull = np.zeros_like(whole)
    skull[:, :, 80:84] = True  # 10 mm above
    skull[2, 100, 2] = True  # far away
    skull[20, 30, 78] = True  # a crumb
    condyle = derive_condyle(whole, grid).condyle
    barrier = derive_barrier(skull, condyle, grid, 34.0)
    assert barrier[20, 30, 81]
    assert not barrier[2, 100, 2]
    assert not barrier[20, 30, 78]
    assert not (barrier & condyle).any()
