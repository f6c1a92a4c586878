"""Structural similarity against scikit-image, MONAI and a plain implementation of what SynthRAD2025 computes."""

import math

import numpy as np
import pytest
from scipy import ndimage, signal
from skimage.metrics import structural_similarity

from tests.metrics.images import blob, image_pair
from volforge.metrics import ssim as module
from volforge.metrics.ssim import SCALES, gaussian_window, ms_ssim, ms_ssim_synthrad2025, ssim, uniform_window

SHAPE = (21, 18, 16)


def everywhere(shape):
    return np.ones(shape, bool)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("data_range", [1.0, 4024.0])
def test_uniform_window_equals_scikit_image_in_a_mask(seed, data_range):
    x, y = (data_range * v for v in image_pair(seed, SHAPE))
    mask = blob(seed, SHAPE)
    _, whole = structural_similarity(x, y, data_range=data_range, full=True)
    core = (slice(3, -3),) * 3
    value, n = ssim(x, y, mask, data_range, uniform_window())
    assert value == pytest.approx(whole[core][mask[core]].mean(), abs=1e-9)
    assert n == mask[core].sum()
    value, _ = ssim(x, y, everywhere(SHAPE), data_range, uniform_window())
    assert value == pytest.approx(structural_similarity(x, y, data_range=data_range), abs=1e-9)


@pytest.mark.parametrize("size", [3, 5, 9])
@pytest.mark.parametrize("sample_covariance", [True, False])
def test_other_window_sizes_and_both_covariances_equal_scikit_image(size, sample_covariance):
    x, y = image_pair(7, SHAPE)
    expected = structural_similarity(x, y, data_range=1, win_size=size, use_sample_covariance=sample_covariance)
    window = uniform_window(size, sample_covariance=sample_covariance)
    assert ssim(x, y, everywhere(SHAPE), 1, window)[0] == pytest.approx(expected, abs=1e-9)


