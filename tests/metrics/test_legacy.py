"""What published code computed, in closed form, and how each of these numbers misleads."""

import numpy as np
import pytest
from scipy import ndimage

from tests.metrics.masks import blobs, box
from volforge.metrics import legacy
from volforge.metrics.legacy import (
    legacy_hd_voxels,
    reconstruction_error_percent,
)

SHAPE = (20, 18, 16)


@pytest.mark.parametrize("offset", [(1, 0, 0), (3, 4, 0), (2, 3, 6)])
def test_distance_of_two_voxels_is_in_voxels(offset):
    one, other = box(SHAPE, (4, 5, 6), (1, 1, 1)), box(SHAPE, tuple(np.add((4, 5, 6), offset)), (1, 1, 1))
    found = legacy_hd_voxels(one, other, "jaw")
    assert found.value == pytest.approx(np.linalg.norm(offset), rel=1e-6)
    assert (found.structure, found.status, found.n, found.unit) == ("jaw", "ok", 1, "voxel")


@pytest.mark.parametrize("seed", range(4))
def test_distance_is_over_all_voxels_of_both_masks(seed):
    p, r = blobs(seed, SHAPE, 0.1), blobs(seed + 50, SHAPE, 0.05)
    directed = [ndimage.distance_transform_edt(~b)[a].max() for a, b in ((p, r), (r, p))]
    found = legacy_hd_voxels(p, r).value
    assert found == pytest.approx(max(directed), rel=1e-6)
    assert legacy_hd_voxels(r.astype(np.uint8), p).value == pytest.approx(found, rel=1e-6)
    assert legacy_hd_voxels(np.pad(p, 3), np.pad(r, 3)).value == pytest.approx(found, rel=1e-6)


def test_distance_rewards_an_empty_prediction():
    some, none = blobs(1, SHAPE), np.zeros(SHAPE, bool)
    for p, r in ((none, some), (some, none), (none, none), (some, some)):
        assert legacy_hd_voxels(p, r).value == 0
        assert legacy_hd_voxels(p, r).status == "ok"


def test_reconstruction_error_falls_with_every_slice_of_air():
    p, r = box((10, 10, 10), (2, 2, 2), (5, 5, 4)), box((10, 10, 10), (2, 2, 2), (5, 5, 5))
    found = reconstruction_error_percent(p, r)
    assert found.measure == "legacy_reconstruction_error_percent"
    assert found.value == pytest.approx(2.5)
    assert (found.n, found.unit) == (1000, "percent")
    more = [(0, 0), (0, 0), (0, 10)]
    assert reconstruction_error_percent(np.pad(p, more), np.pad(r, more).astype(np.uint8)).value == pytest.approx(1.25)
    assert reconstruction_error_percent(r, r).value == 0
    assert reconstruction_error_percent(~r, r).value == 100


def test_every_measure_says_that_it_is_legacy():
    some = blobs(3, SHAPE)
    assert all(
        m.measure.startswith("legacy_")
        for m in (legacy_hd_voxels(some, some), reconstruction_error_percent(some, some))
    )
    functions = {n for n in vars(legacy) if getattr(getattr(legacy, n), "__module__", "") == legacy.__name__}
    assert {n for n in functions if not n.startswith("legacy_")} == {"reconstruction_error_percent"}
