"""Distances between the surfaces of two masks, in millimetres.

Two notions of a surface are in use, and both are offered:

`voxels`: the mask's voxels that have a face neighbour outside of it (mask XOR erosion by the 6-neighbourhood);
every one counts alike, distances run between voxel centres. MONAI, MedPy, Metrics Reloaded and the AutoImplant
challenge measure so. It is the default.

`elements`: the pieces of the marching-cubes surface in every 2x2x2 block of voxels, each weighted by its area,
distances run between block centres (Nikolov et al., "Deep learning to achieve clinically applicable segmentation
of head and neck anatomy for radiotherapy", 2018, section on the surface Dice; package surface-distance).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from volforge.volume.geometry import Array

Surface = Literal["voxels", "elements"]
SPARSE = 100  # voxels of the box for each voxel of both surfaces


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from every piece of one surface to the other surface, sorted, with weights.

    Attributes:
        prediction: Distances from the prediction's surface to the reference's, ascending, shape (P,).
        reference: Distances from the reference's surface to the prediction's, ascending, shape (R,).
        prediction_weights: Area in mm2 of each piece (P,); None where all count alike.
        reference_weights: The same for the reference (R,).
    """

    prediction: Array
    reference: Array
    prediction_weights: Array | None = None
    reference_weights: Array | None = None

    def hausdorff(self, percent: float = 100.0) -> float:
        """The greater of the two directed distances at a percentile, mm (Metrics Reloaded, MONAI).

        For weighted surfaces the percentile is by area: the smallest distance below which `percent` of the
        area lies.
        """
        return max(
            _percentile(self.prediction, self.prediction_weights, percent),
            _percentile(self.reference, self.reference_weights, percent),
        )

    def hausdorff_pooled(self, percent: float = 95.0) -> float:
        """Percentile of both directed lists as one, mm (MedPy, the AutoImplant challenge)."""
        together = np.concatenate([self.prediction, self.reference])
        order = np.argsort(together, kind="stable")
        if self.prediction_weights is None or self.reference_weights is None:
            return _percentile(together[order], None, percent)
        weights = np.concatenate([self.prediction_weights, self.reference_weights])
        return _percentile(together[order], weights[order], percent)

    def average(self) -> float:
        """Average symmetric surface distance (ASSD), mm: the mean over both surfaces taken together."""
        p, r = _sums(self.prediction, self.prediction_weights), _sums(self.reference, self.reference_weights)
        return (p[0] + r[0]) / (p[1] + r[1])

    def surface_dice(self, tolerance_mm: float) -> float:
        """Normalised surface Dice (NSD): share of both surfaces within the tolerance of the other, 0 to 1."""
        inside = whole = 0.0
        for distances, weights in (
            (self.prediction, self.prediction_weights),
            (self.reference, self.reference_weights),
        ):
            # The sorted order tells how many lie within. Rounding would put a distance that equals the tolerance
            # (0.1 + 0.2 against 0.3) on either side; a millionth of it decides nothing else.
            count = int(np.searchsorted(distances, tolerance_mm * (1 + 1e-6), side="right"))
            inside += count if weights is None else float(weights[:count].sum())
            whole += len(distances) if weights is None else float(weights.sum())
        return inside / whole


def surface_distances(
    prediction: Array, reference: Array, spacing: Sequence[float], surface: Surface = "voxels"
) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Args:
        prediction: Boolean mask, three axes; already cropped to what both masks span, or not.
        reference: The same on the same grid.
        spacing: Voxel size in mm along the axes.
        surface: Which notion of a surface.

    Raises:
        ValueError: Where a mask is empty: there is no distance to nothing.
    """
    if not prediction.any() or not reference.any():
        raise ValueError("a mask is empty: no surface to measure to")
    spacing = tuple(float(s) for s in spacing)
    if surface == "elements":
        return _element_distances(prediction, reference, spacing)
    p, r = border(prediction), border(reference)
    return SurfaceDistances(np.sort(_from_to(p, r, spacing)), np.sort(_from_to(r, p, spacing)))


def border(mask: Array) -> Array:
    """The mask's voxels with a face neighbour outside of it; what lies beyond the array is outside."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        along = np.moveaxis(inner, axis, 0)
        source = np.moveaxis(mask, axis, 0)
        along[1:] &= source[:-1]
        along[:-1] &= source[1:]
        along[0] = False
        along[-1] = False
    np.logical_not(inner, out=inner)
    return np.logical_and(inner, mask, out=inner)


