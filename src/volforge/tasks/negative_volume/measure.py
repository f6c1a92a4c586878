"""Measures of an arm's negative volumes: what they are, and how far from those of the scans' own labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.errors import VolforgeError
from volforge.metrics.measure import Measure, Status, nothing
from volforge.metrics.repeatability import icc_1_1, smallest_detectable_change
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures
from volforge.shape.joint_record import FILE, SIDE_MEASURES, VOLUMES, value_of
from volforge.study.cases import Cohort
from volforge.study.chosen import chosen_cases
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import CASES
from volforge.study.measures import Origin, row, write_measures
from volforge.study.origin import Place, origin_of
from volforge.study.predictions import Prediction, read_predictions
from volforge.study.settings import ArmSettings
from volforge.tasks.negative_volume.ids import BONES, IDS
from volforge.tasks.negative_volume.joints import SIDES
from volforge.volume.boxes import holding
from volforge.volume.folders import read_json, whole_folder, write_json
from volforge.volume.geometry import Array, Grid
from volforge.volume.restore import on_scan_grid
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from volforge.tasks.negative_volume.below import Scene

STRUCTURES = ("joint_space", "negative_volume")
PREDICTED = "predicted"


def measure(settings: ArmSettings, job: MeasureJob) -> int:
    """Measure the negative volumes of an arm.

    Args:
        settings: The arm.
        job: Its predictions, and as reference those of the arm that inflates the scans' own labels (the same for that
            arm itself); the measures, pictures and 3-D views of some cases to write.

    Returns:
        Number of measures.
    """
    cohort, predictions, reference = Cohort(job.scans), job.predictions, job.reference
    if reference is None:
        raise VolforgeError("negative volumes are compared with those of an arm", "", "name its folder: --reference")
    place, out, cases = Place(job.fold, job.seed), job.out, job.cases
    own_labels = settings.own["joint"]["inflation"]["labels_from"] == "labels"
    compares = predictions.resolve() != reference.resolve()
    rows: list[dict[str, object]] = []
    scores: list[tuple[float, Prediction]] = []
    wanted = {p.scan: p for p in read_predictions(reference)}
    repeats: dict[tuple[str, str], list[list[float]]] = {}
    every = [(p, _record(predictions, p)) for p in read_predictions(predictions)]
    expected = expected_of([found for _, found in every])
    for prediction, found in every:
        source = prediction.label_source if own_labels else PREDICTED
        described = [*_of_sides(found, expected), *_of_asymmetry(found, expected)]
        rows += [row(origin_of(settings, place, prediction, side, source), m) for side, m in described]
        for side in SIDES:
            for kind, by_name in found["sides"].get(side, {}).get("repeats", {}).items():
                for name, values in by_name.items():
                    repeats.setdefault((kind, name), []).append([math.nan if v is None else v for v in values])
        score = math.nan
        if compares:
            other = wanted[prediction.scan]
            against = _compared(cohort, predictions, prediction, reference, other, settings)
            against += _index_errors(found, _record(reference, other))
            rows += [row(origin_of(settings, place, prediction, side, other.label_source), m) for side, m in against]
            known = [m.value for _, m in against if (m.measure, m.structure) == ("dice", "joint_space")]
            score = -float(np.mean(known)) if known else math.inf
        else:  # of the reference itself the most asymmetric cases are the ones to look at
            asymmetry = found["asymmetry"].get("joint_space_mm3", {}).get("percent")
            score = math.inf if asymmetry is None else float(asymmetry)
        scores.append((math.inf if math.isnan(score) else score, prediction))
    rows += _repeatability(settings, place, repeats)
    with whole_folder(cases) as folder:
        words = {} if compares else {"worst": "most asymmetric", "best": "least asymmetric"}
        _write_cases(settings, cohort, predictions, scores, words, folder)
        _write_strips(settings, cohort, predictions, reference, folder)
        write_whole(folder / "calibration.tsv", as_tsv(("low", "high", "count", "confidence", "accuracy"), []))
        write_json(folder / "features.json", [])
    write_measures(out, rows)
    return len(rows)


def _record(folder: Path, prediction: Prediction) -> dict[str, Any]:
    """negative_volume.json of a case; without a side where there was no label map."""
    if not prediction.file:
        return {"sides": {}, "asymmetry": {}}
    content: dict[str, Any] = read_json(folder / "shapes" / prediction.scan / FILE)
    return content


def structure_of(measure: str) -> str:
    """What a measure of a joint speaks of."""
    return "negative_volume" if measure.startswith("negative_volume") else "joint_space"


@dataclass(frozen=True)
class Expected:
    """What an arm measures where it can: a side that failed has failed in all of it.

    Attributes:
        of_side: Names of the measures of a side.
        mirrored: Measure and structure of the comparison of a joint with the mirrored other one.
    """

    of_side: tuple[str, ...]
    mirrored: tuple[tuple[str, str], ...]


def expected_of(records: Sequence[Mapping[str, Any]]) -> Expected:
    """What some side or some case of an arm has a row for; the volumes in any case.

    Args:
        records: negative_volume.json of all its cases.
    """
    names = dict.fromkeys(VOLUMES)
    shapes: dict[tuple[str, str], None] = {}
    for found in records:
        for record in found["sides"].values():
            if record["status"] == "ok":
                names |= dict.fromkeys([n for n in SIDE_MEASURES if n in record])
                names |= dict.fromkeys([_within(n, line) for line in record.get("sensitivity", []) for n in VOLUMES])
        shapes |= dict.fromkeys((e["measure"], e["structure"]) for e in found["asymmetry"].get("shapes", []))
    return Expected(tuple(names), tuple(shapes))


def _within(name: str, line: Mapping[str, Any]) -> str:
    return f"{name.removesuffix('_mm3')}_within_{line['r_max_mm']:g}_mm3"


def failure_of(record: Mapping[str, Any] | None) -> Status | None:
    """Why a side has no joint; None where it has one."""
    if record is None or record["status"] == "missing":
        return "missing_prediction"
    return None if record["status"] == "ok" else "empty_prediction"


def _of_sides(found: Mapping[str, Any], expected: Expected) -> list[tuple[str, Measure]]:
    measures: list[tuple[str, Measure]] = []
    for side in SIDES:
        record = found["sides"].get(side)
        status = failure_of(record)
        if status is not None:
            measures += [(side, nothing(name, status, structure_of(name))) for name in expected.of_side]
            continue
        for name in SIDE_MEASURES:
            if name in record:
                value = value_of(found, side, name)
                known: Status = "undefined" if math.isnan(value) else "ok"
                measures.append((side, Measure(name, value, structure_of(name), known, 1)))
        for line in record.get("sensitivity", []):
            for name in VOLUMES:
                within, value = _within(name, line), line[name]
                shown = (
                    nothing(within, "undefined", structure_of(name))
                    if value is None
                    else Measure(within, value, structure_of(name), "ok", 1)
                )
                measures.append((side, shown))
    return measures


def _of_asymmetry(found: Mapping[str, Any], expected: Expected) -> list[tuple[str, Measure]]:
    failed = next((f for f in (failure_of(found["sides"].get(s)) for s in SIDES) if f is not None), None)
    without: Status = failed or "undefined"
    measures = []
    for name in VOLUMES:
        index = found["asymmetry"].get(name, {})
        for key, measure in (("percent", "asymmetry_index_percent"), ("signed_percent", "asymmetry_signed_percent")):
            value = index.get(key)
            shown = (
                nothing(measure, without, structure_of(name))
                if value is None
                else Measure(measure, value, structure_of(name), "ok", 1)
            )
            measures.append(("", shown))
    shapes = {(e["measure"], e["structure"]): e["value"] for e in found["asymmetry"].get("shapes", [])}
    for measure, structure in expected.mirrored:
        value = shapes.get((measure, structure))
        if value is not None:
            measures.append(("", Measure(measure, value, structure, "ok", 1)))
        elif failed is not None:
            measures.append(("", nothing(measure, failed, structure)))
    return measures


def _masks(values: Array, side: str) -> dict[str, Array]:
    ids = IDS[side]
    return {"joint_space": values == ids["joint_space"], "negative_volume": holding(values, list(ids.values()))}


def _compared(
    cohort: Cohort,
    folder: Path,
    prediction: Prediction,
    reference_folder: Path,
    reference: Prediction,
    settings: ArmSettings,
) -> list[tuple[str, Measure]]:
    """Overlap with the negative volume of the scan's own labels, by side."""
    record: dict[str, Any] = cohort.record(prediction.scan)
    metrics = SegmentationMetrics(tuple(settings.metrics["tolerances_mm"]), settings.metrics["surface"])
    compared = [m for m in metrics.names() if m in ("dice", "volume_error_percent") or _is_distance(m)]
    if not prediction.file or not reference.file:
        return [(side, nothing(m, "missing_prediction", s)) for side in SIDES for s in STRUCTURES for m in compared]
    spacing = Grid.of(record["grid"]).spacing_mm
    both = ((prediction, folder), (reference, reference_folder))
    volumes = [on_scan_grid(p.path(f), record, labels=True) for p, f in both]
    found = []
    for side in SIDES:
        one, other = (_masks(v, side) for v in volumes)
        for name in STRUCTURES:
            measures = measure_structures(
                one[name].astype(np.uint8), other[name].astype(np.uint8), spacing, {name: 1}, metrics
            )
            found += [(side, m) for m in measures if m.measure in compared]
    return found


