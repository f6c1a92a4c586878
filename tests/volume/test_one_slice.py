"""Scans of one slice: the body is found as in a volume, and slices are cut at another pixel size."""

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import ndimage

from tests.conftest import save
from volforge.config.models import Recipe
from volforge.volume.body_mask import find_body
from volforge.volume.cut_scan import cut_scan
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.read import read_canonical
from volforge.volume.store import SliceStore

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # as the public slices are stored


def ellipse(shape, centre, semi):
    y, x = np.indices(shape)
    return ((y - centre[0]) / semi[0]) ** 2 + ((x - centre[1]) / semi[1]) ** 2 <= 1


def head(modality, seed=0):
    """A head of 150 x 190 mm with scalp, skull, brain, an airway and, in CT, a cradle 5 mm behind it."""
    shape, middle = (230, 250), (115, 125)
    rng = np.random.default_rng(seed)
    skin, bone, brain = (ellipse(shape, middle, (75 - d, 95 - d)) for d in (0, 6, 13))
    airway = ellipse(shape, (115, 60), (12, 9))
    values = np.zeros(shape)
    grey = {"CT": (-1000, 20, 900, 35), "MR": (0, 260, 25, 300)}[modality]
    for where, value in zip((np.ones(shape, bool), skin, bone, brain, airway), (*grey, grey[0]), strict=True):
        values[where] = value
    values = ndimage.gaussian_filter(values, 0.7)
    if modality == "CT":
        ring = ellipse(shape, middle, (84, 104)) & ~ellipse(shape, middle, (80, 100))
        ring[:, :170] = False
        values[ring] = -300
        return np.rint(values + rng.normal(0, 12, shape)).astype(np.int16), skin
    noisy = np.hypot(values + rng.normal(0, 6, shape), rng.normal(0, 6, shape))
    return np.rint(noisy).astype(np.int16), skin


def as_slice(array, axis):
    return np.expand_dims(array, axis)


@pytest.mark.parametrize("axis", AXES.values())
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_head_of_one_slice_is_found_whole_without_its_cradle(modality, axis):
    image, truth = head(modality)
    found = find_body(as_slice(image, axis), (1.0, 1.0, 1.0), modality == "CT")
    mask = found.mask.squeeze(axis)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.985
    away = ~ndimage.binary_dilation(truth, iterations=3)
    assert not (mask & away).any()
    assert mask[ellipse(image.shape, (115, 60), (11, 8))].all()  # the airway is enclosed
    assert not {"no_body_found", "thin_body", "whole_grid_is_body"} & set(found.flags)


@pytest.mark.parametrize("view", AXES)
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_slice_is_imported_and_cut_at_two_millimetres(tmp_path, view, modality):
    image, truth = head(modality)
    file = save(tmp_path / "s.nii.gz", as_slice(image, AXES[view]), AFFINE)
    request = ScanRequest("s", modality, "hu" if modality == "CT" else "arbitrary", {"image": file})
    assert import_scan(request, ImportSettings(), tmp_path / "scan", record_refusal=False)
    window = {"kind": "hu", "low": -1000, "high": 1800}
    recipe = {"kind": "slices", "axis": view, "spacing_mm": 2, "size": [128, 128], "ct_window": window}
    assert cut_scan(tmp_path / "scan", TypeAdapter(Recipe).validate_python(recipe), tmp_path / "cut")
    store = SliceStore(tmp_path / "cut")
    assert store["image"].shape == (1, 128, 128)
    body = np.asarray(store["body"][0]) > 0
    assert abs(body.sum() * 4 / truth.sum() - 1) < 0.03
    levels = store.normalised(0)
    assert levels.dtype == np.float32
    assert levels[~ndimage.binary_dilation(body, iterations=2)].max() == -1  # the rim is shared by both
    assert levels[ndimage.binary_erosion(body, iterations=2)].max() > 0.2
    whole, _ = read_canonical(tmp_path / "scan/image.nii.gz", labels=False)
    assert whole.shape[AXES[view]] == 1


def test_the_window_of_hounsfield_units_comes_back_exactly(tmp_path):
    image, _ = head("CT")
    file = save(tmp_path / "s.nii.gz", as_slice(image, 2), AFFINE)
    import_scan(
        ScanRequest("s", "CT", "hu", {"image": file}), ImportSettings(), tmp_path / "scan", record_refusal=False
    )
    window = {"kind": "hu", "low": -1000, "high": 1800}
    recipe = {"kind": "slices", "axis": "axial", "ct_window": window}
    cut_scan(tmp_path / "scan", TypeAdapter(Recipe).validate_python(recipe), tmp_path / "cut")
    store = SliceStore(tmp_path / "cut")
    stored = np.asarray(store["image"][:]).astype(np.int64)
    back = np.rint((store.normalised(slice(None)).astype(np.float64) + 1) * 1400 - 1000).astype(np.int64)
    assert np.array_equal(back, stored)
