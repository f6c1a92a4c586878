"""Morphology in the planes of a slab: closings, holes, pieces, depths."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from volforge.tasks.translation.painting.fields import Frame
from volforge.volume.geometry import Array

IN_PLANE = np.zeros((3, 3, 3), bool)
IN_PLANE[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
FAR_MM = 1000.0
THROUGH = ndimage.generate_binary_structure(3, 1)


def highest(values: Array, reach: int) -> Array:
    """Highest value (K, H, W) in the square of `reach` pixels about each, within its plane."""
    side = 2 * reach + 1
    return ndimage.maximum_filter1d(ndimage.maximum_filter1d(values, side, axis=1), side, axis=2)


def lowest(values: Array, reach: int) -> Array:
    """Lowest value (K, H, W) in the square of `reach` pixels about each, within its plane."""
    side = 2 * reach + 1
    return ndimage.minimum_filter1d(ndimage.minimum_filter1d(values, side, axis=1), side, axis=2)


def closed(values: Array, reach: int) -> Array:
    """Closing by a square of `reach` pixels within the planes, of values or of a mask (as uint8).

    A mirrored rim, which the filters take, never closes onto the rim of the picture.
    """
    return lowest(highest(values, reach), reach)


def depth_mm(mask: Array, frame: Frame) -> Array:
    """Distance (K, H, W) float32 from each voxel of a mask to the nearest one of its plane that is none; 0 there.

    Where a plane is all mask, the distance is FAR_MM.
    """
    return np.stack([_plane_depth(m, frame.pixel_mm) for m in mask])


def _plane_depth(mask: Array, pixel_mm: float) -> Array:
    # not the library edt: it starts threads at each call, which takes longer than a slice does
    if mask.all():
        return np.full(mask.shape, FAR_MM, np.float32)
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    return ndimage.distance_transform_edt(mask, pixel_mm).astype(np.float32)


def rounded_closing(mask: Array, mm: float, frame: Frame) -> Array:
    """Closing of a mask by a disc within the planes; the rim of the picture closes nothing."""
    rim = frame.pixels(mm) + 1
    padded = np.pad(mask, ((0, 0), (rim, rim), (rim, rim)))
    grown = depth_mm(~padded, frame) <= mm
    return (depth_mm(grown, frame) > mm)[:, rim:-rim, rim:-rim]


def filled(mask: Array) -> Array:
    """A mask with the holes of its planes: what cannot be reached from the rim of the picture."""
    labels, count = ndimage.label(~mask, IN_PLANE)
    if not count:
        return mask
    outside = np.zeros(count + 1, bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        outside[edge] = True
    outside[0] = False
    return ~outside[labels]


class Pieces:
    """The connected pieces of a mask, through the slices of a slab.

    Attributes:
        labels: (K, H, W) number of the piece, 0 outside.
        area_mm2: Mean area of each piece in the planes that it lies in; that of 0 is 0.
    """

    def __init__(self, mask: Array, frame: Frame):
        self.labels, self.count = ndimage.label(mask, THROUGH)
        flat = self.labels.ravel()
        self.voxels = np.maximum(np.bincount(flat, minlength=self.count + 1), 1)
        self.planes = np.zeros(self.count + 1)
        for plane in self.labels:
            self.planes += np.bincount(plane.ravel(), minlength=self.count + 1) > 0
        self.area_mm2 = self.voxels / np.maximum(self.planes, 1) * frame.pixel_mm**2
        self.area_mm2[0] = 0

    def share(self, where: Array) -> Array:
        """Share of each piece's voxels where something holds."""
        counts = np.bincount(self.labels[where], minlength=self.count + 1)
        return counts / self.voxels

    def those(self, chosen: Array) -> Array:
        """Mask of the pieces that are chosen, by number; 0 is never."""
        chosen = np.asarray(chosen, bool).copy()
        chosen[0] = False
        return chosen[self.labels]
