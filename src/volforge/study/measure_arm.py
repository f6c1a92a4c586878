"""All measures of one arm, fold and seed: predictions in, measures.tsv and the pictures of some cases out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.judging.judge import Judge, load_judge
from volforge.judging.memorised import memorised
from volforge.judging.utility import Shown, utility
from volforge.metrics.calibration import CalibrationCurve, merged
from volforge.metrics.measure import Measure, nothing
from volforge.study.cases import Cohort
from volforge.study.colours import colours_of
from volforge.study.measure_case import Volumes, load_case, measure_case, on_reference, sided
from volforge.study.measures import Origin, number, row, write_measures
from volforge.study.predictions import Prediction, parse_by_structure, read_joints, read_predictions
from volforge.study.settings import ArmSettings
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array
from volforge.volume.restore import on_scan_grid
from volforge.whole_file import write_whole

PRIMARY = {"segmentation": "dice", "implant": "dice", "semantic_synthesis": "mae_hu", "translation": "mae_hu"}
MOST_PAIRS = 10


@dataclass(frozen=True)
class Place:
    """Where an arm's results belong."""

    fold: int
    seed: int


def measure_arm(
    settings: ArmSettings,
    scans: Path,
    predictions: Path,
    place: Place,
    out: Path,
    cases: Path,
    encoder: Path | None = None,
    cache: Path | None = None,
    judge: Path | None = None,
) -> int:
    """Measure every prediction of an arm.

    Args:
        settings: The arm.
        scans: scans.tsv of the cohort.
        predictions: Folder with predictions.tsv.
        place: Fold and seed.
        out: measures.tsv to write.
        cases: Folder to write: pictures of some cases, cases.tsv, calibration.tsv, features.json.
        encoder: Weights of the study's slice encoder, for image tasks.
        cache: Folder for features of real images.
        judge: Weights of the study's segmenter that reads synthetic images, or None.

    Returns:
        Number of measures.
    """
    cohort = Cohort(scans)
    reader = load_judge(settings, judge) if judge is not None else None
    shown: dict[str, Shown] = {}
    rows: list[dict[str, object]] = []
    curves: list[CalibrationCurve] = []
    scores: list[tuple[float, Prediction]] = []
    slices = _Slices(settings)
    every = read_predictions(predictions)
    for prediction in every:
        volumes = load_case(settings, cohort, predictions, prediction)
        extra = {
            name: on_scan_grid(predictions / file, cohort.record(prediction.scan), labels=False) if file else None
            for name, file in (("confidence", prediction.confidence), ("deviation", prediction.deviation))
        }
        result = measure_case(
            settings, volumes, extra["confidence"], on_reference(cohort, prediction, extra["deviation"]), reader
        )
        if reader is not None and settings.metrics["utility"] and prediction.scan not in shown:
            shown[prediction.scan] = _shown(reader, volumes, prediction)
        measures = [*result.measures, *_cross_entropy(settings, prediction), *_joints(predictions, prediction)]
        rows += [row(_origin(settings, place, prediction, side, m.structure), m) for side, m in measures]
        curves += [result.curve] if result.curve is not None else []
        scores.append((_score(settings, [m for _, m in measures]), prediction))
        slices.add(volumes, prediction)
    if settings.is_image_task:
        rows += _diversity(settings, cohort, predictions, every, place)
    if shown:
        by_scan = {p.scan: p for p in every}
        for case, measure in utility(settings, list(shown.values()), place.seed):
            side, named = sided(settings, measure)
            rows.append(row(_origin(settings, place, by_scan[case.scan], side, named.structure), named))
    networks: list[dict[str, object]] = []
    if settings.metrics["distribution"] and settings.is_image_task:
        measured, networks = slices.measured(encoder, cache, place.seed)
        if settings.task == "semantic_synthesis":
            real = list(zip(slices.subjects, slices.real, strict=True))
            measured += memorised(settings, cohort, place.fold, slices.made, real)
        empty = Prediction("", "", "", "")
        rows += [row(_origin(settings, place, empty, ""), m) for m in measured]
    with whole_folder(cases) as folder:
        _write_cases(settings, cohort, predictions, scores, folder)
        write_whole(folder / "calibration.tsv", _calibration(curves))
        write_json(folder / "features.json", networks)
    write_measures(out, rows)
    return len(rows)


