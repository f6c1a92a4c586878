"""Both surfaces of a skull with holes, completed in passes that learn what of the rim to believe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.solve import Field, Thinning, solve
from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Passes:
    """How the rim of a hole is treated; mm.

    A wall that was cut makes bone look too thin, never too thick: a ray that crosses it finds the inner surface too
    far out, or the outer one too far in.

    Attributes:
        ring_mm: The first pass believes nothing so near to a hole.
        thinner_mm: Later passes believe a surface again that makes the bone thinner than predicted by less than this,
        thicker_mm: or thicker by less than this.
        spared: Pixels beside what is not believed, and beside the hole, that are not believed either.
        count: Number of passes.
    """

    ring_mm: float = 12.0
    thinner_mm: float = 1.2
    thicker_mm: float = 4.0
    spared: int = 1
    count: int = 3


@dataclass(frozen=True)
class CompletedMaps:
    """The surfaces of a completed skull.

    Attributes:
        maps: (2, N, N) inner and outer radius; observed where it is believed, predicted elsewhere in the region.
        deviation: (2, N, N) standard deviation in mm; 0 where observed.
        distance: (N, N) from the holes, mm.
        open: (N, N) pixels where bone may be missing: the holes, and what of their rims was not believed.
        observations: Number of values that the last pass rests on.
        rim_mm: Median absolute difference of the first pass from the bone in the ring: a trial of the model on this
            very skull; NaN where the ring holds no bone.
    """

    maps: Array
    deviation: Array
    distance: Array
    open: Array
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
    from scipy.ndimage import distance_transform_edt

    passes, thinning = passes or Passes(), thinning or Thinning()
    far = np.full(hole.shape, np.inf)
    distance = distance_transform_edt(~hole) * field.disc.pixel_mm if hole.any() else far
    seen = np.isfinite(observed).all(axis=0)
    ring = (distance <= passes.ring_mm) & ~hole
    trusted = np.stack([seen & (distance > passes.ring_mm)] * 2)
    unknown = (distance <= passes.ring_mm) | (field.region & ~seen)
    last = solve(field, observed, trusted, unknown, thinning, deviation=deviation and passes.count == 1)
    first = np.where(seen, observed - last.mean, np.inf)
    for turn in range(1, passes.count):
        believed = trusted | _believed(np.where(seen, observed - last.mean, np.inf), seen & ring, hole, passes)
        last = solve(field, observed, believed, unknown, thinning, deviation=deviation and turn == passes.count - 1)
    trusted = believed if passes.count > 1 else trusted
    known = trusted & np.isfinite(observed)
    maps = np.where(known, observed, last.mean)
    spread = np.where(known, 0.0, last.deviation)
    trial = first[:, seen & ring & field.region & (distance > passes.ring_mm / 2)]
    trial = trial[np.isfinite(trial)]
    rim = float(np.median(np.abs(trial))) if len(trial) else float("nan")
    missing = hole | (ring & field.region & ~known.all(axis=0))
    return CompletedMaps(maps, spread, distance, missing, last.observations, rim)


def _believed(off: Array, ring: Array, hole: Array, passes: Passes) -> Array:
    """(2, N, N) which values of the ring are believed, by their differences from what was predicted."""
    from scipy.ndimage import binary_dilation

    found = np.zeros(off.shape, bool)
    for surface in (0, 1):
        thinner = off[surface] if surface == 0 else -off[surface]
        good = ring & (thinner < passes.thinner_mm) & (thinner > -passes.thicker_mm)
        bad = (ring & ~good) | hole
        near = binary_dilation(bad, iterations=passes.spared) if passes.spared else bad
        found[surface] = good & ~near
    return found
