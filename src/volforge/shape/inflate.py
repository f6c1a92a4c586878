"""Inflation of the condyle on voxels: along normals (`ray`), round corners (`geodesic`), through bone (`euclid`).

Source: Belikova et al., Sci. Rep. 11, 16292 (2021): the condyle's mesh is inflated along its normals until the skull
confines it, and clipped by a cube of 3 cm. The published script moves all vertices in one step without any collision;
these are the three readings of what is meant, each well-defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.bones import Bones
from volforge.volume.geometry import Array
from volforge.volume.morphology import components

REASONS = ("bone", "other_bone", "clip", "view", "max", "shadow")


@dataclass(frozen=True)
class Inflated:
    """The negative volume of a joint on its working grid.

    Attributes:
        space: Its voxels.
        joint_space: Those whose outward normal meets the barrier within the longest way: the part that bone bounds.
        stops: What ends it: share of its outer surface by reason. `bone` (barrier), `other_bone`, `clip` (the cube),
            `view` (the scan's end), `max` (longest way), `shadow` (behind bone as seen from the condyle).
    """

    space: Array
    joint_space: Array
    stops: Mapping[str, float] = field(default_factory=dict)


def inflate(bones: Bones, method: str, r_max_mm: float) -> Inflated:
    """Inflate the condyle of a joint.

    Args:
        bones: The joint.
        method: `ray`, `geodesic` or `euclid`.
        r_max_mm: Longest way from the condyle.

    Raises:
        VolforgeError: no condyle in the clip cube, or an unknown method.
    """
    bones.check()
    if method not in _METHODS:
        raise VolforgeError(f"'{method}' is no method on voxels", remedy=f"one of {', '.join(_METHODS)}")
    inner = bones.frame.inner
    free = bones.free[inner]
    space = np.zeros(bones.condyle.shape, bool)
    space[inner] = _touching(_METHODS[method](bones, free, r_max_mm), bones.condyle_mask[inner])
    return inflated_of(bones, space, r_max_mm)


def inflated_of(bones: Bones, space: Array, r_max_mm: float) -> Inflated:
    """A negative volume with the part that bone bounds and with what ends it."""
    return Inflated(space, bounded_by_bone(bones, space, r_max_mm), _stops(bones, space, r_max_mm))


def bounded_by_bone(bones: Bones, space: Array, r_max_mm: float) -> Array:
    """The part of a negative volume whose outward normal meets the barrier within `Bones.bound` of the condyle.

    What lies outside the fossa ends at the cube or at the longest way, and its volume tells of them; this does not.
    """
    margin, step = bones.frame.margin, bones.frame.step_mm
    inside = np.nonzero(space[bones.frame.inner])
    places = np.stack(inside, axis=1) + margin
    rays = bones.outward[inside].astype(np.float64)
    reach = (bones.bound(r_max_mm) - bones.away[inside].astype(np.float64)) / step
    met = bones.way_to_bone(
        places.astype(np.float64), rays, reach, _in_voxels(bones.shut_barrier, step), _in_voxels(bones.shut, step)
    )
    result = np.zeros_like(space)
    result[tuple(places.T)] = (met >= 0) & (np.abs(rays).sum(axis=1) > 0)
    return result


def _ray(bones: Bones, free: Array, r_max_mm: float) -> Array:
    """Places whose straight way to the nearest place of the condyle is free."""
    step = bones.frame.step_mm
    candidates = np.argwhere(free & (bones.away <= r_max_mm))
    away, margin = _in_voxels(bones.away, step), bones.frame.margin
    shut = _in_voxels(bones.shut, step)
    seen = bones.seen_from_condyle(candidates, away, bones.outward, shut, margin)
    # of what closing fills but no bone does, the way through bone as it is counts
    between = bones.shut[bones.frame.inner][tuple(candidates.T)] < 0
    if between.any():
        opaque = _in_voxels(bones.opaque, step)
        seen[between] = bones.seen_from_condyle(candidates[between], away, bones.outward, opaque, margin)
    found = np.zeros_like(free)
    found[tuple(candidates[seen].T)] = True
    return found


def _geodesic(bones: Bones, free: Array, r_max_mm: float) -> Array:
    """Places that a front reaches that bone stops (fast marching, Sethian 1996): it creeps round rims."""
    import SimpleITK as sitk

    near = free & (bones.away < 1.01 * bones.frame.step_mm)
    speed = sitk.GetImageFromArray(np.where(free, 1.0, 1e-9).astype(np.float32).transpose(2, 1, 0))
    speed.SetSpacing((bones.frame.step_mm,) * 3)
    march = sitk.FastMarchingImageFilter()
    march.SetNumberOfThreads(1)
    march.SetTrialPoints(np.argwhere(near).tolist())
    march.SetInitialTrialValues(np.maximum(bones.away[near], 0).astype(float).tolist())
    march.SetStoppingValue(r_max_mm + bones.frame.step_mm)
    arrival = sitk.GetArrayFromImage(march.Execute(speed)).transpose(2, 1, 0)
    return free & (arrival <= r_max_mm)


def _euclid(bones: Bones, free: Array, r_max_mm: float) -> Array:
    """All places within the longest way, whatever lies between: the literal reading of the published script."""
    return free & (bones.away <= r_max_mm)


_METHODS: Mapping[str, Callable[[Bones, Array, float], Array]] = {
    "ray": _ray, "geodesic": _geodesic, "euclid": _euclid,
}  # fmt: skip


def _in_voxels(distance: Array, step: float) -> Array:
    return np.ascontiguousarray(distance / np.float32(step), dtype=np.float32)


def _touching(space: Array, condyle: Array) -> Array:
    """The components that touch the condyle, face to face."""
    labels, counts = components(space, 6)
    touching = np.zeros(len(counts), bool)
    for axis in range(3):
        for a, b in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            here, there = [slice(None)] * 3, [slice(None)] * 3
            here[axis], there[axis] = a, b
            touching[np.unique(labels[tuple(here)][condyle[tuple(there)]])] = True
    touching[0] = False
    return np.asarray(touching[labels])


def _stops(bones: Bones, space: Array, r_max_mm: float) -> dict[str, float]:
    """Share of the outer faces of a negative volume by what lies behind them; faces on the condyle are inner ones."""
    margin = bones.frame.margin
    part = (slice(margin - 1, -(margin - 1) or None),) * 3  # the clip cube and one voxel around it
    cube = bones.in_cube[part]
    away = np.pad(bones.away, 1, constant_values=np.inf)
    kinds = np.full(cube.shape, REASONS.index("shadow"), np.uint8)
    kinds[away > r_max_mm] = REASONS.index("max")
    kinds[~cube] = REASONS.index("clip")
    if bones.view is not None:
        kinds[~bones.view[part]] = REASONS.index("view")
    if bones.others is not None:
        kinds[bones.others[part] < 0] = REASONS.index("other_bone")
    kinds[bones.barrier_mask[part]] = REASONS.index("bone")
    own = space[part]
    inner = own | bones.condyle_mask[part]
    counts = np.zeros(len(REASONS))
    for axis in range(3):
        for move in (1, -1):  # nothing of the volume lies in the outermost layer: what rolls over is not counted
            outer = own & ~np.roll(inner, -move, axis=axis)
            counts += np.bincount(np.roll(kinds, -move, axis=axis)[outer], minlength=len(REASONS))
    total = counts.sum()
    return {r: float(c / total) if total else 0.0 for r, c in zip(REASONS, counts, strict=True)}