def _is_distance(measure: str) -> bool:
    """HD95 and ASSD, of voxels or of surface elements."""
    return measure.startswith(("hd95_", "assd_")) and "pooled" not in measure


def _index_errors(found: Mapping[str, Any], reference: Mapping[str, Any]) -> list[tuple[str, Measure]]:
    """How far the signed asymmetry lies from that of the scan's own labels, in points."""
    measures = []
    for name in VOLUMES:
        one, other = (r["asymmetry"].get(name, {}).get("signed_percent") for r in (found, reference))
        if other is None:
            continue
        structure = structure_of(name)
        shown = (
            nothing("index_error_percent", "empty_prediction", structure)
            if one is None
            else Measure("index_error_percent", abs(one - other), structure, "ok", 1)
        )
        measures.append(("", shown))
    return measures


def _repeatability(
    settings: ArmSettings, place: Place, repeats: Mapping[tuple[str, str], list[list[float]]]
) -> list[dict[str, object]]:
    """Intraclass correlation and smallest detectable change over all joints of the fold."""
    empty = Origin(settings.study, settings.arm, place.fold, place.seed, settings.cohort, label_source="")
    rows = []
    for (kind, name), groups in repeats.items():
        known = [v for g in groups for v in g if math.isfinite(v)]
        mean = float(np.mean(known)) if known else 0.0
        change = smallest_detectable_change(groups)
        stem = name.removesuffix("_mm3").removesuffix("_mm")
        for measure, value in (
            (f"repeatability_{kind}_icc_{stem}", icc_1_1(groups)),
            (f"repeatability_{kind}_change_{stem}_percent", 100 * change / mean if mean else math.nan),
        ):
            status = "undefined" if math.isnan(value) else "ok"
            used = sum(all(math.isfinite(v) for v in g) for g in groups)
            rows.append(row(empty, Measure(measure, value, structure_of(name), status, used)))  # type: ignore[arg-type]
    return rows


