"""Predictions of an arm: of its models, of its baseline, or files made elsewhere."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.errors import VolforgeError
from volforge.study.cases import Case, Cohort, Row, measured_cases, of_modality, training_rows
from volforge.study.outside import prediction_file, unmatched
from volforge.study.predictions import JOINT_COLUMNS, JOINTS, Prediction, by_structure, write_predictions
from volforge.study.settings import ArmSettings
from volforge.volume.companions import companions
from volforge.volume.folders import sha256_of, sha256_of_text, whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid, write_on_source_grid
from volforge.whole_file import write_whole

# a prediction on a scan's canonical grid, and its confidence where it has one
Predictor = Callable[[Case], tuple[Array, Array | None]]


@dataclass(frozen=True)
class Weights:
    """Folders of trained models.

    Attributes:
        models: By name, of the arm.
        localiser: Of the study, or None.
        device: `cpu` or `cuda`.
    """

    models: Mapping[str, Path] = field(default_factory=dict)
    localiser: Path | None = None
    device: str = "cpu"


def predict(
    settings: ArmSettings, scans: Path, fold: int, out: Path, weights: Weights | None = None, seed: int = 0
) -> int:
    """Predict all test cases of a fold into a folder that appears whole.

    Args:
        settings: The arm.
        scans: scans.tsv of the cohort.
        fold: Fold, or 0 for the split `test`.
        out: Folder `predictions`: a volume per case on the grid of its source file, and predictions.tsv.
        weights: Models of a trained arm.
        seed: Of their training; samples are drawn from it.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: Nothing to measure, or nothing to learn from.
    """
    start = time.perf_counter()
    cohort = Cohort(scans)
    cases = measured_cases(settings, cohort, fold)
    if settings.predictions:
        _check_outside(settings, cohort, cases)
        with whole_folder(out) as scratch:
            write_predictions(scratch, [_outside(settings, case) for case in cases])
        return len(cases)
    if settings.baseline is None:
        if settings.task == "semantic_synthesis":
            return _with_generator(settings, cohort, cases, out, weights or Weights(), seed)
        return _with_models(settings, cohort, cases, out, weights or Weights())
    rows = training_rows(settings, cohort, fold)
    predictor = _PREDICTORS[str(settings.baseline)](settings, cohort, rows)
    labels = not settings.is_image_task
    with whole_folder(out) as scratch:
        write_predictions(scratch, [_written(cohort, case, predictor, scratch, labels=labels) for case in cases])
        write_json(scratch / "cost.json", cost(len(cases), time.perf_counter() - start))
    return len(cases)


def named_folders(words: Sequence[str]) -> dict[str, Path]:
    """Folders of models from `NAME=FOLDER`.

    Raises:
        VolforgeError: A word is none.
    """
    found = {}
    for word in words:
        name, separator, folder = word.partition("=")
        if not separator:
            raise VolforgeError(f"'{word}' is not NAME=FOLDER", "--model", "write --model joint=path/of/the/model")
        found[name] = Path(folder)
    return found


def _with_generator(
    settings: ArmSettings, cohort: Cohort, cases: list[Case], out: Path, weights: Weights, seed: int
) -> int:
    from volforge.study.predict_synthesis import load_generator, paint_cases

    start = time.perf_counter()
    (folder,) = weights.models.values()
    generator = load_generator(folder, weights.device, seed)
    with whole_folder(out) as scratch:
        write_predictions(scratch, paint_cases(settings, cohort, cases, generator, scratch, weights.device))
        device = "CPU" if weights.device == "cpu" else _device_name()
        write_json(scratch / "cost.json", cost(len(cases), time.perf_counter() - start, device))
    return len(cases)


def _with_models(settings: ArmSettings, cohort: Cohort, cases: list[Case], out: Path, weights: Weights) -> int:
    from volforge.study.predict_models import segmenter

    start = time.perf_counter()
    one = segmenter(settings, cohort, weights.models, weights.localiser, weights.device)
    predictions, joints = [], []
    with whole_folder(out) as scratch:
        for case in cases:
            if not cohort.has(case.scan, "image"):  # a failure that is counted, not the end of all others
                predictions.append(Prediction(case.scan, case.subject, case.reference, case.label_source))
                continue
            found, rows = one(case)
            written = _written(cohort, case, lambda _, f=found: (f.labels, f.confidence), scratch, labels=True)  # type: ignore[misc]
            plain = by_structure((s, side, value) for s, side, value, _ in found.cross_entropy)
            doubled = by_structure((s, side, value) for s, side, _, value in found.cross_entropy)
            predictions.append(replace(written, cross_entropy_nats=plain, legacy_cross_entropy_nats=doubled))
            joints += rows
        write_predictions(scratch, predictions)
        if joints:
            write_whole(scratch / JOINTS, as_tsv(JOINT_COLUMNS, joints))
        device = "CPU" if weights.device == "cpu" else _device_name()
        write_json(scratch / "cost.json", cost(len(cases), time.perf_counter() - start, device))
    return len(cases)


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def cost(cases: int, seconds: float, device: str = "CPU") -> dict[str, object]:
    """What a prediction job took: wall time and the peak of resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"cases": cases, "seconds": round(seconds, 3), "peak_memory_gib": round(peak, 3), "device": device}


