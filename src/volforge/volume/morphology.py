"""Binary morphology in millimetres by exact Euclidean distance, and holes; fast on large grids.

All functions take boolean arrays (X, Y, Z) and voxel spacing in mm. The world beyond the grid counts as more
of the same at its faces: a body cut by the field of view is not eroded there.
"""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array
from volforge.volume.reach import within

Spacing = tuple[float, float, float]


def solid_order(array: Array) -> Array:
    """The array without strides of its own: as it is where it is contiguous in C or Fortran order."""
    return array if array.flags.forc else np.asfortranarray(array)


def distance_inside(mask: Array, spacing: Spacing) -> Array:
    """Distance in mm of every true voxel to the nearest false voxel centre; 0 at false voxels."""
    import edt

    if mask.all():
        return np.full_like(mask, np.inf, dtype=np.float32)
    return edt.edt(solid_order(mask), anisotropy=spacing, black_border=False, parallel=1)


def distance_across(mask: Array, spacing: Spacing) -> Array:
    """Distance in mm of every voxel to the nearest voxel centre on the other side of a mask's border, float32.

    The world beyond the grid is more of the same. Infinite everywhere where the mask is empty or full.
    """
    return np.maximum(distance_inside(mask, spacing), distance_inside(~mask, spacing))  # one of them is 0


def erode(mask: Array, radius_mm: float, spacing: Spacing) -> Array:
    """Erosion by a ball."""
    if radius_mm <= 0:
        return mask.copy()
    lost = within(solid_order(~mask), radius_mm, spacing)
    return distance_inside(mask, spacing) > radius_mm if lost is None else np.logical_not(lost, out=lost)


def dilate(mask: Array, radius_mm: float, spacing: Spacing) -> Array:
    """Dilation by a ball."""
    if radius_mm <= 0 or not mask.any():
        return mask.copy()
    reached = within(solid_order(mask), radius_mm, spacing)
    return distance_inside(~mask, spacing) <= radius_mm if reached is None else reached


def opening(mask: Array, radius_mm: float, spacing: Spacing) -> Array:
    """Opening by a ball: what a ball of this radius can reach from inside."""
    return dilate(erode(mask, radius_mm, spacing), radius_mm, spacing) & mask


def closing(mask: Array, radius_mm: float, spacing: Spacing) -> Array:
    """Closing by a ball: seals gaps narrower than twice the radius.

    Beyond a face that cuts the mask the mask goes on, beyond the others lies nothing: otherwise all between
    the mask and a near face would be sealed.
    """
    if radius_mm <= 0 or not mask.any():
        return mask.copy()
    pad = [int(np.ceil(radius_mm / s)) + 1 for s in spacing]
    padded = np.pad(mask, [(p, p) for p in pad], mode="edge")
    shut = ~dilate(~dilate(padded, radius_mm, spacing), radius_mm, spacing)
    return mask | shut[tuple(slice(p, p + n) for p, n in zip(pad, mask.shape, strict=True))]


def components(mask: Array, connectivity: int = 6) -> tuple[Array, Array]:
    """Connected components: label array from 1, and voxel counts by label (index 0: background)."""
    import cc3d

    labels = cc3d.connected_components(solid_order(mask), connectivity=connectivity)
    return labels, np.bincount(labels.ravel(order="K"))


def component_boxes(labels: Array) -> list[tuple[slice, slice, slice]]:
    """The bounding box of every label, by label (index 0: background)."""
    import cc3d

    return cc3d.statistics(labels)["bounding_boxes"]


def largest_component(mask: Array, connectivity: int = 6) -> Array:
    """The largest connected component; all false where the mask is empty."""
    labels, counts = components(mask, connectivity)
    if len(counts) < 2:
        return np.zeros_like(mask)
    return labels == 1 + int(np.argmax(counts[1:]))


def face(volume: Array, axis: int, index: int) -> Array:
    """A plane of a volume, as a view."""
    key: list[int | slice] = [slice(None)] * 3
    key[axis] = index
    return volume[tuple(key)]


def enclosed(mask: Array, open_faces: tuple[tuple[bool, bool], ...] = ((True, True),) * 3) -> Array:
    """The false voxels that no path of false voxels joins to an open face of the grid.

    Args:
        mask: Boolean array.
        open_faces: Per axis, whether the (low, high) face leads outside. A face where the field of view cuts
            the body should not: a lung cut by it is still inside.
    """
    outside, counts = components(~mask, 6)
    leads_out = np.zeros(len(counts), dtype=bool)
    for axis, faces in enumerate(open_faces):
        for index, is_open in zip((0, -1), faces, strict=True):
            if is_open:
                leads_out[np.unique(face(outside, axis, index))] = True
    leads_out[0] = False
    return ~mask & ~leads_out[outside]