def _from_to(pieces: Array, target: Array, spacing: tuple[float, ...]) -> Array:
    """Distances in mm from the voxels of one set to the nearest of another, in the order of the array.

    A distance transform of the box is quickest where the sets fill it; for few voxels in a wide box (one stray voxel
    makes it as wide as the scan) a search tree takes a fraction of time and memory.
    """
    count = np.count_nonzero(pieces) + np.count_nonzero(target)
    if pieces.size > SPARSE * count:
        from scipy.spatial import KDTree

        points = [np.argwhere(v) * np.array(spacing) for v in (pieces, target)]
        return np.asarray(KDTree(points[1]).query(points[0])[0])
    import edt

    away = edt.edt(~target, anisotropy=spacing, black_border=False)
    return away[pieces].astype(np.float64)


def _element_distances(prediction: Array, reference: Array, spacing: tuple[float, ...]) -> SurfaceDistances:
    codes = [_codes(m) for m in (prediction, reference)]
    areas = _areas(spacing)
    pieces = [(c != 0) & (c != 255) for c in codes]
    found = []
    for own, other, code in ((0, 1, codes[0]), (1, 0, codes[1])):
        distances = _from_to(pieces[own], pieces[other], spacing)
        order = np.argsort(distances, kind="stable")
        found.append((distances[order], areas[code[pieces[own]]][order]))
    return SurfaceDistances(found[0][0], found[1][0], found[0][1], found[1][1])


def _codes(mask: Array) -> Array:
    """For every 2x2x2 block (also those half outside): which of its voxels are in the mask, one bit each."""
    code = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for bit, (i, j, k) in enumerate(itertools.product((0, 1), repeat=3)):
        part = code[i : i + mask.shape[0], j : j + mask.shape[1], k : k + mask.shape[2]]
        part |= mask.astype(np.uint8) << np.uint8(bit)
    return code


@cache
def _areas(spacing: tuple[float, ...]) -> Array:
    """Area in mm2 of the surface inside a block, by code, shape (256,).

    The surface is marching cubes' (Lorensen and Cline 1987) through the middles of the edges, drawn around
    the smaller of the block's two parts, so that a mask and its complement have the same surface.
    """
    from skimage.measure import marching_cubes

    # bit b is the voxel (i, j, k) of the block that _codes shifts by; its place in the block is mirrored
    weights = np.array([1 << b for b in range(8)]).reshape(2, 2, 2)[::-1, ::-1, ::-1]
    areas = np.zeros(256)
    for code in range(1, 255):
        smaller = code if code.bit_count() <= 4 else 255 - code
        block = ((smaller & weights) > 0).astype(np.float64)
        corners, faces, _, _ = marching_cubes(block, 0.5, spacing=spacing, method="lorensen")
        a, b, c = (corners[faces[:, n]] for n in range(3))
        areas[code] = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    return areas


def _percentile(ascending: Array, weights: Array | None, percent: float) -> float:
    if weights is None:
        return float(np.percentile(ascending, percent))
    # sums that reach the percentage exactly differ in their last digit with the unit of the weights
    share = np.cumsum(weights) / weights.sum()
    return float(ascending[min(int(np.searchsorted(share, percent / 100 * (1 - 1e-7))), len(ascending) - 1)])


def _sums(distances: Array, weights: Array | None) -> tuple[float, float]:
    if weights is None:
        return float(distances.sum()), float(len(distances))
    return float((distances * weights).sum()), float(weights.sum())