def _check_outside(settings: ArmSettings, cohort: Cohort, cases: list[Case]) -> None:
    """Look at all files of others before anything is measured, and name everything that is wrong with them.

    Raises:
        VolforgeError: Files on another grid, unreadable ones, label maps that are none or hold none of the ids.
    """
    from volforge.study.measure_case import whole_numbers

    wrong = []
    ids = {p.id for p in settings.structures}
    for case in cases:
        path = prediction_file(settings.predictions, case.scan)
        if path is None:
            continue
        try:
            values = on_scan_grid(
                path, cohort.record(case.scan), labels=not settings.is_image_task, structures=cohort.structures
            )
            if not settings.is_image_task:
                labels = whole_numbers(values, str(path))
                present = set(np.unique(labels).tolist()) - {0}
                if settings.task == "segmentation" and present and not present & ids:
                    remedy = f"ids of the study: {', '.join(map(str, sorted(ids)))}"
                    text = f"holds the ids {sorted(present)[:8]}, none of the study's structures"
                    raise VolforgeError(text, str(path), remedy)
        except VolforgeError as error:
            wrong.append(str(error))
    strangers = unmatched(settings.predictions, {r["scan"] for r in cohort.rows})
    if strangers:
        print(f"{len(strangers)} files are named after no scan: {', '.join(strangers[:8])}", file=sys.stderr)
    if wrong:
        raise VolforgeError(f"{len(wrong)} predictions cannot be used:\n" + "\n".join(wrong), settings.predictions)


def _sha256(path: Path) -> str:
    beside = companions(path)
    return sha256_of(path) if not beside else sha256_of_text("".join(sha256_of(p) for p in (path, *beside)))


def _outside(settings: ArmSettings, case: Case) -> Prediction:
    path = prediction_file(settings.predictions, case.scan)
    named = {"file": str(path.absolute()), "sha256": _sha256(path)} if path is not None else {}
    return Prediction(case.scan, case.subject, case.reference, case.label_source, **named)  # type: ignore[arg-type]


def _written(cohort: Cohort, case: Case, predictor: Predictor, folder: Path, *, labels: bool) -> Prediction:
    values, confidence = predictor(case)
    record = cohort.record(case.scan)
    path = folder / f"{case.scan}.nii.gz"
    values = values.astype(np.uint8) if values.dtype == bool else values
    write_on_source_grid(path, values, record, labels=labels)
    named = {"file": path.name, "sha256": sha256_of(path)}
    if confidence is not None:
        beside = folder / f"{case.scan}.confidence.nii.gz"
        write_on_source_grid(beside, confidence, record, labels=False)
        named["confidence"] = beside.name
    return Prediction(case.scan, case.subject, case.reference, case.label_source, **named)  # type: ignore[arg-type]


def _learnt_from(settings: ArmSettings, rows: list[Row]) -> list[Row]:
    if not rows:
        raise VolforgeError(
            f"no training scan for the baseline `{settings.baseline}`",
            settings.cohort,
            "look at the columns split and fold of the sheet",
        )
    return rows


