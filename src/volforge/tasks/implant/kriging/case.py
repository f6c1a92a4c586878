"""One defective skull: pose, holes, completed surfaces, implant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.kriging.complete import CompletedMaps, complete_maps
from volforge.tasks.implant.kriging.evidence import likelier
from volforge.tasks.implant.kriging.fit import KrigedModel
from volforge.tasks.implant.kriging.holes import Hole, holes_of
from volforge.tasks.implant.kriging.imputed import closed_pose, observed
from volforge.tasks.implant.kriging.pose import Registered
from volforge.tasks.implant.kriging.voxels import VoxelImplant, voxels_of
from volforge.volume.boxes import Box, foreground_box, grown
from volforge.volume.geometry import Array

ROOM_MM = 30.0


@dataclass(frozen=True)
class Kriged:
    """A completed skull.

    Attributes:
        shape: Of the scan.
        found: Implant and probability of bone in a box of the scan; None: no hole that is closed.
        registered: Pose and how well it fits.
        holes: The holes, largest first.
        maps: Completed surfaces; None: no hole that is closed.
    """

    shape: tuple[int, ...]
    found: VoxelImplant | None
    registered: Registered
    holes: tuple[Hole, ...]
    maps: CompletedMaps | None

    @property
    def implant(self) -> Array:
        """(X, Y, Z) boolean."""
        whole = np.zeros(self.shape, bool)
        if self.found is not None:
            whole[self.found.box] = self.found.implant
        return whole

    @property
    def confidence(self) -> Array:
        """(X, Y, Z) float32: probability of what is predicted, implant or none."""
        whole = np.ones(self.shape, np.float32)
        if self.found is not None:
            bone = self.found.bone
            whole[self.found.box] = np.where(self.found.implant, bone, 1 - bone * (bone < 1))
        return whole


def krige(
    model: KrigedModel,
    skull: Array,
    affine: Array,
    *,
    deviation: bool = True,
    most_unseen: float = 1.0,
    least_mm2: float | None = None,
) -> Kriged:
    """Complete a skull with holes, from nothing but that skull.

    Args:
        model: A fitted model.
        skull: (X, Y, Z), 1 is bone.
        affine: (4, 4) voxel to patient, mm, RAS.
        deviation: Whether standard deviations are wanted.
        most_unseen: A hole is left open where the volume ends before more than this share of its bone: nobody knows
            whether it is one.
        least_mm2: Area of the smallest hole that is closed, however large others are; None: the rule of `holes_of`.

    Raises:
        VolforgeError: The volume holds no bone.
    """
    held = foreground_box(skull)
    if held is None:
        raise VolforgeError("no bone", "kriging", "the skull's mask is empty")
    # room for the hole's own bone, up to the border of the volume: what lies beyond was not seen
    margin = [int(np.ceil(ROOM_MM / s)) for s in np.linalg.norm(affine[:3, :3], axis=0)]
    held = grown(held, margin, skull.shape)
    part = np.ascontiguousarray(skull[held]).view(np.uint8)
    begin = np.array([s.start for s in held])
    own = affine.copy()
    own[:3, 3] = affine[:3, 3] + affine[:3, :3] @ begin
    registered = closed_pose(part, own, model.template, model.field)
    surfaces = observed(part, own, registered.pose, model.field)
    least = {} if least_mm2 is None else {"least_mm2": least_mm2, "least_share": 0.0}
    holes = tuple(holes_of(model.field, surfaces.radii, surfaces.left, **least))
    holes = tuple(replace(h, left_open=h.unseen > most_unseen) for h in holes)
    if all(h.left_open for h in holes):
        return Kriged(skull.shape, None, registered, holes, None)
    pixels = np.logical_or.reduce([h.pixels for h in holes if not h.left_open])
    field = model.field
    if model.plain is not None:
        field = likelier(field, model.plain, surfaces.radii, far_from(surfaces.radii, pixels, model))
    maps = complete_maps(
        field, surfaces.radii, pixels, model.settings.passes, model.settings.thinning, deviation=deviation
    )
    found = voxels_of(field, maps, registered.pose, part, own, model.intervals)
    return Kriged(skull.shape, _moved(found, begin, skull.shape), registered, holes, maps)


def kriged_skull(model: KrigedModel, skull: Array, affine: Array) -> Array:
    """The probability that a place is bone of the completed skull: what networks see of it.

    Args:
        model: A fitted model.
        skull: (X, Y, Z) with a hole, boolean or 0 and 1; not empty.
        affine: (4, 4) voxel to patient, mm, RAS.

    Returns:
        (X, Y, Z) float32: 1 where the skull has bone, 0 beyond the neighbourhood of its holes.
    """
    values = np.ascontiguousarray(skull > 0)
    found = krige(model, values.view(np.uint8), affine).found
    whole = values.astype(np.float32)
    if found is not None:
        whole[found.box] = found.bone
    return whole


def far_from(radii: Array, hole: Array, model: KrigedModel) -> Array:
    """(N, N) pixels with bone beyond the ring about the holes."""
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(~hole) * model.field.disc.pixel_mm
    return np.asarray(np.isfinite(radii).all(axis=0) & (distance > model.settings.passes.ring_mm))


def _moved(found: VoxelImplant | None, begin: Array, shape: tuple[int, ...]) -> VoxelImplant | None:
    """The implant in a part, seen in the whole."""
    if found is None:
        return None
    low = np.array([s.start for s in found.box]) + begin
    high = np.array([s.stop for s in found.box]) + begin
    first, last = np.maximum(low, 0), np.minimum(high, shape)
    inner = tuple(slice(int(a), int(b)) for a, b in zip(first - low, last - low, strict=True))
    box: Box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return VoxelImplant(box, found.implant[inner], found.bone[inner])
