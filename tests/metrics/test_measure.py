"""Units and directions follow from names, for every name that the measures give."""

import math

import numpy as np
import pytest

from volforge.metrics.image import ImageMetrics, measure_image
from volforge.metrics.legacy import legacy_hd_voxels, reconstruction_error_percent
from volforge.metrics.measure import FAILURES, Measure, better, nothing, unit_of
from volforge.metrics.segmentation import SegmentationMetrics

EXPECTED = {
    "dice": ("1", "higher"),
    "iou": ("1", "higher"),
    "sensitivity": ("1", "higher"),
    "precision": ("1", "higher"),
    "volume_error_percent": ("percent", "neither"),
    "volume_error_abs_percent": ("percent", "lower"),
    "hd_mm": ("mm", "lower"),
    "hd95_mm": ("mm", "lower"),
    "hd95_pooled_mm": ("mm", "lower"),
    "assd_mm": ("mm", "lower"),
    "hd_elements_mm": ("mm", "lower"),
    "hd95_elements_mm": ("mm", "lower"),
    "hd95_pooled_elements_mm": ("mm", "lower"),
    "assd_elements_mm": ("mm", "lower"),
    "nsd_1mm": ("1", "higher"),
    "nsd_0_5mm": ("1", "higher"),
    "nsd_elements_1mm": ("1", "higher"),
    "nsd_elements_0_5mm": ("1", "higher"),
    "boundary_dice_10mm": ("1", "higher"),
    "mae_hu": ("HU", "lower"),
    "rmse_hu": ("HU", "lower"),
    "mae": ("1", "lower"),
    "rmse": ("1", "lower"),
    "psnr_db": ("dB", "higher"),
    "ncc": ("1", "higher"),
    "ssim": ("1", "higher"),
    "ssim_2d": ("1", "higher"),
    "ms_ssim": ("1", "higher"),
    "ms_ssim_synthrad2025": ("1", "higher"),
    "bone_dice": ("1", "higher"),
    "outline_dice": ("1", "higher"),
    "outline_hd95_mm": ("mm", "lower"),
    "legacy_hd_voxels": ("voxel", "neither"),
    "legacy_reconstruction_error_percent": ("percent", "neither"),
    "legacy_cross_entropy_nats": ("nats", "neither"),
    "cross_entropy_nats": ("nats", "lower"),
    "legacy_ssim": ("1", "neither"),
    "negative_volume_mm3": ("mm3", "neither"),
    "joint_space_mm3": ("mm3", "neither"),
    "joint_space_min_mm": ("mm", "neither"),
    "contact_area_mm2": ("mm2", "neither"),
    "asymmetry_index_percent": ("percent", "neither"),
    "fid": ("1", "lower"),
    "kid": ("1", "lower"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_unit_and_direction(name):
    assert (unit_of(name), better(name)) == EXPECTED[name]
    assert Measure(name, 1.0).unit == EXPECTED[name][0]


def test_every_name_that_comes_out_is_in_the_table_above():
    names = set()
    for surface in ("voxels", "elements"):
        names |= set(SegmentationMetrics((1, 0.5), surface).names(boundary=True))
    image = np.random.default_rng(0).uniform(-1000, 1000, (8, 8, 8))
    for hu in (True, False):
        names |= {m.measure for m in measure_image(image, image, image > -2000, ImageMetrics(hu=hu))}
    mask = image > 0
    names |= {legacy_hd_voxels(mask, mask).measure, reconstruction_error_percent(mask, mask).measure}
    assert names <= set(EXPECTED)
    assert len(names) > 30


@pytest.mark.parametrize(
    "status", ["ok", "absent", "empty_prediction", "empty_reference", "undefined", "missing_prediction"]
)
def test_failures_are_what_a_model_is_to_blame_for(status):
    found = nothing("dice", status, "liver", 3)
    assert math.isnan(found.value)
    assert found.failed == (status in FAILURES) == (status not in ("ok", "absent", "undefined"))
    assert (found.structure, found.n, found.measure) == ("liver", 3, "dice")