def test_gaussian_window_in_the_plane_equals_scikit_image_slice_by_slice():
    x, y = image_pair(1, SHAPE)
    mask = blob(1, SHAPE)
    core = (slice(5, -5),) * 2
    values = []
    for k in range(SHAPE[2]):
        _, whole = structural_similarity(
            x[:, :, k],
            y[:, :, k],
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        values.append(whole[core][mask[:, :, k][core]])
    value, n = ssim(x, y, mask, 1, gaussian_window())
    assert value == pytest.approx(np.concatenate(values).mean(), abs=1e-9)
    assert n == sum(map(len, values))


@pytest.mark.parametrize("window", [uniform_window(), gaussian_window(), uniform_window(5, axes=(0, 2))])
def test_slabs_equal_the_whole(monkeypatch, window):
    x, y = image_pair(2, (30, 26, 40))
    mask = blob(2, x.shape)
    whole = ssim(x, y, mask, 1, window), ms_ssim(x, y, mask, 1, window)
    plane = np.prod(x.shape[:2])
    for values in (1, 3 * plane, 7 * plane + 1):
        monkeypatch.setattr(module, "SLAB_VALUES", values)
        value, n = ssim(x, y, mask, 1, window)
        assert value == pytest.approx(whole[0][0], abs=1e-12)
        assert n == whole[0][1]
    assert ms_ssim(x, y, mask, 1, window) == pytest.approx(whole[1], abs=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_at_the_border_hold_no_window(axis):
    x, y = image_pair(3, SHAPE)
    mask = np.zeros(SHAPE, bool)
    np.moveaxis(mask, axis, 0)[:3] = True
    np.moveaxis(mask, axis, 0)[-3:] = True
    value, n = ssim(x, y, mask, 1, uniform_window())
    assert (math.isnan(value), n) == (True, 0)
    np.moveaxis(mask, axis, 0)[3] = True
    rest = np.delete(SHAPE, axis)
    assert ssim(x, y, mask, 1, uniform_window())[1] == np.prod(rest - 6)


@pytest.mark.parametrize("shape", [(6, 20, 20), (20, 6, 20), (20, 20, 1), (2, 2, 2)])
def test_volumes_thinner_than_the_window_have_no_ssim_and_still_a_multiscale_one(shape):
    x, y = np.random.default_rng(0).random((2, *shape))
    value, n = ssim(x, y, everywhere(shape), 1, uniform_window())
    assert (math.isnan(value), n) == (True, 0)
    for multiscale in (
        ms_ssim(x, y, everywhere(shape), 1, uniform_window()),
        ms_ssim_synthrad2025(x, y, everywhere(shape), 1),
    ):
        assert 0 <= multiscale < 1


def test_only_what_windows_at_masked_voxels_reach_counts():
    x, y = image_pair(4, SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[8:12, 8:11, 7:9] = True
    before = ssim(x, y, mask, 1, uniform_window())
    reach = ndimage.binary_dilation(mask, np.ones((7, 7, 7)))
    other = np.where(reach, x, 99.0)
    assert ssim(other, y, mask, 1, uniform_window())[0] == pytest.approx(before[0], abs=1e-9)
    assert ssim(np.where(mask, 99.0, x), y, mask, 1, uniform_window())[0] < before[0]


@pytest.mark.parametrize("measure", [ms_ssim_synthrad2025, lambda *a: ms_ssim(*a, uniform_window())])
def test_multiscale_is_one_for_equal_images_and_falls_with_noise(measure):
    _, y = image_pair(5, (40, 40, 40))
    mask = blob(5, y.shape)
    noise = np.random.default_rng(5).standard_normal(y.shape)
    values = [measure(y + a * noise, y, mask, 1) for a in (0, 0.02, 0.1, 0.5)]
    assert values[0] == pytest.approx(1, abs=1e-12)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4
    assert math.isnan(measure(y, y, np.zeros(y.shape, bool), 1))


@pytest.mark.parametrize("shape", [(60, 60, 112), (60, 58, 60)])
def test_short_axes_are_lengthened_on_both_sides_by_their_edges_the_mask_too(shape):
    x, y = image_pair(6, shape)
    mask = blob(6, shape)
    for measure, least in ((lambda *a: ms_ssim(*a, uniform_window()), 112), (ms_ssim_synthrad2025, 97)):
        missing = [max(0, least - n) for n in shape]
        pad = [(m // 2, m - m // 2) for m in missing]
        by_hand = (np.pad(v, pad, mode="edge") for v in (x, y, mask))
        assert measure(x, y, mask, 1) == pytest.approx(measure(*by_hand, 1), abs=1e-12)


def synthrad2025(x, y, mask, data_range):
    """What the evaluation of SynthRAD2025 is described to compute, on whole arrays and term by term."""
    pad = [((97 - n) // 2, 97 - n - (97 - n) // 2) if n < 97 else (0, 0) for n in x.shape]
    x, y, mask = (np.pad(v, pad, mode="edge") for v in (x, y, mask))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    result = 1.0
    for weight in SCALES:
        mx, my, mxx, myy, mxy = (ndimage.uniform_filter(v, 7) for v in (x, y, x * x, y * y, x * y))
        vx, vy, vxy = (343 / 342 * v for v in (mxx - mx * mx, myy - my * my, mxy - mx * my))
        deviations = np.sqrt(np.maximum(vx, 0)) * np.sqrt(np.maximum(vy, 0))
        luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
        contrast = (2 * deviations + c2) / (vx + vy + c2)
        structure = (vxy + c2 / 2) / (deviations + c2 / 2)
        terms = [np.maximum(t, 0) ** weight for t in (luminance, contrast, structure)]
        core = (slice(3, -3),) * 3
        result *= np.clip(np.prod(terms, axis=0)[core][mask[core]].mean(), 0, 1)
        x, y = (signal.fftconvolve(v, np.ones((2, 2, 2)) / 8, mode="same")[::2, ::2, ::2] for v in (x, y))
        mask = mask[::2, ::2, ::2]
    return result


@pytest.mark.parametrize("shape", [(97, 97, 97), (40, 31, 20), (98, 110, 30), (101, 20, 99)])
@pytest.mark.parametrize("noise", [0.02, 0.4])
def test_synthrad2025_equals_a_plain_implementation(shape, noise):
    x, y = (4095 * np.clip(v, 0, 1) for v in image_pair(8, shape, noise))
    for mask in (blob(8, shape), everywhere(shape)):
        found = ms_ssim_synthrad2025(x, y, mask, 4095)
        assert found == pytest.approx(synthrad2025(x, y, mask, 4095), abs=1e-9)
        assert 0 < found < 1


def test_synthrad2025_is_not_the_textbook():
    """Named difference: luminance at every scale, and the power taken before the mean."""
    x, y = image_pair(9, (97, 97, 97), 0.3)
    mask = everywhere(x.shape)
    assert abs(ms_ssim_synthrad2025(x, y, mask, 1) - ms_ssim(x, y, mask, 1, uniform_window())) > 1e-3


@pytest.mark.parametrize(("shape", "axes"), [((112, 113, 127), (0, 1, 2)), ((120, 115, 3), (0, 1))])
@pytest.mark.parametrize(("level", "allowed"), [(0.0, 2e-6), (0.5, 2e-4)])
def test_textbook_equals_monai(shape, axes, level, allowed):
    """MONAI takes population covariance. It computes in single precision: means far from 0 cost it digits.

    It has windows in the plane for planes only: those come out one by one, ours are one volume of them.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
    regression = pytest.importorskip("monai.metrics.regression", reason="MONAI is not installed (extra `train`)")
    torch.set_num_threads(1)
    x, y = (v - v.mean() + level for v in image_pair(10, shape, 0.2))
    window = uniform_window(axes=axes, sample_covariance=False)
    count = len(axes)
    stacks = (x, y) if count == 3 else (np.moveaxis(v, 2, 0) for v in (x, y))
    a, b = (torch.from_numpy(np.ascontiguousarray(v)).reshape(-1, 1, *v.shape[-count:]) for v in stacks)
    how = {"spatial_dims": count, "kernel_type": "uniform", "kernel_size": (7,) * count, "kernel_sigma": (1.5,) * count}
    single, _ = regression.compute_ssim_and_cs(a, b, **how)
    assert ssim(x, y, everywhere(shape), 1, window)[0] == pytest.approx(float(single.mean()), abs=allowed)
    several = regression.compute_ms_ssim(a, b, **how)
    if count == 3:
        assert ms_ssim(x, y, everywhere(shape), 1, window) == pytest.approx(float(several), abs=allowed)
    else:
        for k, value in enumerate(several.flatten()):
            one = (v[:, :, k : k + 1] for v in (x, y))
            found = ms_ssim(*one, everywhere((*shape[:2], 1)), 1, window)
            assert found == pytest.approx(float(value), abs=allowed)


def test_gaussian_window_equals_monai():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
    regression = pytest.importorskip("monai.metrics.regression", reason="MONAI is not installed (extra `train`)")
    x, y = (v - v.mean() for v in image_pair(11, (40, 30, 4)))
    a, b = (torch.from_numpy(np.moveaxis(v, 2, 0)[:, None].copy()) for v in (x, y))
    value, _ = regression.compute_ssim_and_cs(a, b, spatial_dims=2, kernel_size=(11, 11), kernel_sigma=(1.5, 1.5))
    assert ssim(x, y, everywhere(x.shape), 1, gaussian_window())[0] == pytest.approx(float(value.mean()), abs=2e-6)


def test_windows_sum_to_one_and_know_their_reach():
    assert sum(gaussian_window().weights) == pytest.approx(1)
    assert sum(uniform_window().weights) == pytest.approx(1)
    assert (gaussian_window().radius, uniform_window().radius) == (5, 3)
    assert sum(SCALES) == pytest.approx(1, abs=1e-4)