def _origin(settings: ArmSettings, place: Place, prediction: Prediction, side: str, structure: str = "") -> Origin:
    own = next((p.label_source for p in settings.structures if p.structure == structure and p.label_source), "")
    return origin_of(settings, place, prediction, side, own or prediction.label_source)


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


def _cross_entropy(settings: ArmSettings, prediction: Prediction) -> list[tuple[str, Measure]]:
    names = ["cross_entropy_nats"] + (["legacy_cross_entropy_nats"] if settings.metrics["legacy"] else [])
    measured = {p.structure for p in settings.structures}  # models may learn more
    return [
        (side, Measure(name, value, structure, "ok", 1))
        for name in names
        for structure, side, value in parse_by_structure(getattr(prediction, name))
        if structure in measured
    ]


def _joints(predictions: Path, prediction: Prediction) -> list[tuple[str, Measure]]:
    """How well the localiser found the joints of a case: distance of the centre, and how much of it the box holds."""
    found = []
    for r in read_joints(predictions):
        if r["scan"] == prediction.scan and r["centre_error_mm"]:
            found += [
                (r["side"], Measure("centre_error_mm", float(r["centre_error_mm"]), r["structure"], "ok", 1)),
                (r["side"], Measure("region_recall", float(r["region_recall"]), r["structure"], "ok", 1)),
            ]
    return found


def _shown(judge: Judge, volumes: Volumes, prediction: Prediction) -> Shown:
    """A case for segmenters that learn from synthetic images: its first sample and the real image."""
    assert volumes.source is not None
    is_whole = volumes.prediction is not None and bool(np.isfinite(volumes.prediction).all())
    made = judge.view(volumes.prediction, volumes.source, volumes.spacing) if is_whole else None  # type: ignore[arg-type]
    real = judge.view(volumes.reference, volumes.source, volumes.spacing)
    return Shown(prediction.subject, prediction.scan, made, real)


def _score(settings: ArmSettings, measures: list[Measure]) -> float:
    """How bad a case is, for choosing pictures: failures first."""
    primary = PRIMARY[settings.task] if settings.is_hounsfield else PRIMARY[settings.task].removesuffix("_hu")
    values = [m.value for m in measures if m.measure == primary]
    if not values or any(math.isnan(v) for v in values):
        return math.inf
    mean = float(np.mean(values))
    return mean if primary.startswith("mae") else -mean


class _Slices:
    """Real and synthetic slices of all cases, gathered while the volumes are at hand."""

    def __init__(self, settings: ArmSettings):
        self.settings = settings
        self.wanted = settings.is_image_task and settings.metrics["distribution"]
        self.real: list[Array] = []
        self.synthetic: list[Array] = []
        self.made: list[tuple[str, Array]] = []
        self.subjects: list[str] = []
        self.sources: list[str] = []
        self.seen: set[str] = set()
        self.incomplete = False

    def add(self, volumes: Volumes, prediction: Prediction) -> None:
        if not self.wanted:
            return
        if volumes.prediction is None or not np.isfinite(volumes.prediction).all():
            self.incomplete = True
            return
        from volforge.metrics.features import axial_slices

        window = self.settings.metrics["window_hu"]
        self.synthetic.append(axial_slices(volumes.prediction, volumes.body, window))
        self.made.append((prediction.subject, self.synthetic[-1]))
        if prediction.reference not in self.seen:  # samples of one map share their reference
            self.seen.add(prediction.reference)
            self.real.append(axial_slices(volumes.reference, volumes.body, window))
            self.subjects.append(prediction.subject)
            self.sources.append(prediction.reference)

    def measured(
        self, encoder: Path | None, cache: Path | None, seed: int
    ) -> tuple[list[Measure], list[dict[str, object]]]:
        from volforge import weights
        from volforge.judging.distribution import measure_distribution, networks, one_size, subject_numbers

        if not self.synthetic:
            return [nothing("frechet_slice_encoder", "missing_prediction", "slices")], []
        inception = weights.find("inception", self.settings.weights.get("inception"))
        alexnet = weights.find("alexnet", self.settings.weights.get("alexnet"))
        real, synthetic = one_size(self.real), one_size(self.synthetic)
        numbers = subject_numbers(self.subjects, [len(r) for r in self.real])
        key = {"real": [_hash(r) for r in self.real], "subjects": self.subjects}
        found: list[Measure] = []
        about: list[dict[str, object]] = []
        for network in networks(encoder, inception):
            found += measure_distribution(network, synthetic, lambda: (real, numbers), key, cache, seed)
            about.append(
                {"network": network.name, "sha256": network.sha256, "real": len(real), "synthetic": len(synthetic)}
            )
        if alexnet is not None and len(real) == len(synthetic):
            from volforge.metrics.features import lpips

            found.append(Measure("lpips", float(lpips(synthetic, real, alexnet).mean()), "slices", "ok", len(real)))
            about.append({"network": "lpips_alexnet", "sha256": weights.REGISTRY["alexnet"].sha256})
        if self.incomplete:  # the easy half of a cohort is no sample of it
            found = [nothing(m.measure, "missing_prediction", m.structure, m.n) for m in found]
        return found, about