def _labelled(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Iterator[tuple[Array, Array]]:
    for row in _learnt_from(settings, [r for r in rows if cohort.has(r["scan"], "labels")]):
        labels = cohort.read(row["scan"], "labels")
        yield labels, cohort.body(row["scan"], labels.shape)


def _threshold_components(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.segmentation import mean_boxes, threshold_components

    boxes = mean_boxes(_labelled(settings, cohort, rows), [p.id for p in settings.structures])

    def predictor(case: Case) -> tuple[Array, Array | None]:
        if not cohort.has(case.scan, "image"):
            raise VolforgeError("the scan has no image to threshold", case.scan, "use the baseline `mean_labels`")
        image = cohort.read(case.scan, "image")
        body = cohort.body(case.scan, image.shape)
        return threshold_components(image, body, boxes, settings.options["threshold_hu"]), None

    return predictor


def _mean_labels(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.segmentation import laid_on, mean_labels

    prior = mean_labels(_labelled(settings, cohort, rows), [p.id for p in settings.structures])

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return laid_on(prior, cohort.body(case.scan, cohort.grid(case.scan).shape))

    return predictor


def _mean_implant(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.implant import blind_implant, mean_implant

    with_implant = [r for r in rows if cohort.has(r["scan"], "implant") and cohort.has(r["scan"], "defective")]
    scans = [r["scan"] for r in _learnt_from(settings, with_implant)]

    shares, volume = mean_implant((cohort.read(s, "implant"), cohort.read(s, "defective")) for s in scans)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return blind_implant(shares, volume, cohort.read(case.scan, "defective"))

    return predictor


def _mirror(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.implant import mirror

    def predictor(case: Case) -> tuple[Array, Array | None]:
        spacing = cohort.grid(case.scan).spacing_mm
        return mirror(cohort.read(case.scan, "defective"), spacing), None

    return predictor


def _closing(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.implant import close

    def predictor(case: Case) -> tuple[Array, Array | None]:
        spacing = cohort.grid(case.scan).spacing_mm
        return close(cohort.read(case.scan, "defective"), spacing, settings.options["closing_mm"]), None

    return predictor


def _real(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    def predictor(case: Case) -> tuple[Array, Array | None]:
        return cohort.target_image(case.reference), None

    return predictor


def _target_rows(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> list[str]:
    usable = [r for r in of_modality(rows, settings.target) if cohort.has(r["scan"], "image")]
    return [r["scan"] for r in _learnt_from(settings, usable)]


def _white_noise(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.image import spread_of, white_noise

    names = _target_rows(settings, cohort, rows)
    images = ((cohort.target_image(n), n) for n in names)
    mean, deviation = spread_of((image, cohort.body(n, image.shape)) for image, n in images)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        seed = int(sha256_of_text(case.scan)[:8], 16)
        return white_noise(
            cohort.body(case.scan, cohort.grid(case.scan).shape), mean, deviation, seed, settings.is_hounsfield
        ), None

    return predictor


def _other_subject(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.image import other_subject

    names = _target_rows(settings, cohort, rows)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        name = names[int(sha256_of_text(case.scan)[:8], 16) % len(names)]
        image = cohort.target_image(name)
        body = cohort.body(case.scan, cohort.grid(case.scan).shape)
        return other_subject(image, cohort.body(name, image.shape), body, settings.is_hounsfield), None

    return predictor


def _constant(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.image import constant

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return constant(
            cohort.body(case.scan, cohort.grid(case.scan).shape),
            settings.options["constant_hu"],
            settings.is_hounsfield,
        ), None

    return predictor


def _identity(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.image import identity

    def predictor(case: Case) -> tuple[Array, Array | None]:
        image = cohort.read(case.scan, "image")
        return identity(image, cohort.body(case.scan, image.shape)), None

    return predictor


def _histogram_matching(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.image import match_histogram, quantiles_of

    targets = _learnt_from(settings, [r for r in of_modality(rows, settings.target) if cohort.has(r["scan"], "image")])
    images = ((cohort.read(r["scan"], "image"), r["scan"]) for r in targets)
    wanted = quantiles_of((image, cohort.body(scan, image.shape)) for image, scan in images)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        image = cohort.read(case.scan, "image")
        return match_histogram(image, cohort.body(case.scan, image.shape), wanted), None

    return predictor


def _mean_painting(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    from volforge.baselines.image import mean_by_label, paint

    targets = of_modality(rows, settings.target)
    usable = [r for r in targets if cohort.has(r["scan"], "image") and cohort.has(r["scan"], "labels")]
    names = [r["scan"] for r in _learnt_from(settings, usable)]
    volumes = ((cohort.target_image(n), cohort.read(n, "labels"), n) for n in names)
    means = mean_by_label((image, labels, cohort.body(n, image.shape)) for image, labels, n in volumes)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        labels = cohort.read(case.scan, "labels")
        return paint(labels, cohort.body(case.scan, labels.shape), means, settings.is_hounsfield), None

    return predictor


_PREDICTORS: dict[str, Callable[[ArmSettings, Cohort, list[Row]], Predictor]] = {
    "threshold_components": _threshold_components,
    "mean_labels": _mean_labels,
    "mean_implant": _mean_implant,
    "mirror": _mirror,
    "closing": _closing,
    "constant": _constant,
    "identity": _identity,
    "histogram_matching": _histogram_matching,
    "mean_painting": _mean_painting,
    "white_noise": _white_noise,
    "other_subject": _other_subject,
    "real": _real,
}
