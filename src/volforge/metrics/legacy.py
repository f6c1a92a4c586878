"""Measures as published code computed them: only to stand beside published numbers that nothing else compares with.

Every name begins with `legacy_`. What is wrong with each is said at it; none is used to select anything.
"""

from __future__ import annotations

import numpy as np

from volforge.metrics.measure import Measure
from volforge.volume.geometry import Array


def legacy_hd_voxels(prediction: Array, reference: Array, structure: str = "") -> Measure:
    """Hausdorff distance over all foreground voxels in voxel units, 0 where a mask is empty.

    As in the jaw-joint paper's code (Belikova 2021): spacing is ignored, and the 0 rewards an empty prediction.
    """
    import edt

    from volforge.volume.boxes import foreground_box, union

    p, r = np.asarray(prediction, bool), np.asarray(reference, bool)
    n = int(np.count_nonzero(r))
    if not p.any() or not n:
        return Measure("legacy_hd_voxels", 0.0, structure, "ok", n)
    box = union(foreground_box(p), foreground_box(r))
    assert box is not None
    p, r = p[box], r[box]
    far = 0.0
    for own, other in ((p, r), (r, p)):
        lonely = own & ~other  # voxels of both are at distance 0
        if lonely.any():
            far = max(far, float(edt.edt(~other, black_border=False)[lonely].max()))
    return Measure("legacy_hd_voxels", far, structure, "ok", n)


def reconstruction_error_percent(prediction: Array, reference: Array, structure: str = "implant") -> Measure:
    """Share of all voxels of the grid that differ, in percent, as printed for the AutoImplant baseline.

    It falls with every slice of air added to the grid.
    """
    differing = int(np.count_nonzero(np.asarray(prediction, bool) ^ np.asarray(reference, bool)))
    return Measure(
        "legacy_reconstruction_error_percent", 100 * differing / reference.size, structure, "ok", reference.size
    )
