"""From surfaces to voxels: implant and probability of bone on the grid of the scan."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from volforge.tasks.implant.kriging.complete import CompletedMaps
from volforge.tasks.implant.kriging.fill import filled
from volforge.tasks.implant.kriging.intervals import Intervals
from volforge.tasks.implant.kriging.pose import Pose
from volforge.tasks.implant.kriging.solve import Field
from volforge.volume.boxes import Box
from volforge.volume.geometry import Array

REACH_MM = 12.0
FILM_MM = 1.0
REGROWN_MM = 0.35
LEAST_SHARE = 0.1
MARGIN_MM = 2.0


@dataclass(frozen=True)
class VoxelImplant:
    """An implant on the grid of a scan.

    Attributes:
        box: Part of the grid that the arrays cover.
        implant: Boolean; no bone of the scan is part of it.
        bone: float32, 0 to 1: probability that a place lies between the two surfaces, where those are unknown;
            bone of the scan is 1.
    """

    box: Box
    implant: Array
    bone: Array


def voxels_of(
    field: Field, found: CompletedMaps, pose: Pose, skull: Array, affine: Array, intervals: Intervals | None = None
) -> VoxelImplant | None:
    """The implant in voxels: between the completed surfaces, about the holes, less the bone.

    Thin films that the subtraction leaves on the bone are taken off: what is deeper than 1 mm is the core; pieces of
    it under a tenth of the largest are dropped; the rest is grown back.

    Args:
        field: Region and disc.
        found: The completed surfaces.
        pose: The skull's.
        skull: (X, Y, Z), 1 is bone.
        affine: (4, 4) voxel to patient, mm, RAS.
        intervals: Of the errors of both surfaces, for the probability; None: they are normal.

    Returns:
        None where there is no hole.
    """
    import cc3d
    import edt
    from scipy.ndimage import binary_dilation

    # where both surfaces were seen there is bone, whatever cavities it has: a sinus is no hole
    zone = binary_dilation(found.open) & (found.distance <= REACH_MM) & field.region
    box = _box(field, found, pose, skull.shape, affine, zone)
    if box is None:
        return None
    spacing = tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    bone = skull[box] > 0
    between, probability = _between(field, found, pose, affine, box, zone, intervals)
    candidate = between & ~bone
    core = edt.edt(candidate, anisotropy=spacing, black_border=False) > FILM_MM
    labels = cc3d.connected_components(core.astype(np.uint8), connectivity=6)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    implant = np.zeros(bone.shape, bool)
    if sizes.max(initial=0) > 0:
        core = np.isin(labels, np.flatnonzero(sizes >= max(LEAST_SHARE * sizes.max(), 1)))
        implant = candidate & (edt.edt(~core, anisotropy=spacing, black_border=False) <= FILM_MM + REGROWN_MM)
    return VoxelImplant(box, implant, np.where(bone, np.float32(1), probability))


def _box(
    field: Field, found: CompletedMaps, pose: Pose, shape: tuple[int, ...], affine: Array, zone: Array
) -> Box | None:
    """The part of the grid that the zone can reach into."""
    points = [
        field.disc.directions[zone] * (found.maps[k][zone][:, None] + off)
        for k, off in ((0, -MARGIN_MM), (1, MARGIN_MM))
    ]
    patient = pose.out_of(np.concatenate(points))
    patient = patient[np.isfinite(patient).all(axis=1)]
    if not len(patient):
        return None
    voxels = (patient - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    low = np.maximum(np.floor(voxels.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(voxels.max(axis=0)).astype(int) + 3, shape)
    if (high <= low).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _between(
    field: Field, found: CompletedMaps, pose: Pose, affine: Array, box: Box, zone: Array, intervals: Intervals | None
) -> tuple[Array, Array]:
    """Whether voxels of a box lie between the surfaces, inside the zone; and how probable that is."""
    from scipy.ndimage import map_coordinates
    from scipy.special import ndtr

    maps = [filled(m).astype(np.float32) for m in found.maps]
    spread = [filled(d).astype(np.float32) for d in found.deviation]
    weight = zone.astype(np.float32)
    shape = tuple(s.stop - s.start for s in box)
    inside, probability = np.zeros(shape, bool), np.zeros(shape, np.float32)
    along = [np.arange(s.start, s.stop, dtype=np.float64) for s in box]
    to_frame = pose.rotation.T @ affine[:3, :3] / pose.scale
    begin = pose.into(affine[:3, 3])
    for x, y in product(range(0, shape[0], 64), range(0, shape[1], 64)):  # memory is bounded by the block
        block = (slice(x, x + 64), slice(y, y + 64))
        grid = np.stack(np.meshgrid(along[0][block[0]], along[1][block[1]], along[2], indexing="ij"), axis=-1)
        radius, at = field.disc.locate(grid @ to_frame.T + begin)
        near = map_coordinates(weight, at, order=1, mode="constant") > 0.5
        if not near.any():
            continue
        at, r = at[:, near], radius[near]
        inner, outer = (map_coordinates(m, at, order=1, mode="nearest") for m in maps)
        deviations = [np.maximum(map_coordinates(d, at, order=1, mode="nearest"), 1e-3) for d in spread]
        held, chance = np.zeros(near.shape, bool), np.zeros(near.shape, np.float32)
        held[near] = (r >= inner) & (r <= outer)
        scores = [(r - inner) / deviations[0], (outer - r) / deviations[1]]
        if intervals is not None:
            scores = [intervals.normal(score, surface) for surface, score in enumerate(scores)]
        chance[near] = ndtr(scores[0]) * ndtr(scores[1])
        inside[block], probability[block] = held, chance
    return inside, probability
