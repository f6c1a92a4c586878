"""What a prediction misses beside the bone, and how thick it is: quick numbers of voxels."""

from __future__ import annotations

import numpy as np

from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Array
from volforge.volume.morphology import Spacing, distance_inside

RIM_MM = 3.0


def gap_volume_mm3(prediction: Array, reference: Array, bone: Array, spacing: Spacing, rim_mm: float = RIM_MM) -> float:
    """Volume of the true implant within a distance of bone that the prediction leaves empty, mm3.

    Args:
        prediction, reference: (X, Y, Z) bool.
        bone: Defective skull on the same grid, bool.
        spacing: mm.
        rim_mm: Distance of voxel centres.
    """
    box = foreground_box(reference)
    if box is None:
        return float("nan")
    wide = grown(box, [int(np.ceil(rim_mm / s)) + 1 for s in spacing], reference.shape)
    near = distance_inside(~bone[wide], spacing) <= rim_mm * (1 + 1e-6)
    return float(np.count_nonzero(reference[wide] & near & ~prediction[wide])) * float(np.prod(spacing))


def mean_thickness_mm(mask: Array, spacing: Spacing) -> float:
    """Mean thickness of a plate, mm; NaN of an empty mask.

    Voxels of a plate of thickness h lie h/4 from its surface in the mean, which a slab meets exactly; the edges of a
    plate make it seem a little thinner, both of two plates alike.

    Args:
        mask: (X, Y, Z) bool.
        spacing: mm.
    """
    box = foreground_box(mask)
    if box is None:
        return float("nan")
    part = np.pad(mask[box], 1)
    # distances run to the centres outside: the surface is half a voxel nearer
    away = distance_inside(part, spacing)[part] - np.float32(0.5 * np.prod(spacing) ** (1 / 3))
    return 4 * float(np.maximum(away, 0).mean(dtype=np.float64))
