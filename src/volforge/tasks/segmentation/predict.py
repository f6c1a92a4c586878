"""Label maps of the test scans of a fold: of trained models, of a baseline, or made elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.cohort.collect import as_tsv
from volforge.errors import ScanError
from volforge.study.cases import Case, Cohort, cases_with
from volforge.study.jobs import PredictJob
from volforge.study.predict import cost, predict_without_models, written
from volforge.study.predictions import Prediction, by_structure, write_predictions
from volforge.study.settings import ArmSettings
from volforge.tasks.segmentation.baselines import BASELINES
from volforge.tasks.segmentation.joints_file import JOINT_COLUMNS, JOINTS
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array, Grid
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from volforge.inference.segment import Segmented

FILES = ("labels",)


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
    cases = cases_with(settings, cohort, job.fold, FILES)
    if predict_without_models(settings, job, cohort, cases, BASELINES, labels=True, of_structures=True):
        return len(cases)
    finder = next((folder for name, folder in job.models.items() if "/" in name), None)
    own = {name: folder for name, folder in job.models.items() if "/" not in name}
    one = segmenter(settings, cohort, own, finder, job.device)
    predictions, joints = [], []
    with whole_folder(job.out) as scratch:
        for case in cases:
            if not cohort.has(case.scan, "image"):  # a failure that is counted, not the end of all others
                predictions.append(Prediction(case.scan, case.subject, case.reference, case.label_source))
                continue
            try:
                found, rows = one(case)
            except ScanError as error:  # of this scan alone: the arm fails on it, and goes on with the others
                print(f"{case.scan} is not segmented: {error}", file=sys.stderr)
                predictions.append(Prediction(case.scan, case.subject, case.reference, case.label_source))
                continue
            made = written(cohort, case, (found.labels, found.confidence), scratch, labels=True)
            plain = by_structure((s, side, value) for s, side, value, _ in found.cross_entropy)
            doubled = by_structure((s, side, value) for s, side, _, value in found.cross_entropy)
            predictions.append(replace(made, cross_entropy_nats=plain, legacy_cross_entropy_nats=doubled))
            joints += rows
        write_predictions(scratch, predictions)
        if joints:
            write_whole(scratch / JOINTS, as_tsv(JOINT_COLUMNS, joints))
        write_json(scratch / "cost.json", cost(len(cases), start, job.device))
    return len(cases)


def segmenter(
    settings: ArmSettings, cohort: Cohort, models: Mapping[str, Path], localiser: Path | None, device: str
) -> Callable[[Case], tuple[Segmented, list[dict[str, object]]]]:
    """What segments a case: the label map, and the rows of joints.tsv.

    Args:
        settings: The arm, with its inference options.
        cohort: Its cohort.
        models: Folder of each model by name.
        localiser: Folder of the localiser, or None.
        device: `cpu` or `cuda`.
    """
    import torch  # not at the top: baselines are predicted without it

    from volforge.inference.model import load_model
    from volforge.inference.segment import Scan, segment

    torch.set_num_threads(int(settings.inference["threads"]))
    loaded = [[load_model(folder, device)] for folder in models.values()]
    finder = load_model(localiser, device) if localiser is not None else None
    region = next((g[0].settings.region for g in loaded if g[0].settings.region is not None), None)

    def one(case: Case) -> tuple[Segmented, list[dict[str, object]]]:
        image = cohort.read(case.scan, "image")
        record = cohort.record(case.scan)
        grid = Grid.of(record["grid"])
        body = cohort.read(case.scan, "body") > 0 if cohort.has(case.scan, "body") else None
        labels = cohort.read(case.scan, "labels") if cohort.has(case.scan, "labels") else None
        options = settings.inference
        found = segment(
            loaded,
            Scan(image, body, grid, record, labels),
            localiser=finder,
            window=options["window"],
            overlap=options["overlap"],
            flips=options["flips"],
            keep=options["keep"],
            device=device,
        )
        rows = [] if region is None else joint_rows(case.scan, found, labels, grid, region)
        return found, rows

    return one


def joint_rows(
    scan: str, found: Segmented, labels: Array | None, grid: Grid, region: Mapping[str, object]
) -> list[dict[str, object]]:
    """Rows of joints.tsv of a scan: how each joint was found, how far off, and how much of it lies in the box."""
    rows: list[dict[str, object]] = []
    for joint in found.joints:
        row: dict[str, object] = {
            "scan": scan, "side": joint.side, "structure": region["around"], "origin": joint.origin,
            "centre_error_mm": "", "region_recall": "",
        }  # fmt: skip
        ids: Mapping[str, int] = region["ids"]  # type: ignore[assignment]
        own = np.argwhere(labels == ids[joint.side]) if labels is not None else np.zeros((0, 3))
        if len(own):
            off = (own.mean(axis=0) - np.array(joint.centre)) @ grid.affine[:3, :3].T
            box = found.boxes[joint.side]
            matrix = np.linalg.inv(box.affine) @ grid.affine
            inside = own @ matrix[:3, :3].T + matrix[:3, 3]
            held = ((inside > -0.5) & (inside < np.array(box.shape) - 0.5)).all(axis=1)
            row["centre_error_mm"] = f"{np.linalg.norm(off):.10g}"
            row["region_recall"] = f"{held.mean():.10g}"
        rows.append(row)
    return rows