def _hash(values: Array) -> str:
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def _diversity(
    settings: ArmSettings, cohort: Cohort, folder: Path, every: list[Prediction], place: Place
) -> list[dict[str, object]]:
    """MS-SSIM between the samples of one input: 1 where the noise does nothing."""
    from itertools import combinations, islice

    from volforge.metrics.ssim import ms_ssim, uniform_window

    by_scan: dict[str, list[Prediction]] = {}
    for p in every:
        if p.file:
            by_scan.setdefault(p.scan, []).append(p)
    low, high = settings.metrics["range_hu"]
    rows = []
    for scan, samples in by_scan.items():
        if len(samples) < 2:
            continue
        record = cohort.record(scan)
        pairs = list(islice(combinations(samples, 2), MOST_PAIRS))
        values = []
        for a, b in pairs:
            x, y = (np.clip(on_scan_grid(p.path(folder), record, labels=False), low, high) - low for p in (a, b))
            values.append(ms_ssim(x, y, cohort.body(scan, x.shape), high - low, uniform_window()))
        value = float(np.mean(values))
        measure = Measure("diversity_ms_ssim", value, "body", "undefined" if math.isnan(value) else "ok", len(pairs))
        rows.append(row(_origin(settings, place, samples[0], ""), measure))
    return rows


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


def chosen_cases(scores: list[tuple[float, Prediction]], most: int) -> list[tuple[str, Prediction]]:
    """The worst, the best, the median and then evenly spread cases, with the word for each, worst first."""
    ranked = sorted((s for s in scores if s[1].file), key=lambda s: (-s[0], s[1].scan, s[1].sample))
    if not ranked or not most:
        return []
    count = min(most, len(ranked))
    places = sorted({round(i) for i in np.linspace(0, len(ranked) - 1, count)}) if count > 1 else [0]
    words = {(len(ranked) - 1) // 2: "median", len(ranked) - 1: "best", 0: "worst"}
    return [(words.get(i, ""), ranked[i][1]) for i in places]


def _write_cases(
    settings: ArmSettings, cohort: Cohort, folder: Path, scores: list[tuple[float, Prediction]], out: Path
) -> None:
    from PIL import Image

    from volforge.study.case_picture import case_picture

    colours = colours_of(settings.task, cohort)
    lines: list[Mapping[str, object]] = []
    for word, prediction in chosen_cases(scores, settings.cases):
        volumes = load_case(settings, cohort, folder, prediction)
        name = f"{prediction.scan}-{prediction.sample}.png"
        Image.fromarray(case_picture(settings, volumes, colours)).save(out / name)
        lines.append({"scan": prediction.scan, "sample": prediction.sample, "rank": word, "file": name})
    write_whole(out / "cases.tsv", as_tsv(("scan", "sample", "rank", "file"), lines))
