"""What no learning gives of images: constants, means by structure, matched histograms, and controls."""

from __future__ import annotations

from volforge.study.cases import Case, Cohort, Row, of_modality
from volforge.study.predictor import Predictor, learnt_from
from volforge.study.settings import ArmSettings
from volforge.volume.folders import sha256_of_text
from volforge.volume.geometry import Array, flat_axis


def target_names(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> list[str]:
    """Training scans of the target modality that have an image."""
    usable = [r for r in of_modality(rows, settings.target) if cohort.has(r["scan"], "image")]
    return [r["scan"] for r in learnt_from(settings, usable)]


def real(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The real image itself: a ceiling."""

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return cohort.target_image(case.reference), None

    return predictor


def white_noise_in_body(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """Noise of the mean and spread of training images, in the body."""
    from volforge.baselines.image import spread_of, white_noise

    names = target_names(settings, cohort, rows)
    images = ((cohort.target_image(n), n) for n in names)
    mean, deviation = spread_of((image, cohort.body(n, image.shape)) for image, n in images)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        seed = int(sha256_of_text(case.scan)[:8], 16)
        return white_noise(
            cohort.body(case.scan, cohort.grid(case.scan).shape), mean, deviation, seed, settings.is_hounsfield
        ), None

    return predictor


def image_of_another(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """A real image of another subject, moved into the body."""
    from volforge.baselines.image import other_subject

    flat = {n: flat_axis(cohort.grid(n).shape) for n in target_names(settings, cohort, rows)}

    def predictor(case: Case) -> tuple[Array, Array | None]:
        shape = cohort.grid(case.scan).shape
        names = [n for n, axis in flat.items() if axis == flat_axis(shape)] or list(flat)  # a slice for a slice
        name = names[int(sha256_of_text(case.scan)[:8], 16) % len(names)]
        image = cohort.target_image(name)
        return other_subject(
            image, cohort.own_body(name, image), cohort.body(case.scan, shape), settings.is_hounsfield
        ), None

    return predictor


def constant_value(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """One value in the whole body."""
    from volforge.baselines.image import constant

    def predictor(case: Case) -> tuple[Array, Array | None]:
        return constant(
            cohort.body(case.scan, cohort.grid(case.scan).shape),
            settings.options["constant_hu"],
            settings.is_hounsfield,
        ), None

    return predictor


def source_itself(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The source, as it is."""
    from volforge.baselines.image import identity

    def predictor(case: Case) -> tuple[Array, Array | None]:
        image = cohort.read(case.scan, "image")
        return identity(image, cohort.body(case.scan, image.shape)), None

    return predictor


def histogram_matching(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """The source with the histogram of training images of the target."""
    from volforge.baselines.image import match_histogram, quantiles_of

    targets = learnt_from(settings, [r for r in of_modality(rows, settings.target) if cohort.has(r["scan"], "image")])
    images = ((cohort.read(r["scan"], "image"), r["scan"]) for r in targets)
    wanted = quantiles_of((image, cohort.own_body(scan, image)) for image, scan in images)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        image = cohort.read(case.scan, "image")
        return match_histogram(image, cohort.body(case.scan, image.shape), wanted), None

    return predictor


def mean_painting(settings: ArmSettings, cohort: Cohort, rows: list[Row]) -> Predictor:
    """Every structure in its mean value over the training images."""
    from volforge.baselines.image import mean_by_label, paint

    targets = of_modality(rows, settings.target)
    usable = [r for r in targets if cohort.has(r["scan"], "image") and cohort.has(r["scan"], "labels")]
    names = [r["scan"] for r in learnt_from(settings, usable)]
    volumes = ((cohort.target_image(n), cohort.read(n, "labels"), n) for n in names)
    means = mean_by_label((image, labels, cohort.body(n, image.shape)) for image, labels, n in volumes)

    def predictor(case: Case) -> tuple[Array, Array | None]:
        labels = cohort.read(case.scan, "labels")
        return paint(labels, cohort.body(case.scan, labels.shape), means, settings.is_hounsfield), None

    return predictor
