"""The body mask on phantoms with exact truth, and on drawn cases of what makes masks fail."""

import numpy as np
import pytest
from scipy import ndimage

from volforge.cohort.phantoms import body as phantom
from volforge.cohort.phantoms.fields import capsule, ellipsoid, oblique_grid, world_points
from volforge.volume.body_mask import find_body
from volforge.volume.geometry import reorientation_of
from volforge.volume.signal_threshold import otsu, signal_threshold

AIR, WATER = -1000, 40


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def drawn(modality, subject="s", spacing=None):
    scan = phantom.draw(1, subject, modality, True, spacing)
    turn = reorientation_of(scan.grid.affine)
    image, labels = (np.ascontiguousarray(turn.apply(scan.volumes[n])) for n in ("image", "labels"))
    return image, labels > 0, turn.canonical(scan.grid).spacing_mm


@pytest.mark.parametrize("subject", ["a", "b", "c"])
@pytest.mark.parametrize("spacing", [None, 2.5])
def test_ct_phantom_without_its_couch(subject, spacing):
    image, truth, mm = drawn("CT", subject, spacing)
    assert ((image > -400) & ~truth).sum() > 500  # the couch is there
    assert dice(find_body(image, mm, True).mask, truth) > 0.998


@pytest.mark.parametrize("subject", ["a", "b", "c"])
def test_mr_phantom_with_arms_and_bias(subject):
    image, truth, mm = drawn("MR", subject)
    assert dice(find_body(image, mm, False).mask, truth) > 0.985


def test_scale_of_mr_does_not_matter():
    image, _, mm = drawn("MR")
    one = find_body(image.astype(np.float32), mm, False).mask
    assert np.array_equal(one, find_body(image.astype(np.float32) * 0.01, mm, False).mask)


@pytest.fixture
def head():
    """A head of water with an ear, a nostril, a closed sinus and an oral cavity cut by the lower face."""
    grid = oblique_grid((110, 120, 100), (2.0, 2.0, 2.0), (0, 0, 0), (0, 0, 0))
    p = world_points(grid)
    skin = ellipsoid(p, (0, 0, -10), (72, 92, 130))
    ear = np.maximum(ellipsoid(p, (84, -10, 10), (3.0, 14, 26)), -1)
    ear = np.minimum(np.abs(ellipsoid(p, (78, -10, 10), (9, 16, 28))) - 1.6, 99)
    ear = np.where(p[0] > 70, ear, 99)
    nostril = capsule(p, (0, 60, -20), (0, 120, -20), 4.0, 4.0)
    sinus = ellipsoid(p, (0, 40, 20), (14, 10, 10))
    throat = capsule(p, (0, 0, -60), (0, 0, -140), 9.0, 9.0)
    image = np.full(grid.shape, AIR, np.int16)
    image[(skin < 0) | (ear < 0)] = WATER
    tissue = image > -400
    for hole in (nostril, sinus, throat):
        image[hole < 0] = AIR
    return image, tissue, (ear < 0) & (skin > 2), grid.spacing_mm


def test_ears_stay_and_cavities_are_filled(head):
    image, tissue, ear, mm = head
    assert ear.sum() > 100
    mask = find_body(image, mm, True).mask
    assert (mask & ear).sum() >= 0.95 * ear.sum()
    assert dice(mask, tissue) > 0.99
    deep = tissue & (image == AIR)
    assert (mask & deep).sum() > 0.9 * deep.sum()


def test_values_decide_between_an_ear_and_a_holder(head):
    """The same shape as the ear, but light as foam: a holder post."""
    image, tissue, ear, mm = head
    image = image.copy()
    image[ear] = -320
    mask = find_body(image, mm, True).mask
    assert (mask & ear).sum() < 0.35 * ear.sum()


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_board_under_the_head_is_cut_off(head, gap):
    image, tissue, _, mm = head
    image = image.copy()
    lowest = int(np.argwhere(tissue.any(axis=(0, 2))).min())
    image[10:100, lowest - gap - 8 : lowest - gap] = -60
    mask = find_body(image, mm, True).mask
    assert dice(mask, tissue) >= (0.98 if gap == 0 else 0.99)  # flush: the wedge beside the contact stays
    assert mask[:, : max(0, lowest - gap - 1)].sum() < (0.03 if gap == 0 else 0.001) * tissue.sum()


def test_cloth_is_cut_off(head):
    image, tissue, _, mm = head
    image = image.copy()
    distance = ndimage.distance_transform_edt(~tissue, sampling=mm)
    cloth = (distance > 5) & (distance < 7.9)
    image[cloth & (np.indices(image.shape)[1] > 60)] = -150
    assert dice(find_body(image, mm, True).mask, tissue) >= 0.99


def test_arm_beside_the_trunk_stays_and_a_couch_rail_does_not():
    grid = oblique_grid((120, 80, 40), (3.0, 3.0, 4.0), (0, 0, 0), (0, 0, 0))
    p = world_points(grid)
    trunk = ellipsoid(p, (-30, 0, 0), (100, 70, 400))
    arm = capsule(p, (120, 0, -200), (120, 0, 200), 28, 28)
    bone = capsule(p, (120, 0, -200), (120, 0, 200), 10, 10)
    rail = capsule(p, (165, -60, -200), (165, -60, 200), 9, 9)
    image = np.full(grid.shape, AIR, np.int16)
    image[trunk < 0], image[arm < 0], image[bone < 0], image[rail < 0] = WATER, WATER, 700, 900
    mask = find_body(image, grid.spacing_mm, True).mask
    assert mask[arm < -3].all()
    assert not mask[rail < 0].any()


def test_crop_inside_a_body_is_all_body():
    rng = np.random.default_rng(0)
    crop = ndimage.gaussian_filter(rng.normal(0, 1, (40, 50, 40)), 3)
    image = (300 + 900 * crop / crop.std() * 0.25).clip(20, 1500).astype(np.float32)
    found = find_body(image, (1.0, 1.0, 1.0), False)
    assert found.mask.all()
    assert "whole_grid_is_body" in found.flags


def test_cut_faces_are_named(head):
    image, _, _, mm = head
    assert find_body(image, mm, True).flags == ["body_cut_inferior", "body_cut_superior"]


def test_threshold_of_signal_lies_between_air_and_tissue():
    rng = np.random.default_rng(0)
    air, tissue = rng.rayleigh(8, 50_000), rng.normal(400, 60, 30_000)
    values = np.concatenate([air, tissue]).reshape(80, 100, 10)
    threshold = signal_threshold(values)
    assert threshold is not None
    assert (air > threshold).mean() < 0.01
    assert (tissue > threshold).mean() > 0.999
    assert signal_threshold(np.zeros((5, 5, 5))) is None


def test_the_threshold_lies_in_the_middle_of_an_empty_gap():
    values = np.r_[np.full(500, 1.0), np.full(500, 9.0)]
    assert otsu(values) == pytest.approx(5, abs=0.05)
    rng = np.random.default_rng(0)  # air that was shifted upwards is air still
    image = np.full((30, 30, 30), 8.0) + rng.integers(0, 9, (30, 30, 30))
    image[8:22, 8:22, 8:22] = rng.integers(308, 628, (14, 14, 14))
    found = signal_threshold(image)
    assert found is not None
    assert 16 < found < 308


def test_otsu_agrees_with_scikit_image():
    from skimage.filters import threshold_otsu

    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 5000), rng.normal(7, 2, 3000)])
    width = (values.max() - values.min()) / 256
    assert otsu(values) == pytest.approx(threshold_otsu(values, 256), abs=1.5 * width)
