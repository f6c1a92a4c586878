"""Where a measure belongs: the first columns of its row."""

from __future__ import annotations

from dataclasses import dataclass

from volforge.study.measures import Origin
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings


@dataclass(frozen=True)
class Place:
    """Fold and seed of an arm's results."""

    fold: int
    seed: int


def origin_of(settings: ArmSettings, place: Place, prediction: Prediction, side: str, label_source: str) -> Origin:
    """The first columns of the measures of a prediction."""
    return Origin(
        settings.study,
        settings.arm,
        place.fold,
        place.seed,
        settings.cohort,
        prediction.subject,
        prediction.scan,
        side,
        prediction.sample,
        label_source,
    )


def origin(settings: ArmSettings, place: Place, prediction: Prediction, side: str, structure: str = "") -> Origin:
    """The same with the label source of a structure, or of the prediction's reference."""
    own = next((p.label_source for p in settings.structures if p.structure == structure and p.label_source), "")
    return origin_of(settings, place, prediction, side, own or prediction.label_source)
