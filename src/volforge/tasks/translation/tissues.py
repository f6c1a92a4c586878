"""Errors of a synthetic CT by tissue, bone by two thresholds, and air where the brain is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from volforge.metrics.image import TISSUES, mae
from volforge.metrics.measure import Measure, nothing
from volforge.metrics.overlap import count
from volforge.volume.geometry import Array, flat_axis
from volforge.volume.morphology import Spacing, closing, components, erode

# HU of the reference, at least the first, below the second; beside those of all image tasks
FURTHER: Mapping[str, tuple[float, float]] = MappingProxyType({"fat": (-150, -30), "bone_200": (200, math.inf)})
INNER_AIR_HU = -400.0
INNER_MM = 5.0  # how far from the outline air is inner air: partial volume of the skin is none
DENSE_BONE_HU = 250.0
SKULL_CLOSINGS_MM = (5.0, 10.0, 15.0)
BRAIN_HU, SOFT_SHARE = (-50.0, 130.0), 0.7
CAVITY_MM2 = 2500.0  # of a slice: what is enclosed by bone on less is no brain
AIR_IN_HEAD_HU = -300.0


def tissue_measures(prediction: Array, reference: Array, body: Array, spacing: Spacing) -> list[Measure]:
    """Bias of the whole and of every tissue, and the mean absolute error of those tissues that only translation has.

    Args:
        prediction, reference: (X, Y, Z) HU on one grid, finite inside the body.
        body: Where to measure.
        spacing: Voxel size in mm.

    Returns:
        `bias_hu` (mean of prediction less reference) of `body`, of the tissues of `metrics.image.TISSUES`, of `fat`
        (-150 to -30 HU), `bone_200` (200 HU and more) and `inner_air` (below -400 HU, further than 5 mm from the
        outline: lungs, bowel gas, sinuses); `mae_hu` of the last three. `absent` where the reference has none.
    """
    p, r = np.asarray(prediction[body], np.float64), np.asarray(reference[body], np.float64)
    deep = erode(body, INNER_MM, spacing)[body]
    own = {name: (r >= low) & (r < high) for name, (low, high) in FURTHER.items()}
    own["inner_air"] = deep & (r < INNER_AIR_HU)
    every = {"body": np.ones(r.size, bool)}
    every |= {name: (r >= low) & (r < high) for name, (low, high) in TISSUES.items()}
    found = [_bias(p[chosen], r[chosen], name) for name, chosen in (every | own).items()]
    for name, chosen in own.items():
        n = int(np.count_nonzero(chosen))
        found.append(
            Measure("mae_hu", mae(p[chosen], r[chosen]), name, "ok", n) if n else nothing("mae_hu", "absent", name)
        )
    return found


def _bias(p: Array, r: Array, name: str) -> Measure:
    if not r.size:
        return nothing("bias_hu", "absent", name)
    return Measure("bias_hu", float((p - r).mean()), name, "ok", r.size)


def dense_bone_dice(prediction: Array, reference: Array, body: Array) -> Measure:
    """`bone_dice_250hu`: Dice of what lies at 250 HU or above inside the body (`bone_dice`: at 150 HU).

    Args:
        prediction, reference: (X, Y, Z) HU.
        body: Where to measure.
    """
    counts = count(prediction[body] >= DENSE_BONE_HU, reference[body] >= DENSE_BONE_HU)
    name = "bone_dice_250hu"
    if not counts.reference:
        return nothing(name, "absent" if not counts.prediction else "empty_reference", "bone")
    if not counts.prediction:
        return nothing(name, "empty_prediction", "bone", counts.reference)
    return Measure(name, counts.dice, "bone", "ok", counts.reference)


def inside_of_skull(reference: Array, spacing: Spacing) -> Array:
    """What the skull of a CT encloses, slice by slice: closed bone with its holes filled, less bone and air.

    Bone is 250 HU and above, closed by 5 mm, or 10 or 15 where less encloses nothing (orbits, skull base); holes are
    filled in axial slices, of a scan of one slice in its own plane. A hole counts from 25 cm2 on, if seven tenths of it
    are soft tissue: a spinal canal, a marrow cavity and a chest are none. A slice whose skull is open (jaw, sagittal
    slices through the great foramen) has no inside.

    Args:
        reference: (X, Y, Z) HU.
        spacing: Voxel size in mm.

    Returns:
        Boolean, empty where there is no skull.
    """
    bone = reference >= DENSE_BONE_HU
    inside = np.zeros_like(bone)
    axis = flat_axis(bone.shape)
    axis = 2 if axis is None else axis
    area = float(np.prod([s for a, s in enumerate(spacing) if a != axis]))
    soft = (reference >= BRAIN_HU[0]) & (reference <= BRAIN_HU[1])
    for radius in SKULL_CLOSINGS_MM:
        missing = ~inside.any(axis=tuple(a for a in range(3) if a != axis))
        if not bone.any() or not missing.any():
            break
        shut = np.moveaxis(closing(bone, radius, spacing), axis, 0)
        for k in np.flatnonzero(missing):
            hole = _holes(shut[k], np.moveaxis(soft, axis, 0)[k], CAVITY_MM2 / area)
            np.moveaxis(inside, axis, 0)[k] = hole
    return inside & (reference >= AIR_IN_HEAD_HU)


def _holes(plane: Array, soft: Array, least: float) -> Array:
    """The holes of a plane of so many pixels or more that are mostly soft."""
    from scipy import ndimage

    labels, counts = components((ndimage.binary_fill_holes(plane) & ~plane)[:, :, None], 6)
    share = np.bincount(labels[:, :, 0][soft], minlength=len(counts)) / np.maximum(counts, 1)
    keep = (counts >= least) & (share >= SOFT_SHARE)
    keep[0] = False
    return keep[labels][:, :, 0]


def intracranial_air(prediction: Array, reference: Array, spacing: Spacing) -> Measure:
    """`intracranial_air_share`: share of the voxels inside the reference's skull that the prediction makes air.

    Air is below -300 HU; what is air in the reference itself (a sinus, an open wound) is left out.

    Args:
        prediction, reference: (X, Y, Z) HU.
        spacing: Voxel size in mm.

    Returns:
        0 to 1; `absent` where the reference has no closed skull.
    """
    inside = inside_of_skull(reference, spacing)
    n = int(np.count_nonzero(inside))
    if not n:
        return nothing("intracranial_air_share", "absent", "brain")
    return Measure("intracranial_air_share", float((prediction[inside] < AIR_IN_HEAD_HU).mean()), "brain", "ok", n)
