"""What no learning gives of label maps: threshold and components, and the mean label map."""

from __future__ import annotations

from collections.abc import Iterator

from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, Row
from volforge.study.predictor import Predictor, learnt_from
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array


def labelled(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Iterator[tuple[Array, Array]]:
    """Label map and body of every training scan that has labels."""
    for row in learnt_from(settings, [r for r in rows if cohort.has(r["scan"], "labels")]):
        labels = cohort.read(row["scan"], "labels")
        yield labels, cohort.body(row["scan"], labels.shape)


def threshold_components(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """Bone above a threshold, in pieces, by the mean boxes of the structures."""
    from volforge.baselines import segmentation

    boxes = segmentation.mean_boxes(labelled(settings, cohort, rows), [p.id for p in settings.structures])

    def predictor(case: Case) -> tuple[Array, Array | None]:
        if not cohort.has(case.scan, "image"):
            raise VolforgeError("the scan has no image to threshold", case.scan, "use the baseline `mean_labels`")
        image = cohort.read(case.scan, "image")
        body = cohort.body(case.scan, image.shape)
        return segmentation.threshold_components(image, body, boxes, settings.options["threshold_hu"]), None

    return predictor


def mean_labels(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The most frequent label of the training scans, laid on the body."""
    from volforge.baselines import segmentation

    prior = segmentation.mean_labels(labelled(settings, cohort, rows), [p.id for p in settings.structures])

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return segmentation.laid_on(prior, cohort.body(case.scan, cohort.grid(case.scan).shape))

    return predictor
