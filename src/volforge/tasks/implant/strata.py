"""Place and size of an implant by geometry alone: strata of cases whose defect nobody described."""

from __future__ import annotations

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.defects.head import head_of, place_of
from volforge.tasks.implant.defects.sizes import size_of
from volforge.volume.geometry import Affine, Array, Grid


def stratum_of(implant: Array, skull: Array, affine: Affine) -> tuple[str, str]:
    """The stratum of a case, as `draw_defect` names its own.

    Args:
        implant: (X, Y, Z) bool.
        skull: Same grid, bool: complete, or with the hole; both give the same.
        affine: 4x4, voxel index to RAS mm.

    Returns:
        Place: `frontal`, `parietal`, `temporal`, `vertex`, `occipital`, or `bilateral` where a quarter or more of the
        implant lies on either side of the midline. Size: `small` (below 20 cm3), `medium`, `large` (from 45).

    Raises:
        VolforgeError: The implant is empty, or the grids differ.
    """
    if implant.shape != skull.shape:
        raise VolforgeError(f"an implant of {implant.shape} voxels on a skull of {skull.shape}", remedy="use one grid")
    if not implant.any():
        raise VolforgeError("the implant is empty", remedy="look at the mask")
    head = head_of(implant | skull, affine)
    points = np.argwhere(implant) @ affine[:3, :3].T + affine[:3, 3]
    cm3 = len(points) * Grid((1, 1, 1), affine).voxel_mm3 / 1000
    return place_of(head, points)[0], size_of(cm3)
