"""Air whose noise is louder in a part of the field of view, as parallel imaging makes it in MR.

One threshold for the whole image takes such air for tissue. The noise varies slowly, tissue has an edge: so air is
followed from the faces of the grid inwards, and what is about as bright as the air beside it, and as grainy as
noise is, is air too.
"""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array
from volforge.volume.morphology import Spacing, components, erode

STEP_MM = 4.0
REACH_MM = 12.0  # over which the noise is taken to be the same
RISE = 1.4  # air is no brighter than this, in means of the air beside it (of single values a fifth are)
GRAIN = 0.35  # least deviation of noise in means: 0.52 in magnitude images, 1 / SNR in tissue
SEED_GRAIN = 0.42  # the same for air that is told by its grain alone, however bright beside quiet air
SEED_RISE = 2.0  # ... below this many thresholds
LOUD = 0.4  # means of noise, in thresholds, from which on single values pass it (above one in 25 does)
NEAR = 0.05  # least share of air around, beyond which its noise says nothing
ROUNDS = 40


def local_threshold(image: Array, spacing: Spacing, threshold: float) -> tuple[Array, list[int]] | None:
    """Where the noise of the air asks for a higher threshold than that of the whole image.

    Args:
        image: (X, Y, Z) magnitudes.
        spacing: Voxel size in mm.
        threshold: That of the whole image.

    Returns:
        The threshold for smoothed values on a grid of about 4 mm, 0 where noise is low; and voxels per cell of that
        grid. None where `threshold` will do everywhere.
    """
    from scipy import ndimage

    step = [max(1, round(STEP_MM / s)) for s in spacing]
    cell = (spacing[0] * step[0], spacing[1] * step[1], spacing[2] * step[2])
    mean = _cell_means(image, step)
    square = _cell_means(image, step, 2)
    smooth = ndimage.gaussian_filter(mean, [0.7 * min(1, STEP_MM / c) for c in cell])
    width = [REACH_MM / c for c in cell]
    noise = (_grain(mean, square, 5) > SEED_GRAIN) & (smooth < SEED_RISE * threshold)
    seeds = (smooth < threshold) | erode(noise, 3 * STEP_MM, cell)  # far from any edge, which is no noise
    grainy = _grain(mean, square, 3) > GRAIN
    air = _outer(seeds)
    for _ in range(ROUNDS):
        inner = erode(air, STEP_MM, cell)  # without cells that tissue fills in part
        weight = ndimage.gaussian_filter(inner.astype(np.float32), width)
        level = ndimage.gaussian_filter(np.where(inner, smooth, 0), width) / np.maximum(weight, 1e-6)
        level = np.where(weight > NEAR, level, 0)
        local = np.maximum(threshold, RISE * level)
        grown = _outer(seeds | (grainy & (smooth < local)))
        if (grown == air).all():
            break
        air = grown
    loud = level > LOUD * threshold
    return (np.where(loud, local, 0), step) if loud.any() else None


def tissue_above(image: Array, spacing: Spacing, threshold: float) -> Array:
    """Tissue of an image on an arbitrary scale: above a threshold, and above the noise of the air around it.

    Where noise is loud a single voxel says little: there the mean over some 2 mm must be above it as well.
    """
    from scipy import ndimage

    tissue = image > threshold
    found = local_threshold(image, spacing, threshold)
    if found is None:
        return tissue
    local, step = found
    fine = local
    for axis in range(3):
        fine = np.repeat(fine, step[axis], axis=axis)
    fine = fine[: image.shape[0], : image.shape[1], : image.shape[2]]
    loud = fine > 0
    width = [max(2 / s, 0.7) if s <= 5 else 0 for s in spacing]
    smooth = ndimage.gaussian_filter(image.astype(np.float32), width)
    tissue[loud] &= smooth[loud] > fine[loud]
    return tissue


def _grain(mean: Array, square: Array, size: int) -> Array:
    """Deviation in means over `size` cells each way, of cells' means and mean squares."""
    from scipy import ndimage

    middle = ndimage.uniform_filter(mean, size)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(square, size) - middle**2, 0))
    return spread / np.maximum(middle, 1e-6)


def _cell_means(image: Array, step: list[int], power: int = 1) -> Array:
    """Means over cells of `step` voxels; cells at the high faces hold what is left."""
    sums: Array = image.astype(np.float32) ** power
    for axis, n in enumerate(step):
        starts = np.arange(0, image.shape[axis], n)
        counts = np.diff([*starts, image.shape[axis]])
        shape = [1, 1, 1]
        shape[axis] = len(starts)
        sums = np.add.reduceat(sums, starts, axis=axis) / counts.reshape(shape).astype(np.float32)
    return sums


def _outer(air: Array) -> Array:
    """The air that joins the edges of the grid, as that around a body does; a lung that a face cuts does not."""
    labels, counts = components(air, 6)
    ends = [0, -1]
    outer = np.zeros(len(counts), dtype=bool)
    for edges in (labels[ends][:, ends], labels[ends][:, :, ends], labels[:, ends][:, :, ends]):
        outer[np.unique(edges)] = True
    outer[0] = False
    return outer[labels]
