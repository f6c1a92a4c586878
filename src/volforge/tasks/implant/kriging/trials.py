"""Holes cut into the skulls that a model was fitted to: how large its variances should be.

Each skull in turn is left out of the mean. Holes are drawn in the disc by a seed of their own, whatever the data:
one primary disc of 18 to 48 mm radius and up to five smaller ones on its rim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.fit import KrigedModel, with_gain, without
from volforge.tasks.implant.kriging.solve import Field, Thinning, solve
from volforge.volume.geometry import Array

HOLES = 2
WIDE_MM = (18.0, 48.0)
QUANTILE = 0.8
RIM_MM = 3.0


@dataclass(frozen=True)
class Trial:
    """One hole in one skull.

    Attributes:
        skull: Number of the skull.
        hole: (N, N) pixels.
        error: (2, n) predicted less true radius of both surfaces in the hole, mm.
        deviation: (2, n) predicted standard deviation, mm.
    """

    skull: int
    hole: Array
    error: Array
    deviation: Array


def trials(model: KrigedModel, maps: Array, holes: int = HOLES) -> Iterator[Trial]:
    """Cut holes into all skulls and close them again.

    Args:
        model: Fitted to these skulls.
        maps: (n, 2, N, N) their surfaces.
        holes: Per skull.
    """
    for number, observed in enumerate(maps):
        field = without(maps, number, model)
        for index in range(holes):
            hole = drawn_hole(field, np.random.default_rng([number, index]))
            yield tried(field, observed, hole, number, model.settings.thinning)


def tried(field: Field, observed: Array, hole: Array, number: int, thinning: Thinning) -> Trial:
    """Close one hole of one skull, whose bone is trusted up to 3 mm from it."""
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(~hole) * field.disc.pixel_mm
    seen = np.isfinite(observed).all(axis=0)
    trusted = np.stack([seen & (distance > RIM_MM)] * 2)
    wanted = distance <= RIM_MM
    found = solve(field, observed, trusted, wanted & field.region, thinning, deviation=True)
    looked = hole & seen
    return Trial(number, hole, (found.mean - observed)[:, looked], found.deviation[:, looked])


def drawn_hole(field: Field, rng: np.random.Generator) -> Array:
    """(N, N) a hole somewhere in the region."""
    points = field.disc.directions * field.mean[1][..., None]
    places = np.argwhere(field.region)
    at = places[rng.integers(len(places))]
    centre = points[at[0], at[1]]
    radius = rng.uniform(*WIDE_MM)
    hole = np.linalg.norm(points - centre, axis=-1) < radius
    for _ in range(int(rng.integers(0, 6))):
        way = rng.normal(size=3)
        second = centre + way / np.linalg.norm(way) * radius
        second *= np.linalg.norm(centre) / np.linalg.norm(second)
        hole |= np.linalg.norm(points - second, axis=-1) < rng.uniform(10, 22)
    return np.asarray(hole & field.region)


def calibrated(model: KrigedModel, maps: Array) -> tuple[KrigedModel, dict[str, float]]:
    """The model with variances by which four fifths of all errors of trial holes lie in their interval of 80 %.

    Returns:
        The model, and the factors of the standard deviations.
    """
    from scipy.special import ndtri

    scores: list[list[Array]] = [[], []]
    for trial in trials(model, maps):
        for surface in (0, 1):
            scores[surface].append(np.abs(trial.error[surface]) / np.maximum(trial.deviation[surface], 1e-3))
    wanted = float(ndtri((1 + QUANTILE) / 2))
    factor = [float(np.quantile(np.concatenate(s), QUANTILE)) / wanted for s in scores]
    made = with_gain(model, (factor[0] ** 2, factor[1] ** 2))
    return made, {"inner": round(factor[0], 4), "outer": round(factor[1], 4)}
