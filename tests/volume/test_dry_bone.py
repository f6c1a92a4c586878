"""Bone without flesh about it, and phantoms with inserts: kept, or it is said that bone or more than half is outside."""

import numpy as np
import pytest
from scipy import ndimage

from volforge.cohort.phantoms import skull
from volforge.cohort.phantoms.fields import oblique_grid, world_points
from volforge.volume.body_mask import find_body
from volforge.volume.geometry import reorientation_of


def ct(*parts):
    """HU of (mask, value) painted on air in turn, blurred a little and with noise."""
    image = np.full(parts[0][0].shape, -1000.0)
    for mask, value in parts:
        image[mask] = value
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    return np.rint(ndimage.gaussian_filter(image, 0.5) + noise).astype(np.int16)


def dry_skull():
    scan = skull.draw(1, "a", "burr_box", 2.0)
    turn = reorientation_of(scan.grid.affine)
    bone = turn.apply(scan.volumes["defective"]) > 0
    thin = bone & (ndimage.distance_transform_edt(bone) <= 2)  # a skull of 4 mm and less
    return np.asfortranarray(thin), turn.canonical(scan.grid).spacing_mm


@pytest.fixture
def lattice():
    grid = oblique_grid((110, 110, 60), (1.5, 1.5, 1.5), (0, 0, 0), (0, 0, 0))
    return world_points(grid), grid.spacing_mm


def test_dry_skull_is_kept_and_its_couch_is_not():
    bone, mm = dry_skull()
    rows = np.flatnonzero(bone.any(axis=(0, 2)))
    room = 12
    bone = np.pad(bone, ((0, 0), (room, 0), (0, 0)))
    couch = np.zeros_like(bone)
    couch[5:-5, rows[0] + room - 7 : rows[0] + room - 4] = True
    for image in (ct((bone, 1000)), ct((couch, 60), (bone, 1000))):
        mask = find_body(image, mm, True).mask
        assert (mask & bone).sum() > 0.98 * bone.sum()
        assert (mask & couch).sum() < 0.02 * couch.sum()


def rods(p):
    angles = np.arange(6) * np.pi / 3
    return np.any([np.hypot(p[0] - 50 * np.cos(a), p[1] - 50 * np.sin(a)) < 12 for a in angles], axis=0)


def test_inserts_of_bone_in_air_are_all_kept(lattice):
    p, mm = lattice
    found = find_body(ct((rods(p), 800)), mm, True)
    assert (found.mask & rods(p)).sum() > 0.98 * rods(p).sum()
    assert "thin_body" in found.flags
    assert "more_removed_than_kept" not in found.flags


def test_soft_inserts_in_air_are_flagged(lattice):
    p, mm = lattice
    assert "more_removed_than_kept" in find_body(ct((rods(p), 60)), mm, True).flags


def test_bone_beside_flesh_is_flagged_and_stays_outside(lattice):
    """A frame of metal about a head is no body, though it is as dense as bone; with a fifth of all bone it is said."""
    p, mm = lattice
    head = np.hypot(p[0], p[1]) < 45
    vault = head & (np.hypot(p[0], p[1]) > 40)
    for height, expected in ((4, False), (20, True)):
        frame = (np.abs(np.hypot(p[0], p[1]) - 68) < 3) & (np.abs(p[2]) < height)
        found = find_body(ct((head, 40), (vault, 900), (frame, 2000)), mm, True)
        assert (found.mask & frame).sum() < 0.01 * frame.sum()
        assert found.mask[head].mean() > 0.99
        assert ("bone_outside_body" in found.flags) == expected
