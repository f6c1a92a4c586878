"""Limits of doubt, set at the fit: what a model's own skulls show when holes in them are closed.

Each skull is left out of the mean surfaces; template and covariance know it still, so that signs of a new skull are a
little larger. What is closed is the skull's own hole where its defective skull is known, else a drawn one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from volforge.cohort.splits import rank
from volforge.errors import VolforgeError
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.shapes import KINDS
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.doubts import limits_of, signs_of
from volforge.tasks.implant.kriging.fit import Fitted, KrigedModel, without
from volforge.volume.geometry import Array

MOST = 16
LEAST = 3

Defective = Callable[[int], Array | None]
"""(X, Y, Z) uint8 of the defective skull of a subject, or None where none is known."""


def alarm_limits(
    model: KrigedModel,
    found: Fitted,
    skull: Callable[[int], tuple[Array, Array]],
    defective: Defective,
    names: Sequence[str],
    seed: int,
    most: int = MOST,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Limits of doubt of a model, from some of the skulls that it was fitted to.

    Args:
        model: Fitted, with its variances as they are used.
        found: What it was made of.
        skull: Reads a complete skull by its number.
        defective: Reads the defective one.
        names: Of all skulls by number, for the choice and the seeds of drawn defects.
        seed: Of the choice.
        most: How many skulls are closed at most.

    Returns:
        Limits by sign, empty where fewer than 3 skulls could be closed; and the signs of each.
    """
    chosen = set(rank({names[n] for n in found.used}, seed, "alarms")[:most])
    cases: list[dict[str, float]] = []
    for place, number in enumerate(found.used):
        if names[number] not in chosen:
            continue
        whole, affine = skull(number)
        holed = defective(number)
        if holed is None:
            holed = drawn(whole, affine, names[number], seed)
        if holed is None:
            continue
        own = replace(model, field=without(found.maps, place, model)) if len(found.maps) > LEAST else model
        closed = krige(own, holed, affine)
        if closed.maps is not None:
            cases.append(signs_of(closed))
    return (limits_of(cases) if len(cases) >= LEAST else {}), cases


def drawn(skull: Array, affine: Array, name: str, seed: int) -> Array | None:
    """A skull with a drawn defect, (X, Y, Z) uint8; None where none could be drawn."""
    kind = KINDS[int(np.random.default_rng([seed, *name.encode()]).integers(len(KINDS)))]
    try:
        defect = draw_defect(skull > 0, affine, DefectOptions(kind), (seed, "alarms", name))
    except VolforgeError:
        return None  # such a skull tells nothing about doubts; the record says how many did
    return np.ascontiguousarray((skull > 0) & ~defect.mask).view(np.uint8)
