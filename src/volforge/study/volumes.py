"""A prediction and its reference on one grid, and what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.metrics.calibration import CalibrationCurve
from volforge.metrics.measure import Measure
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array


@dataclass
class CaseResult:
    """What was measured of a case.

    Attributes:
        measures: Measures with the side that each belongs to.
        curve: Calibration of labels, where the arm gives confidence.
    """

    measures: list[tuple[str, Measure]]
    curve: CalibrationCurve | None = None


@dataclass(frozen=True)
class Volumes:
    """A prediction and its reference on one grid, for measures and pictures.

    Attributes:
        source: What the arm read, or None.
        prediction: Label map, implant or image; None where there is none.
        reference: The same kind.
        body: Where image measures look.
        outline: Body of the source that the outline is compared with (image tasks).
        boundary: Defective skull (implants).
        spacing: Voxel size in mm.
    """

    source: Array | None
    prediction: Array | None
    reference: Array
    body: Array
    outline: Array | None
    boundary: Array | None
    spacing: tuple[float, float, float]

    @property
    def is_finite(self) -> bool:
        """Whether there is a prediction without NaN and infinity."""
        return self.prediction is not None and bool(np.isfinite(self.prediction).all())


def sided(settings: ArmSettings, measure: Measure) -> tuple[str, Measure]:
    """Side and structure of a measure that is named after a structure's key."""
    return in_sides(measure, {p.key: (p.structure, p.side) for p in settings.structures})


def in_sides(measure: Measure, sides: dict[str, tuple[str, str]]) -> tuple[str, Measure]:
    """Side and structure by the key that a measure is named after."""
    structure, side = sides[measure.structure]
    return side, Measure(measure.measure, measure.value, structure, measure.status, measure.n)
