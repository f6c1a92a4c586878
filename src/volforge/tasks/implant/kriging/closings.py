"""Holes in a model's own skulls, closed the whole way from pose to surfaces: limits of doubt, and intervals of errors.

Each skull is left out of the mean surfaces; template and covariance know it still, so that signs and errors of a new
skull are a little larger. Limits come from the skull's own hole where its defective skull is known, else from a drawn
one; intervals from that and from another that is drawn, of the four kinds in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from volforge.cohort.splits import rank
from volforge.errors import VolforgeError
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.shapes import KINDS
from volforge.tasks.implant.kriging.case import Kriged, krige
from volforge.tasks.implant.kriging.doubts import limits_of, signs_of
from volforge.tasks.implant.kriging.fit import Fitted, KrigedModel, without
from volforge.tasks.implant.kriging.imputed import observed
from volforge.tasks.implant.kriging.intervals import SURFACES, Intervals, intervals_of
from volforge.volume.geometry import Array

LEAST = 3
LEAST_DEVIATION_MM = 1e-3

Skull = Callable[[int], tuple[Array, Array]]
"""(X, Y, Z) uint8 of the complete skull of a subject, and its affine."""
Defective = Callable[[int], Array | None]
"""(X, Y, Z) uint8 of the defective skull of a subject, or None where none is known."""


@dataclass(frozen=True)
class Closing:
    """A skull's holes that were closed.

    Attributes:
        signs: What the first hole shows, by sign of doubt.
        scores: Of each hole, (2, n) errors of both surfaces in it, in predicted standard deviations, without sign.
    """

    signs: dict[str, float]
    scores: tuple[Array, ...]


@dataclass(frozen=True)
class Judged:
    """What a model knows of its own errors.

    Attributes:
        limits: Of doubt, by sign; empty where fewer than 3 skulls could be closed.
        intervals: Of errors; None where fewer than 6 holes could be closed.
        skulls: How many were closed.
        holes: How many holes the intervals are from.
    """

    limits: dict[str, float]
    intervals: Intervals | None
    skulls: int
    holes: int

    @property
    def told(self) -> dict[str, object]:
        """Entries of model.json."""
        widths = None if self.intervals is None else np.round(self.intervals.half_widths, 4).tolist()
        return {
            "thresholds": self.limits,
            "thresholds_from": self.skulls,
            "half_widths": {} if widths is None else dict(zip(SURFACES, widths, strict=True)),
            "half_widths_from": self.holes,
        }


def judged(
    model: KrigedModel,
    found: Fitted,
    skull: Skull,
    defective: Defective,
    names: Sequence[str],
    seed: int,
) -> tuple[KrigedModel, Judged]:
    """The model with intervals of its errors, and its limits of doubt, from some of the skulls that it was fitted to.

    Args:
        model: Fitted, with its variances as they are used; its settings say how many skulls are closed.
        found: What it was made of.
        skull: Reads a complete skull by its number.
        defective: Reads the defective one.
        names: Of all skulls by number, for the choice and the seeds of drawn defects.
        seed: Of the choice.
    """
    closed = closings(model, found, skull, defective, names, seed)
    scores = [s for c in closed for s in c.scores]
    intervals = intervals_of(scores) if model.settings.calibrated else None
    limits = limits_of([c.signs for c in closed]) if len(closed) >= LEAST else {}
    holes = 0 if intervals is None else len(scores)
    return replace(model, intervals=intervals), Judged(limits, intervals, len(closed), holes)


def closings(
    model: KrigedModel,
    found: Fitted,
    skull: Skull,
    defective: Defective,
    names: Sequence[str],
    seed: int,
) -> list[Closing]:
    """Close holes of a model's own skulls; arguments as of `judged`."""
    chosen = set(rank({names[n] for n in found.used}, seed, "alarms")[: model.settings.closed])
    closed: list[Closing] = []
    for place, number in enumerate(found.used):
        if names[number] not in chosen:
            continue
        whole, affine = skull(number)
        holed = defective(number)
        own = replace(model, field=without(found.maps, place, model)) if len(found.maps) > LEAST else model
        kind = KINDS[int(np.random.default_rng([seed, *names[number].encode()]).integers(len(KINDS)))]
        if holed is None:
            holed = drawn(whole, affine, kind, (seed, "alarms", names[number]))
        first = None if holed is None else krige(own, holed, affine)
        if first is None or first.maps is None:
            continue
        scores = [scores_of(first, own, whole, affine)]
        if model.settings.calibrated:
            other = KINDS[(KINDS.index(kind) + 1 + len(closed) % (len(KINDS) - 1)) % len(KINDS)]
            again = drawn(whole, affine, other, (seed, "intervals", names[number]))
            second = None if again is None else krige(own, again, affine)
            scores += [] if second is None else [scores_of(second, own, whole, affine)]
        closed.append(Closing(signs_of(first), tuple(s for s in scores if s.shape[1])))
    return closed


def scores_of(closed: Kriged, model: KrigedModel, whole: Array, affine: Array) -> Array:
    """(2, n) errors of both surfaces where a hole was, in predicted standard deviations, without sign.

    Args:
        closed: A skull with a hole.
        model: What closed it.
        whole: (X, Y, Z) uint8, the complete skull.
        affine: Of both, mm, RAS.
    """
    if closed.maps is None:
        return np.zeros((2, 0), np.float32)
    truth = observed(whole, affine, closed.registered.pose, model.field).radii
    hole = np.logical_or.reduce([h.pixels for h in closed.holes if not h.left_open])
    looked = hole & np.isfinite(truth).all(axis=0) & np.isfinite(closed.maps.deviation).all(axis=0)
    error = np.abs(closed.maps.maps - truth)[:, looked]
    return np.asarray(error / np.maximum(closed.maps.deviation[:, looked], LEAST_DEVIATION_MM), np.float32)


def drawn(skull: Array, affine: Array, kind: str, words: Sequence[str | int]) -> Array | None:
    """A skull with a drawn defect, (X, Y, Z) uint8; None where none could be drawn."""
    try:
        defect = draw_defect(skull > 0, affine, DefectOptions(kind), words)
    except VolforgeError:
        return None  # such a skull tells nothing; the record says how many did
    return np.ascontiguousarray((skull > 0) & ~defect.mask).view(np.uint8)
