"""Signed distance maps of implants, made for each sample: defects may be drawn on line."""

from __future__ import annotations

import numpy as np

from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Array
from volforge.volume.morphology import distance_inside


def signed_distances(mask: Array, spacing: tuple[float, float, float], *, units: str = "mm", clip: float = 0) -> Array:
    """Signed distance of every voxel to a mask, negative inside; 0 everywhere where the mask is empty.

    In `voxels` the published map (Kervadec et al.'s code): + the distance to the nearest voxel of the mask outside, and
    -(the distance to the nearest voxel beyond it, less 1) inside, whatever the spacing. In `mm` + and - the distances.

    Args:
        mask: (X, Y, Z) boolean.
        spacing: Voxel size in mm.
        units: `mm` or `voxels`.
        clip: Distances beyond it are it, which saves most of the work; 0: none.

    Returns:
        (X, Y, Z) float32.
    """
    box = foreground_box(mask)
    if box is None:
        return np.zeros(mask.shape, np.float32)
    step = spacing if units == "mm" else (1.0, 1.0, 1.0)
    if clip:
        box = grown(box, [int(np.ceil(clip / s)) + 1 for s in step], mask.shape)
    found = np.full(mask.shape, clip, np.float32)
    part = np.ascontiguousarray(mask[box]) if clip else mask
    inside = distance_inside(part, step)
    signed = distance_inside(~part, step) - (inside if units == "mm" else np.maximum(inside - 1, 0))
    if clip:
        found[box] = np.clip(signed, -clip, clip)
    else:
        found = np.asarray(signed, np.float32)
    return found
