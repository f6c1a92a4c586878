"""No air is enclosed after the body mask; lungs stay in wherever the field of view or thick slices open them."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from volforge.cohort.phantoms import body as phantom
from volforge.cohort.phantoms.fields import capsule, ellipsoid, oblique_grid, world_points
from volforge.volume.body_mask import find_body
from volforge.volume.cavities import fill_cavities
from volforge.volume.geometry import reorientation_of
from volforge.volume.morphology import enclosed


def air_enclosed(mask):
    """Air that no path joins to the outside once each face that cuts the body is filled as a picture is."""
    closed = mask.copy()
    for axis in range(3):
        for index in (0, -1):
            plane = np.moveaxis(closed, axis, 0)[index]
            if plane.any():
                plane |= enclosed(plane[:, :, None], ((True, True), (True, True), (False, False)))[:, :, 0]
    return enclosed(closed)


def with_noise_of_mr(signal, deviation=8.0):
    rng = np.random.default_rng(0)
    real = signal + rng.normal(0, deviation, signal.shape)
    return np.sqrt(real**2 + rng.normal(0, deviation, signal.shape) ** 2).astype(np.float32)


def lost_and_added(image, body, mm, hounsfield=False):
    """Shares of the true body."""
    mask = find_body(image, mm, hounsfield).mask
    return (body & ~mask).sum() / body.sum(), (mask & ~body).sum() / body.sum()


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(bool, st.tuples(*[st.integers(2, 9)] * 3), elements=st.booleans()),
    st.tuples(*[st.sampled_from([0.5, 2.0, 4.0, 9.0])] * 3),
)
def test_no_air_is_enclosed(mask, mm):
    filled = fill_cavities(mask, mm)
    assert filled[mask].all()
    assert not air_enclosed(filled).any()


def test_rims_of_a_lung_that_a_face_cuts_are_body():
    """Fine voxels, so that cavities are found on a coarser grid and leave rims; the face is closed last."""
    grid = oblique_grid((130, 110, 40), (0.9, 0.9, 2.5), (0, 0, 0), (8, 0, 0))
    p = world_points(grid)
    trunk = np.sqrt((p[0] / 52) ** 2 + (p[1] / 42) ** 2) < 1
    lung = np.abs(ellipsoid(p, (20, 0, 45), (16, 26, 60)) + 2 * np.sin(p[0]) * np.sin(p[1] / 1.3)) < 12
    gas = capsule(p, (-22, 0, -80), (-22, 5, 80), 3.0, 3.0) < 0
    image = np.where(trunk & ~lung & ~gas, 40, -1000).astype(np.int16)
    mask = find_body(image, grid.spacing_mm, True).mask
    assert not air_enclosed(mask).any()
    assert (mask & gas & trunk).sum() == (gas & trunk).sum()


def chest(axis, thick_mm, tilt, wall_mm):
    """Lungs behind a wall that may be thinner than the slices, in MR; slices lie along `axis`, tilted."""
    shape, spacing = [120, 120, 120], [3.0, 3.0, 3.0]
    shape[axis], spacing[axis] = round(300 / thick_mm), thick_mm
    grid = oblique_grid(tuple(shape), tuple(spacing), (0, 0, 60), tilt)
    p = world_points(grid)
    body = ellipsoid(p, (0, 0, 0), (150, 100, 200)) < 0
    lung = ellipsoid(p, (0, 0, 0), (150 - wall_mm, 100 - wall_mm, 200 - wall_mm)) < 0
    lung &= (np.abs(p[0]) > 25) & (p[2] > -40)
    return with_noise_of_mr(np.where(lung, 20.0, np.where(body, 300.0, 0.0))), body, grid.spacing_mm


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("thick_mm", "wall_mm", "tilt"), [(10.0, 8, (0, 0, 0)), (10.0, 8, (45, 0, 30)), (15.0, 12, (60, 0, 0))]
)
def test_lungs_stay_where_slices_are_thicker_than_the_chest_wall(axis, thick_mm, wall_mm, tilt):
    lost, added = lost_and_added(*chest(axis, thick_mm, tilt, wall_mm))
    assert lost < 0.005
    assert added < 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gap_between_arm_and_trunk_stays_out_in_thick_slices(axis):
    """Elbow out, hand on the hip: the gap is closed within coronal slices, and open before and behind."""
    shape, spacing = [150, 110, 110], [4.0, 4.0, 4.0]
    shape[axis], spacing[axis] = round(shape[axis] * 0.4), 10.0
    grid = oblique_grid(tuple(shape), tuple(spacing), (0, 0, 0), (0, 0, 0))
    p = world_points(grid)
    body = (np.sqrt((p[0] / 130) ** 2 + (p[1] / 90) ** 2) < 1) & (np.abs(p[2]) < 190)
    for side in (-1, 1):
        body |= capsule(p, (side * 150, 0, 150), (side * 230, 0, 10), 30, 30) < 0
        body |= capsule(p, (side * 230, 0, 10), (side * 125, 20, -90), 30, 30) < 0
    lost, added = lost_and_added(with_noise_of_mr(300.0 * body), body, grid.spacing_mm)
    assert lost < 0.005
    assert added < 0.005


@cache
def trunk():
    """Image and labels of the phantom trunk with arms in MR, 2 mm."""
    scan = phantom.draw(1, "a", "MR", True, 2.0)
    turn = reorientation_of(scan.grid.affine)
    return [turn.apply(scan.volumes[n]) for n in ("image", "labels")]


def phantom_mr(axis):
    """Slices of 2 mm, 10 mm apart along an axis, of the phantom trunk."""
    every = tuple(slice(2, None, 5) if a == axis else slice(None) for a in range(3))
    image, labels = (np.asfortranarray(v[every]) for v in trunk())
    return image, labels > 0, tuple(10.0 if a == axis else 2.0 for a in range(3))


FIELDS = {  # of view: what is left of left-right and of posterior-anterior, in slices or voxels of 2 mm
    "whole": (slice(None), slice(None)),
    "lungs cut at the sides and above": (slice(0.24, -0.24), slice(None)),
    "lungs cut behind and above": (slice(None), slice(0.31, None)),
}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("field", FIELDS)
def test_phantom_with_slices_10_mm_apart(axis, field):
    image, body, mm = phantom_mr(axis)
    assert body.sum() > 10_000
    box = tuple(
        slice(*(None if v is None else round(v * n) for v in (s.start, s.stop)))
        for s, n in zip(FIELDS[field], body.shape[:2], strict=True)
    )
    lost, added = lost_and_added(image[box], body[box], mm)
    assert lost < 0.01
    assert added < 0.01


def test_a_body_that_touches_all_faces_is_no_crop_inside_it():
    image, body, mm = phantom_mr(1)
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    view = slice(rows[0], rows[-1] + 1)
    found = find_body(image[:, view], mm, False)
    assert sum(f.startswith("body_cut") for f in found.flags) == 6
    assert abs(found.mask.sum() / body.sum() - 1) < 0.02