def _write_cases(
    settings: ArmSettings,
    cohort: Cohort,
    folder: Path,
    scores: list[tuple[float, Prediction]],
    words: Mapping[str, str],
    out: Path,
) -> None:
    from PIL import Image

    from volforge.tasks.negative_volume.picture import joint_picture
    from volforge.tasks.negative_volume.view import write_view

    lines: list[Mapping[str, object]] = []
    badness = {(p.scan, p.sample): score for score, p in scores}
    for word, prediction in chosen_cases(scores, settings.cases):
        record: dict[str, Any] = cohort.record(prediction.scan)
        values = on_scan_grid(prediction.path(folder), record, labels=True)
        shapes = folder / "shapes" / prediction.scan
        bones = on_scan_grid(shapes / BONES, record, labels=True)
        image = cohort.read(prediction.scan, "image") if cohort.has(prediction.scan, "image") else None
        grid = Grid.of(record["grid"])
        name = f"{prediction.scan}-{prediction.sample}"
        Image.fromarray(joint_picture(image, bones, values, grid.spacing_mm)).save(out / f"{name}.png")
        if word and settings.own["joint"]["inflation"]["meshes"]:  # a few: each is half a megabyte of the page
            write_view(out / f"{name}.view.json", shapes, values, grid)
        rank = words.get(word, word)
        score = f"{badness[prediction.scan, prediction.sample]:.6g}"
        content = (prediction.scan, prediction.sample, rank, f"{name}.png", score)
        lines.append(dict(zip(CASES, content, strict=True)))
    write_whole(out / "cases.tsv", as_tsv(CASES, lines))


def _write_strips(settings: ArmSettings, cohort: Cohort, folder: Path, reference: Path, out: Path) -> None:
    """One joint of the arm from below: the first of the reference's, so that all arms show the same one."""
    from volforge.study.strips import write_strips
    from volforge.tasks.negative_volume.below import View, strip_of, view_of

    view: View | None = None
    for prediction in read_predictions(reference):
        if view is None and prediction.file:
            record: dict[str, Any] = cohort.record(prediction.scan)
            values = on_scan_grid(prediction.path(reference), record, labels=True)
            views = (view_of(prediction.scan, side, values, Grid.of(record["grid"])) for side in SIDES)
            view = next((v for v in views if v is not None), None)
    if view is None:
        return
    own = next((p for p in read_predictions(folder) if p.scan == view.scan), None)
    of_labels = settings.own["joint"]["inflation"]["labels_from"] == "labels"
    source = own.label_source if own is not None else ""
    words = f"labels by {'hand' if source == 'expert' else source}" if of_labels else "predicted"
    scene = None if own is None or not own.file else _scene(cohort, folder, own, view.side)
    write_strips(out, [strip_of(view, scene, f"{settings.arm}: {words}")])


def _scene(cohort: Cohort, folder: Path, prediction: Prediction, side: str) -> Scene:
    """A joint of a prediction as it is seen, with widths where there are meshes."""
    from volforge.shape.joint_files import CONDYLE
    from volforge.tasks.negative_volume.below import Scene
    from volforge.tasks.negative_volume.view import read_ply

    record: dict[str, Any] = cohort.record(prediction.scan)
    shapes = folder / "shapes" / prediction.scan
    mesh = shapes / f"{side}_{CONDYLE}.ply"
    condyle, width = read_ply(mesh) if mesh.exists() else (None, None)
    values = on_scan_grid(prediction.path(folder), record, labels=True)
    return Scene(values, on_scan_grid(shapes / BONES, record, labels=True), Grid.of(record["grid"]), condyle, width)
