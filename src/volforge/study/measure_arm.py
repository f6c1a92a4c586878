"""All measures of one arm, fold and seed: predictions in, measures.tsv and the pictures of some cases out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.metrics.calibration import CalibrationCurve, merged
from volforge.metrics.measure import Measure, number
from volforge.study.cases import Cohort
from volforge.study.chosen import chosen_cases
from volforge.study.jobs import MeasureJob
from volforge.study.measures import row, write_measures
from volforge.study.origin import Place, origin
from volforge.study.predictions import Prediction, read_predictions
from volforge.study.settings import ArmSettings
from volforge.study.strips import Strip, write_strips
from volforge.study.volumes import CaseResult, Volumes
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid
from volforge.whole_file import write_whole

Row = dict[str, object]
CASES = ("scan", "sample", "rank", "file", "badness")


class Measuring(Protocol):
    """What a task says of the measuring of one arm; made anew for each.

    Attributes:
        primary: Measure that ranks cases for pictures; names that begin with `mae` are better when smaller.
        primary_of: Structures that count for that; empty: all.
    """

    primary: str
    primary_of: tuple[str, ...]

    def load(self, prediction: Prediction) -> Volumes:
        """A prediction and what it is compared with, on the reference's canonical grid."""
        ...

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Measures of a case."""
        ...

    def of_all(self, every: list[Prediction]) -> tuple[list[Row], list[Row]]:
        """Rows of measures of all cases together, and the feature networks that they came from."""
        ...

    def picture(self, volumes: Volumes) -> Array:
        """(rows, columns, 3) uint8: a case opened to its slices."""
        ...

    def strips(self, every: list[Prediction]) -> list[tuple[Strip, Array]]:
        """Planes of one case for a picture of all arms side by side; none: no such picture."""
        ...


def measure_arm(settings: ArmSettings, job: MeasureJob, cohort: Cohort, task: Measuring) -> int:
    """Measure every prediction of an arm, and write the measures and the folder of cases.

    Args:
        settings: The arm.
        job: Predictions, place, and the files to write.
        cohort: Its cohort.
        task: What the task measures.

    Returns:
        Number of measures.
    """
    place = Place(job.fold, job.seed)
    rows: list[Row] = []
    curves: list[CalibrationCurve] = []
    scores: list[tuple[float, Prediction]] = []
    every = read_predictions(job.predictions)
    for prediction in every:
        volumes = task.load(prediction)
        extra = {
            name: on_scan_grid(job.predictions / file, cohort.record(prediction.scan), labels=False) if file else None
            for name, file in (("confidence", prediction.confidence), ("deviation", prediction.deviation))
        }
        result = task.measure(volumes, prediction, extra["confidence"], extra["deviation"])
        rows += [row(origin(settings, place, prediction, side, m.structure), m) for side, m in result.measures]
        curves += [result.curve] if result.curve is not None else []
        scores.append((case_score(task.primary, [m for _, m in result.measures], task.primary_of), prediction))
    more, networks = task.of_all(every)
    rows += more
    with whole_folder(job.cases) as folder:
        _write_cases(settings, task, scores, folder)
        write_whole(folder / "calibration.tsv", _calibration(curves))
        write_json(folder / "features.json", networks)
        strips = task.strips(every)
        if strips:
            write_strips(folder, strips)
    write_measures(job.out, rows)
    return len(rows)


def case_score(primary: str, measures: Sequence[Measure], structures: Collection[str] = ()) -> float:
    """How bad a case is, for choosing pictures: failures first.

    Args:
        primary: Measure that counts.
        measures: Of the case.
        structures: That count; empty: all.
    """
    values = [m.value for m in measures if m.measure == primary and (not structures or m.structure in structures)]
    if not values or any(math.isnan(v) for v in values):
        return math.inf
    mean = float(np.mean(values))
    return mean if primary.startswith("mae") else -mean


def _calibration(curves: list[CalibrationCurve]) -> str:
    columns = ("low", "high", "count", "confidence", "accuracy")
    if not curves:
        return as_tsv(columns, [])
    curve = merged(curves)
    return as_tsv(
        columns,
        [
            dict(zip(columns, (f"{a:.6g}", f"{b:.6g}", int(n), number(c), number(r)), strict=True))
            for a, b, n, c, r in zip(
                curve.edges[:-1], curve.edges[1:], curve.count, curve.confidence, curve.accuracy, strict=True
            )
        ],
    )


def _write_cases(settings: ArmSettings, task: Measuring, scores: list[tuple[float, Prediction]], out: Path) -> None:
    from PIL import Image

    lines: list[Mapping[str, object]] = []
    badness = {(p.scan, p.sample): score for score, p in scores}
    for word, prediction in chosen_cases(scores, settings.cases):
        case = (prediction.scan, prediction.sample)
        name = f"{prediction.scan}-{prediction.sample}.png"
        Image.fromarray(task.picture(task.load(prediction))).save(out / name)
        lines.append(dict(zip(CASES, (*case, word, name, f"{badness[case]:.6g}"), strict=True)))
    write_whole(out / "cases.tsv", as_tsv(CASES, lines))
