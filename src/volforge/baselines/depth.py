"""CTs from an outline alone: the median HU of training CTs by their distance from the outline, and the mean subject.

What a network adds to the outline is what it does better than these.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from volforge.baselines.image import other_subject
from volforge.errors import VolforgeError
from volforge.volume.geometry import Array, flat_axis
from volforge.volume.intensity import AIR_HU
from volforge.volume.morphology import Spacing, distance_inside

ANISOTROPIC = 3.0  # from this ratio of the voxel's edges on depth is counted within the slices
BIN_MM = 1.0
DEEPEST_MM = 400.0
LOW_HU, HIGH_HU = -1024, 3071
MEAN_SIZE = 96  # voxels along each axis of the mean subject's box


def plane_of(shape: tuple[int, ...], spacing: Spacing) -> int | None:
    """The axis across whose slices depth is counted; None: in three dimensions.

    That of a scan of one slice, or the thickest of voxels of more than 3 to 1: between thick slices the third dimension
    says little of the outline, and a scan of one slice has none.
    """
    flat = flat_axis(shape)
    if flat is not None:
        return flat
    return int(np.argmax(spacing)) if max(spacing) > ANISOTROPIC * min(spacing) else None


def depth_mm(body: Array, spacing: Spacing, across: int | None) -> Array:
    """Distance in mm of every voxel of the body from its outline, 0 outside, float32.

    Half a voxel is taken off the distance between voxel centres, so that the outermost voxels lie half a voxel deep
    whatever their size. A body that the grid cuts goes on beyond.

    Args:
        body: (X, Y, Z) body mask.
        spacing: Voxel size in mm.
        across: Axis across whose slices it is counted, or None; see `plane_of`.
    """
    if across is None:
        found = distance_inside(body, spacing)
        half = min(s for n, s in zip(body.shape, spacing, strict=True) if n > 1) / 2
    else:
        found = np.zeros(body.shape, np.float32)
        slices, into = np.moveaxis(body, across, 2), np.moveaxis(found, across, 2)
        rest = [s for a, s in enumerate(spacing) if a != across]
        for k in range(slices.shape[2]):
            into[:, :, k] = distance_inside(slices[:, :, k : k + 1], (rest[0], rest[1], 1.0))[:, :, 0]
        half = min(rest) / 2
    return np.where(body, np.clip(found - np.float32(half), 0, np.float32(DEEPEST_MM)), np.float32(0))


def depth_profile(training: Iterable[tuple[Array, Array, Spacing]], across: int | None) -> tuple[Array, Array]:
    """Median HU by depth over all voxels of the training CTs.

    Args:
        training: Image in HU, body mask and voxel size of every training CT.
        across: See `depth_mm`.

    Returns:
        Depths in mm (middles of bins of 1 mm that hold a voxel) and medians in HU.

    Raises:
        VolforgeError: No image shows a body.
    """
    bins, values = round(DEEPEST_MM / BIN_MM) + 1, HIGH_HU - LOW_HU + 1
    counts = np.zeros((bins, values), np.int64)
    for image, body, spacing in training:
        deep = (depth_mm(body, spacing, across)[body] / BIN_MM).astype(np.int64)
        hu = np.rint(np.clip(image[body], LOW_HU, HIGH_HU)).astype(np.int64) - LOW_HU
        counts += np.bincount(deep * values + hu, minlength=bins * values).reshape(bins, values)
    held = counts.sum(axis=1)
    if not held.any():
        raise VolforgeError("no training image shows a body", remedy="look at the cohort's body masks")
    filled = np.flatnonzero(held)
    return (filled + 0.5) * BIN_MM, np.array([_median(counts[b]) for b in filled])


def _median(counts: Array) -> float:
    """Median of values that are counted, the mean of the middle two where their number is even."""
    n, total = int(counts.sum()), np.cumsum(counts)
    low, high = (int(np.searchsorted(total, k, side="right")) for k in ((n - 1) // 2, n // 2))
    return (low + high) / 2 + LOW_HU


def by_depth(body: Array, spacing: Spacing, profile: tuple[Array, Array], across: int | None) -> Array:
    """A body of the profile's HU in air, int16; between bins in a line, deeper than any training CT its last value.

    Args:
        body: Body mask of the source.
        spacing: Voxel size in mm.
        profile: From `depth_profile` with the same `across`.
        across: See `depth_mm`.
    """
    hu = np.interp(depth_mm(body, spacing, across), *profile)
    return np.where(body, np.rint(hu), AIR_HU).astype(np.int16)


def median_of(training: Iterable[tuple[Array, Array]]) -> float:
    """Median HU over all voxels of the bodies of training CTs.

    Args:
        training: Image in HU and body mask of every training CT.

    Raises:
        VolforgeError: No image shows a body.
    """
    counts = np.zeros(HIGH_HU - LOW_HU + 1, np.int64)
    for image, body in training:
        hu = np.rint(np.clip(image[body], LOW_HU, HIGH_HU)).astype(np.int64) - LOW_HU
        counts += np.bincount(hu, minlength=len(counts))
    if not counts.any():
        raise VolforgeError("no training image shows a body", remedy="look at the cohort's body masks")
    return _median(counts)


def mean_subject(training: Iterable[tuple[Array, Array]], flat: int | None) -> Array:
    """Mean HU of training CTs, each scaled so that its body fills one box; air outside of each body; float32.

    Args:
        training: Image in HU and body mask of every training CT that shows a body.
        flat: Axis along which all have one slice, or None.

    Returns:
        (96, 96, 96), of one slice along `flat`.

    Raises:
        VolforgeError: There is none.
    """
    shape = tuple(1 if axis == flat else MEAN_SIZE for axis in range(3))
    box, total, n = np.ones(shape, bool), np.zeros(shape), 0
    for image, body in training:
        if body.any():
            total += other_subject(image, body, box)
            n += 1
    if not n:
        raise VolforgeError("no training image shows a body", remedy="look at the cohort's body masks")
    return (total / n).astype(np.float32)


def in_box(mean: Array, body: Array) -> Array:
    """The mean subject stretched into the box of a body, with its own soft outline, int16.

    Args:
        mean: From `mean_subject`.
        body: Body mask of the source.
    """
    return other_subject(mean, np.ones(mean.shape, bool), body)


def cut_to(image: Array, body: Array) -> Array:
    """An image inside a body, air outside, int16."""
    return np.where(body, np.rint(image), AIR_HU).astype(np.int16)
