"""Strata of implants by geometry alone."""

import numpy as np
import pytest

from tests.tasks.implant.skulls import shell
from volforge.errors import VolforgeError
from volforge.tasks.implant.strata import stratum_of


@pytest.mark.parametrize(
    ("direction", "radius", "stratum"),
    [
        ((0.5, 0.8, 0.4), 20.0, ("frontal", "small")),
        ((-0.4, -0.8, 0.2), 20.0, ("occipital", "small")),
        ((1.0, 0.0, 0.1), 34.0, ("temporal", "medium")),
        ((-0.7, -0.2, 0.6), 45.0, ("parietal", "large")),
        ((0.35, 0.0, 0.9), 22.0, ("vertex", "small")),
        ((0.0, 0.0, 1.0), 34.0, ("bilateral", "medium")),
        ((0.05, 1.0, 0.4), 47.0, ("bilateral", "large")),
    ],
)
@pytest.mark.parametrize("tilt", [(0.0, 0.0, 0.0), (19.0, 5.0, -9.0)])
def test_a_ball_on_a_shell(direction, radius, stratum, tilt):
    mask, affine = shell(tilt=tilt)
    at = 74.0 * np.array(direction) / np.linalg.norm(direction)
    points = np.moveaxis(np.indices(mask.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    implant = mask & (np.linalg.norm(points - at, axis=-1) < radius)
    assert stratum_of(implant, mask, affine) == stratum
    assert stratum_of(implant, mask & ~implant, affine) == stratum


def test_what_has_no_stratum_is_refused():
    mask, affine = shell((4.0, 4.0, 4.0))
    with pytest.raises(VolforgeError, match="empty"):
        stratum_of(np.zeros_like(mask), mask, affine)
    with pytest.raises(VolforgeError, match="use one grid"):
        stratum_of(mask, mask[1:], affine)
