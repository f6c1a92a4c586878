"""Images of another modality of the source scans of a fold: of models, of a baseline, or made elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from volforge.cohort.collect import as_tsv
from volforge.errors import VolforgeError
from volforge.scratch import remove, scratch_beside
from volforge.study.cases import Case, Cohort
from volforge.study.jobs import PredictJob
from volforge.study.predict import cost, predict_without_models
from volforge.study.predictions import Prediction, write_predictions
from volforge.study.settings import ArmSettings
from volforge.tasks.translation.baselines import BASELINES
from volforge.tasks.translation.pairs import companions_of, paired_cases
from volforge.volume.folders import sha256_of, whole_folder, write_json
from volforge.volume.restore import write_on_source_grid
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from volforge.tasks.translation.canvas import Contrast
    from volforge.tasks.translation.kept import Kept
    from volforge.tasks.translation.views import Views

VIEWS = "views.tsv"
COLUMNS = ("scan", "view", "file", "sha256", "weights_sha256", "step")
STAMP = "synthetic image by volforge, not for clinical use"


def predict(settings: ArmSettings, job: PredictJob) -> int:
    """Predict all test cases of a fold into a folder that appears whole.

    Args:
        settings: The arm.
        job: Scans, fold, models, and the folder `predictions`.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: Nothing to measure, nothing to learn from, or files that cannot be used.
    """
    start = time.perf_counter()
    cohort = Cohort(job.scans)
    cases = paired_cases(settings, cohort, job.fold)
    if predict_without_models(settings, job, cohort, cases, BASELINES, labels=False):
        return len(cases)
    predict_by_models(settings, job, cohort, cases, start)
    return len(cases)


def predict_by_models(
    settings: ArmSettings, job: PredictJob, cohort: Cohort, cases: Sequence[Case], start: float
) -> None:
    """Translate all cases; a scan that an earlier try of the same job finished is not translated again.

    Leaves `<scan>.nii.gz`, `<scan>.raw.nii.gz` (before the body is laid on it), `<scan>.deviation.nii.gz` where there
    is a doubt, `<scan>.<view>.nii.gz` of each of several models, predictions.tsv, views.tsv and cost.json. Scans that
    lack a contrast, or that no network can take (too few slices for a view, an image of one grey), are failures that
    count.

    Args:
        settings: The arm.
        job: Models and the folder.
        cohort: Its cohort.
        cases: What is translated.
        start: `time.perf_counter()` of the job's beginning, for its cost.

    Raises:
        VolforgeError: Models that cannot be used or do not go together.
    """
    import torch  # not at the top: baselines are predicted without it

    from volforge.tasks.translation.canvas import UnfitError
    from volforge.tasks.translation.doubt import Doubt
    from volforge.tasks.translation.kept import Kept
    from volforge.tasks.translation.views import Views

    threads = int(settings.inference["threads"])
    torch.set_num_threads(threads)
    views = Views.load(
        {name: folder for name, folder in job.models.items() if "/" not in name},
        job.device,
        fuse=settings.own.get("fuse") or "median",
        flips=tuple(settings.inference.get("flips") or ()),
        doubt=Doubt.of(settings.own.get("doubt")),
    )
    _refuse_equal_names(cases, views)
    kept = Kept(job.out, {"arm": asdict(settings), "models": views.plain(), "threads": threads})
    predictions, rows, earlier = [], [], 0.0
    with whole_folder(job.out) as scratch:
        for case in cases:
            named = Prediction(case.scan, case.subject, case.reference, case.label_source)
            scans = contrasts_of(cohort, case, views.first.settings.also)
            if not scans:
                predictions.append(asdict(named))
                continue
            try:
                inputs, was_found = _finished(views, kept, cohort, named, scans)
            except UnfitError as error:  # of this scan alone: the arm fails on it, and goes on with the others
                print(f"{case.scan} is not translated: {error}", file=sys.stderr)
                predictions.append(asdict(named))
                continue
            earlier += inputs["seconds"] if was_found else 0.0
            predictions.append(inputs["prediction"])
            rows += inputs["views"]
            kept.hand_over(case.scan, inputs["files"], scratch)
        write_predictions(scratch, [Prediction(**p) for p in predictions])
        write_whole(scratch / VIEWS, as_tsv(COLUMNS, rows))
        write_json(scratch / "cost.json", cost(len(cases), start - earlier, job.device))
    kept.drop()


def _refuse_equal_names(cases: Sequence[Case], views: Views) -> None:
    """Raise `VolforgeError` where a scan is called as a file of another one would be."""
    endings = ("deviation", "raw", *(views.generators if len(views.generators) > 1 else ()))
    names = {c.scan for c in cases}
    for scan in sorted(names):
        taken = [f"{scan}.{e}" for e in endings if f"{scan}.{e}" in names]
        if taken:
            text = f"the scan {taken[0]} is called as a file beside the scan {scan}"
            raise VolforgeError(text, "the sample sheet", "rename one of them")


def contrasts_of(cohort: Cohort, case: Case, also: Sequence[str]) -> list[str]:
    """The scans that a case is translated from: the source, then the further contrasts of its subject and frame.

    Returns:
        Their names; none, with a line that says why, where one or its image is missing.

    Raises:
        VolforgeError: Two scans of one contrast.
    """
    own = next(r for r in cohort.rows if r["scan"] == case.scan)
    found = companions_of(own, cohort.rows, also, str(cohort.scans))
    scans = [case.scan, *(r["scan"] for r in found.values())]
    missing = [f"the contrast {c}" for c in also if c not in found]
    missing += [f"the image of {s}" for s in scans if not cohort.has(s, "image")]
    if missing:
        print(f"{case.scan} is not translated: {', '.join(missing)} is missing", file=sys.stderr)
        return []
    return scans


def read_contrasts(cohort: Cohort, scans: Sequence[str]) -> list[Contrast]:
    """Scans of a cohort as models of translation read them."""
    from volforge.tasks.translation.canvas import Contrast
    from volforge.volume.cut_scan import outside_of

    found = []
    for scan in scans:
        record, image = cohort.record(scan), cohort.read(scan, "image")
        body = cohort.read(scan, "body") > 0 if cohort.has(scan, "body") else None
        outside = outside_of(record, image)
        found.append(Contrast(image, cohort.grid(scan), body, str(record["unit"]), outside, scan))
    return found


def _finished(
    views: Views, kept: Kept, cohort: Cohort, named: Prediction, scans: Sequence[str]
) -> tuple[dict[str, Any], bool]:
    """What is noted of a finished scan, and whether an earlier try had finished it."""
    from volforge.tasks.translation.kept import inputs_digest

    files = [cohort.folder / s / f"{part}.nii.gz" for s in scans for part in ("image", "body")]
    inputs = inputs_digest([f for f in files if f.exists()])
    noted = kept.found(named.scan, inputs)
    if noted is not None:
        return noted, True
    start = time.perf_counter()
    in_hu = views.first.settings.is_hounsfield  # the outline is measured before the source's body is laid on it
    image = views(read_contrasts(cohort, scans), lambda name: kept.slabs(named.scan, inputs, name), raw=in_hu)
    record = cohort.record(named.scan)
    scratch = scratch_beside(kept.begin() / named.scan)
    scratch.mkdir()
    try:
        path = scratch / f"{named.scan}.nii.gz"
        write_on_source_grid(path, image.values, record, labels=False, description=STAMP)
        prediction = asdict(named) | {"file": path.name, "sha256": sha256_of(path)}
        if image.deviation is not None:
            beside = scratch / f"{named.scan}.deviation.nii.gz"
            write_on_source_grid(beside, image.deviation, record, labels=False, description=STAMP)
            prediction["deviation"] = beside.name
        if image.raw is not None:
            write_on_source_grid(
                scratch / f"{named.scan}.raw.nii.gz", image.raw, record, labels=False, description=STAMP
            )
        rows = []
        for view, generator in views.generators.items():
            file = path
            if view in image.views:
                file = scratch / f"{named.scan}.{view}.nii.gz"
                write_on_source_grid(file, image.views[view], record, labels=False, description=STAMP)
            rows.append(
                {
                    "scan": named.scan,
                    "view": view,
                    "file": file.name,
                    "sha256": sha256_of(file),
                    "weights_sha256": generator.about["sha256"],
                    "step": generator.about["step"],
                }
            )
        content = {
            "prediction": prediction,
            "views": rows,
            "files": sorted(f.name for f in scratch.iterdir()),
            "seconds": time.perf_counter() - start,
        }
        return kept.finish(named.scan, inputs, scratch, content), False
    finally:
        remove(scratch)
