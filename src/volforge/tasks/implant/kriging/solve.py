"""Kriging: the conditional mean and variance of two surfaces where they are not known, given where they are.

Simple kriging with a known mean (Cressie 1993, section 3.4): with the covariance C of the observations, a nugget on
its diagonal, and the covariance c of a place with them, the mean is m + c' C^-1 (y - m) and the variance
k - c' C^-1 c. Observations are thinned with distance from what is asked for, on grids symmetric about the vertex:
a mirrored skull gets the mirrored implant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.covariance import Covariance, Places
from volforge.tasks.implant.kriging.disc import Disc
from volforge.volume.geometry import Array

MOST_OBSERVATIONS = 6000
LEVELS = ((1, 2, 3), (2, 3, 4), (3, 4, 6), (4, 6, 8))
"""Pixels between observations near the hole, further away and far; coarser ones where there would be too many."""
BLOCK = 2000


@dataclass(frozen=True)
class Thinning:
    """Which observations are kept, by their distance from the nearest pixel that is not trusted.

    Attributes:
        every_mm: Every pixel is kept to this distance,
        second_mm, third_mm: every second and every third to these, along both axes,
        beyond: and beyond them every so many.
    """

    every_mm: float = 3.1
    second_mm: float = 14.0
    third_mm: float = 24.0
    beyond: int = 6


@dataclass(frozen=True)
class Field:
    """Mean, covariance and region of the surfaces of skulls.

    Attributes:
        disc: Directions.
        mean: (2, N, N) mean radii, mm, finite.
        region: (N, N) where surfaces are functions of the direction; symmetric.
        covariance: Of deviations from the mean.
    """

    disc: Disc
    mean: Array
    region: Array
    covariance: Covariance

    def places(self, pixels: Array) -> Places:
        """Places of (2, N, N) chosen values, inner ones first."""
        at = np.argwhere(pixels)
        points = self.disc.directions * self.mean[1][..., None]
        return Places(np.ascontiguousarray(points[at[:, 1], at[:, 2]]), np.ascontiguousarray(at[:, 0]))


@dataclass(frozen=True)
class Solved:
    """Conditional surfaces.

    Attributes:
        mean: (2, N, N) mm; NaN where nothing was asked for.
        deviation: (2, N, N) standard deviation, mm; NaN where nothing was asked for, or if it was not wanted.
        observations: Number of values it rests on.
    """

    mean: Array
    deviation: Array
    observations: int


def solve(
    field: Field, observed: Array, trusted: Array, wanted: Array, thinning: Thinning, *, deviation: bool = False
) -> Solved:
    """Conditional mean of the surfaces of a skull.

    Args:
        field: What skulls are like.
        observed: (2, N, N) radii of this skull, mm of the frame.
        trusted: (2, N, N) which of them are believed; finite there.
        wanted: (N, N) pixels that are asked for.
        thinning: Which observations are kept, and their noise.
        deviation: Whether standard deviations are wanted too: on every second pixel, interpolated between.

    Raises:
        VolforgeError: No observation is trusted.
    """
    from scipy.linalg import cho_solve, solve_triangular

    from volforge.errors import VolforgeError

    asked = wanted & field.region
    kept = chosen(field, trusted, asked, thinning)
    if not kept.any():
        raise VolforgeError(
            "no bone of the skull can be trusted", "kriging", "is this a skull, and is it in the field?"
        )
    seen = field.places(kept)
    factor = factor_of(field.covariance.between(seen, seen), field.covariance.nugget_mm)
    weights = cho_solve(factor, (observed - field.mean)[kept], check_finite=False)
    both = np.stack([asked, asked])
    mean = np.full(field.mean.shape, np.nan)
    targets = field.places(both)
    values = [field.covariance.between(part, seen) @ weights for part in _parts(targets)]
    mean[both] = field.mean[both] + np.concatenate(values)
    spread = np.full(field.mean.shape, np.nan)
    if deviation:
        coarse = both & grid_of(field.disc, 2)
        places = field.places(coarse)
        found = []
        for part in _parts(places):
            half = solve_triangular(
                factor[0], field.covariance.between(seen, part), lower=True, check_finite=False, overwrite_b=True
            )
            found.append(field.covariance.of(part) - np.einsum("ij,ij->j", half, half))
        variance = np.full(field.mean.shape, np.nan)
        variance[coarse] = np.maximum(np.concatenate(found), 0)
        spread[both] = np.sqrt(np.stack([_between_pixels(v) for v in variance]))[both]
    return Solved(mean, spread, int(kept.sum()))


def chosen(field: Field, trusted: Array, asked: Array, thinning: Thinning) -> Array:
    """(2, N, N) observations that are kept: dense about what is asked for, and about its mirror image."""
    from scipy.ndimage import distance_transform_edt

    pixel = field.disc.pixel_mm
    unknown = asked & ~trusted.all(axis=0)
    if not unknown.any():
        unknown = asked
    distance = distance_transform_edt(~unknown) * pixel if unknown.any() else np.full(asked.shape, np.inf)
    kept = np.zeros(trusted.shape, bool)
    for steps in LEVELS:
        near = grid_of(field.disc, thinning.beyond * steps[0])
        for limit, step in zip((thinning.every_mm, thinning.second_mm, thinning.third_mm), steps, strict=True):
            near = near | ((distance <= limit) & grid_of(field.disc, step))
        # what stands opposite tells of the hole, where skulls are symmetric
        near |= asked[::-1] & grid_of(field.disc, steps[2])
        kept = trusted & near & field.region
        if kept.sum() <= MOST_OBSERVATIONS:
            break
    return kept


def grid_of(disc: Disc, step: int) -> Array:
    """(N, N) every so many pixels from the vertex, along both axes."""
    along = (np.arange(disc.shape[0]) - disc.half) % step == 0
    return along[:, None] & along[None, :]


def _parts(places: Places) -> list[Places]:
    """Places in blocks, so that memory is bounded."""
    n = len(places.points)
    return [Places(places.points[i : i + BLOCK], places.surfaces[i : i + BLOCK]) for i in range(0, max(n, 1), BLOCK)]


def factor_of(covariance: Array, nugget: float) -> tuple[Array, bool]:
    """Cholesky factor of a covariance and its nugget."""
    from scipy.linalg import cho_factor

    covariance[np.diag_indices_from(covariance)] += nugget**2
    factor: tuple[Array, bool] = cho_factor(covariance, lower=True, check_finite=False, overwrite_a=True)
    return factor


def _between_pixels(values: Array) -> Array:
    """Values on every second pixel, carried to the pixels between."""
    from volforge.tasks.implant.kriging.fill import filled

    return filled(values) if np.isfinite(values).any() else values
