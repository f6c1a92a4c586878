"""Both surfaces of a skull with holes, completed in two passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.solve import Field, Thinning, solve
from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Passes:
    """How the rim of a hole is treated; mm.

    Attributes:
        ring_mm: The first pass believes nothing so near to a hole: walls that were cut slant.
        tolerance_mm: The second pass believes again what the first one predicted within this, by surface.
        second: Whether there is a second pass.
    """

    ring_mm: float = 12.0
    tolerance_mm: float = 1.2
    second: bool = True


@dataclass(frozen=True)
class CompletedMaps:
    """The surfaces of a completed skull.

    Attributes:
        maps: (2, N, N) inner and outer radius; observed where it is believed, predicted elsewhere in the region.
        deviation: (2, N, N) standard deviation in mm; 0 where observed.
        distance: (N, N) from the holes, mm.
        observations: Number of values that the last pass rests on.
        rim_mm: Median absolute difference of the first pass from the bone in the ring: a trial of the model on this
            very skull; NaN where the ring holds no bone.
    """

    maps: Array
    deviation: Array
    distance: Array
    observations: int
    rim_mm: float


def complete_maps(
    field: Field,
    observed: Array,
    hole: Array,
    passes: Passes | None = None,
    thinning: Thinning | None = None,
    *,
    deviation: bool = True,
) -> CompletedMaps:
    """Complete the surfaces of a skull.

    Args:
        field: What skulls are like.
        observed: (2, N, N) radii of this one; NaN where there is no bone.
        hole: (N, N) pixels of all holes.
        passes: How the rim is treated.
        thinning: Which observations are kept.
        deviation: Whether standard deviations are wanted.

    Raises:
        VolforgeError: Nothing of the skull can be trusted.
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt

    passes, thinning = passes or Passes(), thinning or Thinning()
    far = np.full(hole.shape, np.inf)
    distance = distance_transform_edt(~hole) * field.disc.pixel_mm if hole.any() else far
    seen = np.isfinite(observed).all(axis=0)
    ring = (distance <= passes.ring_mm) & ~hole
    trusted = np.stack([seen & (distance > passes.ring_mm)] * 2)
    unknown = (distance <= passes.ring_mm) | (field.region & ~seen)
    first = solve(field, observed, trusted, unknown, thinning, deviation=deviation and not passes.second)
    off = np.where(seen, observed - first.mean, np.inf)
    last = first
    if passes.second:
        for surface in (0, 1):
            good = seen & ring & (np.abs(off[surface]) < passes.tolerance_mm)
            # a wall that was cut is wrong a little further than it shows
            bad = (seen & ring & ~good) | hole
            trusted[surface] |= good & ~binary_dilation(bad, iterations=2)
        last = solve(field, observed, trusted, unknown, thinning, deviation=deviation)
    known = trusted & np.isfinite(observed)
    maps = np.where(known, observed, last.mean)
    spread = np.where(known, 0.0, last.deviation)
    trial = off[:, seen & ring & field.region & (distance > passes.ring_mm / 2)]
    trial = trial[np.isfinite(trial)]
    rim = float(np.median(np.abs(trial))) if len(trial) else float("nan")
    return CompletedMaps(maps, spread, distance, last.observations, rim)
