"""The measuring of an arm that makes images: cases, sets of slices, and the variety of samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from volforge.metrics.measure import Measure, nothing
from volforge.study.case_picture import image_picture
from volforge.study.cases import Cohort
from volforge.study.jobs import MeasureJob
from volforge.study.measure_arm import Row
from volforge.study.measure_images import measure_images, on_reference
from volforge.study.measures import row
from volforge.study.origin import Place, origin
from volforge.study.predictions import Prediction
from volforge.study.settings import ArmSettings
from volforge.study.strips import Strip
from volforge.study.volumes import CaseResult, Volumes
from volforge.volume.geometry import Array
from volforge.volume.picture import RGB
from volforge.volume.restore import on_scan_grid

MOST_PAIRS = 10


class ImageArm(ABC):
    """The measuring of one arm; tasks say how a case is loaded, and what else they measure."""

    primary_of: tuple[str, ...] = ("body",)  # a tissue that a slice lacks has no error
    colours: dict[int, RGB] | None = None  # of the structures of a source that is a label map

    def __init__(self, settings: ArmSettings, job: MeasureJob, cohort: Cohort):
        self.settings, self.job, self.cohort = settings, job, cohort
        self.place = Place(job.fold, job.seed)
        self.primary = "mae_hu" if settings.is_hounsfield else "mae"
        self.slices = Slices(settings)

    @abstractmethod
    def load(self, prediction: Prediction) -> Volumes:
        """A prediction and the real image on the reference's grid."""

    def measure(
        self, volumes: Volumes, prediction: Prediction, confidence: Array | None, deviation: Array | None
    ) -> CaseResult:
        """Measures of a case; its slices are kept for those of all."""
        result = self.measure_case(volumes, prediction, on_reference(self.cohort, prediction, deviation))
        self.slices.add(volumes, prediction)
        return result

    def measure_case(self, volumes: Volumes, prediction: Prediction, deviation: Array | None) -> CaseResult:
        """Measures of a case alone."""
        return CaseResult([("", m) for m in measure_images(self.settings, volumes, deviation)])

    def of_all(self, every: list[Prediction]) -> tuple[list[Row], list[Row]]:
        """Variety of samples, and distances of sets of slices."""
        rows = diversity(self.settings, self.cohort, self.job.predictions, every, self.place)
        rows += self.of_cases(every)
        networks: list[Row] = []
        if self.settings.metrics["distribution"]:
            measured, networks = self.slices.measured(self.job.encoder, self.job.cache, self.job.seed)
            measured += self.of_slices()
            empty = Prediction("", "", "", "")
            rows += [row(origin(self.settings, self.place, empty, ""), m) for m in measured]
        return rows, networks

    def of_cases(self, every: list[Prediction]) -> list[Row]:
        """Further rows of single cases, measured once all are there."""
        return []

    def of_slices(self) -> list[Measure]:
        """Further measures of the sets of slices."""
        return []

    def picture(self, volumes: Volumes) -> Array:
        """Input, prediction, reference, error."""
        return image_picture(volumes, self.colours, is_hounsfield=self.settings.is_hounsfield)

    def strips(self, every: list[Prediction]) -> list[tuple[Strip, Array]]:
        """None."""
        return []


class Slices:
    """Real and synthetic slices of all cases, gathered while the volumes are at hand."""

    def __init__(self, settings: ArmSettings):
        self.settings = settings
        self.wanted = bool(settings.metrics["distribution"])
        self.real: list[Array] = []
        self.synthetic: list[Array] = []
        self.made: list[tuple[str, Array]] = []
        self.subjects: list[str] = []
        self.sources: list[str] = []
        self.seen: set[str] = set()
        self.incomplete = False

    def add(self, volumes: Volumes, prediction: Prediction) -> None:
        """Keep the slices of a case."""
        if not self.wanted:
            return
        if volumes.prediction is None or not volumes.is_finite:
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

    def measured(self, encoder: Path | None, cache: Path | None, seed: int) -> tuple[list[Measure], list[Row]]:
        """Distances of all feature networks that are there, and what these networks are."""
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
        about: list[Row] = []
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


def diversity(settings: ArmSettings, cohort: Cohort, folder: Path, every: list[Prediction], place: Place) -> list[Row]:
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
        rows.append(row(origin(settings, place, samples[0], ""), measure))
    return rows
