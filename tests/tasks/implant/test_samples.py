"""Samples of implants: what the network sees and what it should answer belong together, in every way of seeing."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.tasks.implant.made import NEEDS, PRESETS, ball, settings, skulls
from volforge import components
from volforge.study.cases import Cohort
from volforge.tasks.implant.distances import signed_distances
from volforge.tasks.implant.grids import Frame, cut
from volforge.tasks.implant.held import Skulls, Volume, held_skull, usable
from volforge.tasks.implant.samples import PatchSamples, WindowSamples, place_in, small_affine
from volforge.tasks.implant.train import samples_of
from volforge.tasks.implant.values import implant_dice, implant_of, probability

pytestmark = pytest.mark.xdist_group("implants")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return Cohort(skulls(tmp_path_factory.mktemp("skulls"), 3))


def seen_by(cohort, own, **more):
    held = [held_skull(own, cohort, r) for r in usable(cohort, cohort.rows, own.implant["defects"])]
    skulls_of = Skulls(held, own.implant["defects"], 0, ball)
    return samples_of(own, skulls_of, components.build("loss", own.loss), more.get("coarse"), more.get("boxes"))


class Coarse:
    """Stands for a loaded model."""

    settings = settings("our_coarse")


def test_volumes_are_kept_as_bits_or_halves():
    rng = np.random.default_rng(0)
    mask = rng.random((5, 6, 13)) > 0.5
    held = Volume.of(mask)
    assert held.values.nbytes == math.ceil(5 * 6 * 13 / 8)
    np.testing.assert_array_equal(held.whole(), mask)
    shares = rng.random((3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(Volume.of(shares).whole(), shares, atol=1e-3)


@pytest.mark.parametrize("name", ["ae_mse", "ae_mse_skull", "ae_patch", "our_coarse", "our_fine"])
def test_a_sample_is_the_same_whenever_it_is_asked_for(cohort, name):
    one, two = (seen_by(cohort, settings(name), coarse=Coarse) for _ in range(2))
    for index in (5, 0, 3):
        first, second = one.sample(index), two.sample(index)
        assert first.keys() == second.keys()
        for key, value in first.items():
            np.testing.assert_array_equal(value, second[key], err_msg=key)
    assert any(not np.array_equal(one.sample(0)["image"], one.sample(k)["image"]) for k in (1, 2, 3))


def test_the_target_is_what_is_missing_or_the_whole(cohort):
    direct, whole = (seen_by(cohort, settings(n)).sample(0) for n in ("ae_mse", "ae_mse_skull"))
    np.testing.assert_array_equal(direct["image"], whole["image"])
    bone = whole["image"][0] >= 0.5
    assert (whole["target"][0] >= bone).all()
    assert not (direct["target"][0] & bone).any()
    assert direct["target"].any()
    assert ((whole["target"] - direct["target"])[0] == 1).sum() == pytest.approx(bone.sum(), rel=0.05)


def test_drawn_defects_are_taken_from_complete_skulls(cohort):
    own = settings("ae_mse", implant={"defects": "on_line"})
    seen = seen_by(cohort, own)
    _, complete, implant = seen.skulls.pair(7)
    assert 0 < implant.sum() < complete.sum()
    assert (implant <= complete + 1e-6).all()
    numbers = {float(seen.skulls.pair(k)[2].sum()) for k in range(6)}
    assert len(numbers) == 6  # each sample has a defect of its own
    of_scan = seen.skulls.fixed(0)
    assert of_scan[0].implant is not None
    np.testing.assert_array_equal(of_scan[2], of_scan[0].implant.whole())  # validation looks at known defects
    both = seen_by(cohort, settings("ae_mse", implant={"defects": "both"}))
    of_sheet = {float(h.implant.whole().sum()) for h in both.skulls.skulls}
    kinds = [float(both.skulls.pair(k)[2].sum()) in of_sheet for k in range(24)]
    assert 4 < sum(kinds) < 20


def test_a_native_defect_is_drawn_on_the_scans_own_voxels(cohort):
    own = settings("our_fine")
    seen = seen_by(cohort, own, coarse=Coarse)
    held, complete, implant = seen.skulls.pair(2)
    assert complete.dtype == implant.dtype == bool
    assert not (implant & ~complete).any()
    drawn = ball(held.scan, held.whole.whole(), held.scan_grid, 0, 2)
    np.testing.assert_array_equal(implant, cut(drawn, held.frame.first, held.frame.shape))


def test_patches_of_a_skull_come_in_raster_order(cohort):
    seen = seen_by(cohort, settings("ae_patch"))
    assert isinstance(seen, PatchSamples)
    count = len(seen.starts)
    assert count > 1
    for number in (0, 3):
        held, complete, implant = seen.skulls.pair(number)
        for k, start in enumerate(seen.starts):
            sample = seen.sample(number * count + k)
            np.testing.assert_array_equal(sample["image"][0] > 0, cut(complete & ~implant, np.array(start), seen.size))
            np.testing.assert_array_equal(sample["target"][0] > 0, cut(implant, np.array(start), seen.size))


def test_flips_turn_image_and_target_together(cohort):
    plain, flipped = (seen_by(cohort, settings("ae_mse", training={"flip": f})) for f in ([], ["x"]))
    turned = 0
    for k in range(8):
        one, two = plain.sample(k), flipped.sample(k)
        if np.array_equal(one["image"], two["image"]):
            continue
        turned += 1
        np.testing.assert_allclose(one["image"][:, ::-1], two["image"], atol=1e-3)
        np.testing.assert_array_equal(one["target"][:, ::-1], two["target"])
    assert 0 < turned < 8


def test_an_augmented_cap_keeps_its_defect_and_its_distances_fit(cohort):
    own = settings("ae_boundary", training={"augmentation": "standard"})
    seen = seen_by(cohort, own)
    sample = seen.sample(1)
    held, complete, implant = seen.skulls.pair(1)
    assert not np.array_equal(sample["target"][0] > 0, implant >= 0.5)
    assert sample["target"].sum() == pytest.approx((implant >= 0.5).sum(), rel=0.5)
    wanted = signed_distances(sample["target"][0] > 0, held.grid.spacing_mm, units="voxels")
    np.testing.assert_array_equal(sample["distance"][0], wanted)


def test_a_small_affine_keeps_the_middle_but_for_its_shift():
    spacing, shape = (2.0, 1.0, 3.0), (20, 40, 10)
    for seed in range(5):
        matrix, offset = small_affine(np.random.default_rng(seed), shape, spacing, 1.0)
        middle = (np.array(shape) - 1) / 2
        assert (np.abs((matrix @ middle + offset - middle) * spacing) <= 9).all()
        in_mm = np.diag(spacing) @ matrix @ np.linalg.inv(np.diag(spacing))
        scale = np.cbrt(np.linalg.det(in_mm))
        assert 0.92 <= scale <= 1.08
        np.testing.assert_allclose(in_mm @ in_mm.T, scale**2 * np.eye(3), atol=1e-9)


def test_a_window_finds_its_place_in_the_coarse_answer():
    """What `grid_sample` reads there is what the frame's way back gives on the window's voxels."""
    rng = np.random.default_rng(0)
    frame, shape = Frame((-2.0, 1.5, 3.0), (2.5, 3.0, 2.0), (10, 9, 12)), (24, 30, 28)
    p = rng.random(frame.shape).astype(np.float32)
    start, size = np.array([3, 6, 5]), (12, 16, 14)
    wanted = cut(frame.back(p, shape), start, size)
    theta = torch.from_numpy(place_in(frame, start, size))[None]
    grid = functional.affine_grid(theta, [1, 1, *size], align_corners=False)
    found = functional.grid_sample(torch.from_numpy(p)[None, None], grid, align_corners=False)[0, 0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_windows_hold_the_implant_and_its_channels(cohort):
    own = settings("our_fine", training={"foreground": 1.0})
    seen = seen_by(cohort, own, coarse=Coarse)
    assert isinstance(seen, WindowSamples)
    hits = 0
    for k in range(6):
        sample = seen.sample(k)
        assert sample["image"].shape == (3, *own.patch)
        assert not sample["image"][1].any()  # the coarse model's channel is filled in by the step
        assert sample["whole"].shape == (1, *Coarse.settings.patch)
        hits += bool(sample["target"].any())
    assert hits == 6


def test_values_become_probabilities_about_their_threshold():
    values = torch.tensor([-1.0, -0.2, 0.0, 0.25, 0.5, 0.75, 1.0]).reshape(1, 1, -1, 1, 1)
    of_half = probability(values).flatten().tolist()
    assert of_half == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1])
    of_zero = probability(values, 0.0).flatten().tolist()
    assert of_zero == pytest.approx([0, 0.4, 0.5, 0.625, 0.75, 0.875, 1])
    logits = torch.tensor([[0.0, 1.0], [2.0, 1.0]]).T.reshape(2, 2, 1, 1, 1)
    assert torch.allclose(probability(logits), logits.softmax(1)[:, 1:])


def test_an_implant_is_what_is_probable_and_no_bone():
    p = np.array([[[0.6, 0.6, 0.5, 0.2]]], np.float32)
    found = implant_of(p, np.array([[[0.0, 0.7, 0.0, 0.0]]]))
    np.testing.assert_array_equal(found, [[[True, False, False, False]]])
    assert implant_dice(found, found) == 1
    assert implant_dice(found, ~found) == 0
    assert implant_dice(found & False, found & False) == 1


def test_presets_name_models_that_there_are():
    assert {n for n in NEEDS.values() if n} <= set(PRESETS)
