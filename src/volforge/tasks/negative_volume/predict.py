"""Negative volumes of an arm: labels in; masks, meshes and `negative_volume.json` of every test scan out."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.frame import back_on_scan
from volforge.shape.joint import Joint
from volforge.shape.joint_files import negative_volume_mesh, write_meshes
from volforge.shape.joint_record import FILE, asymmetry_record, failed_record, side_record
from volforge.study.cases import Case, Cohort, cases_with
from volforge.study.jobs import PredictJob
from volforge.study.predict import cost
from volforge.study.predictions import Prediction, read_predictions, write_predictions
from volforge.study.settings import ArmSettings
from volforge.tasks.negative_volume.ids import BONE_IDS, BONES, IDS
from volforge.tasks.negative_volume.joints import SIDES, Masks, measure_side
from volforge.tasks.negative_volume.repeats import repeats_of, sees_image
from volforge.volume.folders import sha256_of, whole_folder, write_json
from volforge.volume.geometry import Array, Grid
from volforge.volume.restore import on_scan_grid, write_on_source_grid


@dataclass(frozen=True)
class Inputs:
    """What a case is measured from.

    Attributes:
        labels: (X, Y, Z) ids on the scan's canonical grid; None where there is no prediction.
        image: CT, or None.
        confidence: Probability of the predicted label, or None.
        grid: The scan's grid.
    """

    labels: Array | None
    image: Array | None
    confidence: Array | None
    grid: Grid


def predict(settings: ArmSettings, job: PredictJob) -> int:
    """Inflate the condyles of all test scans of a fold, into a folder that appears whole.

    Args:
        settings: The arm, with its `joint`.
        job: Scans and fold; the folder of predictions whose labels are taken (None: the scans' own); the folder
            `predictions`: a label map per case on the grid of its source file (1 and 3: left and right negative volume
            that no bone bounds, 2 and 4: joint space), `shapes/<scan>/` and predictions.tsv.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: nothing to measure.
    """
    start = time.perf_counter()
    cohort = Cohort(job.scans)
    cases = cases_with(settings, cohort, job.fold, ("labels",))
    given = {p.scan: p for p in read_predictions(job.labels)} if job.labels is not None else {}
    predictions = []
    with whole_folder(job.out) as scratch:
        for case in cases:
            inputs = _inputs(settings, cohort, case, job.labels, given)
            predictions.append(_one_case(settings, cohort, case, inputs, scratch))
            gc.collect()  # surfaces refer to themselves: those of all cases would be held, half a gigabyte
        write_predictions(scratch, predictions)
        write_json(scratch / "cost.json", cost(len(cases), start))
    return len(cases)


def _inputs(
    settings: ArmSettings, cohort: Cohort, case: Case, folder: Path | None, given: dict[str, Prediction]
) -> Inputs:
    record: dict[str, Any] = cohort.record(case.scan)
    grid = Grid.of(record["grid"])
    wants_image = (
        settings.own["joint"]["width"] == "image"
        or settings.own["joint"]["inflation"]["enhance"]
        or sees_image(settings.own["joint"])
    )
    wants_image = wants_image and record.get("unit") == "hu"  # what reads an image here knows bone by its HU
    image = cohort.read(case.scan, "image") if wants_image and cohort.has(case.scan, "image") else None
    if folder is None:
        return Inputs(cohort.read(case.scan, "labels"), image, None, grid)
    own = given.get(case.scan)
    if own is None or not own.file:
        return Inputs(None, image, None, grid)
    confidence = on_scan_grid(folder / own.confidence, record, labels=False) if own.confidence else None
    return Inputs(on_scan_grid(own.path(folder), record, labels=True).astype(np.int32), image, confidence, grid)


def _one_case(settings: ArmSettings, cohort: Cohort, case: Case, inputs: Inputs, scratch: Path) -> Prediction:
    source = "derived" if settings.own["joint"]["derive"] is not None else case.label_source
    prediction = Prediction(case.scan, case.subject, case.reference, source)
    if inputs.labels is None:
        return prediction
    folder = scratch / "shapes" / case.scan
    folder.mkdir(parents=True)
    joints: dict[str, Joint] = {}
    bones: dict[str, Masks] = {}
    sides: dict[str, Any] = {}
    for side in SIDES:
        try:
            joint, masks = measure_side(
                inputs.labels, inputs.grid, settings.own["joint"], side, inputs.image, inputs.confidence
            )
        except VolforgeError as error:  # one side that cannot be measured is a result, and the other one another
            sides[side] = failed_record(error.message)
            continue
        joints[side], bones[side] = joint, masks
        sides[side] = side_record(joint) | repeats_of(settings.own["joint"], masks, inputs.grid, inputs.image)
    values = np.zeros(inputs.labels.shape, np.uint8, order="F")
    write_bones(folder / BONES, bones, cohort.record(case.scan), values.shape)
    for side, joint in joints.items():
        ids = IDS[side]
        own = np.where(joint.inflated.space, np.uint8(ids["rest"]), np.uint8(0))
        own[joint.inflated.joint_space] = ids["joint_space"]
        on_scan = back_on_scan(own, joint.bones.frame, inputs.grid)
        values = np.where(on_scan > 0, on_scan, values)
        if settings.own["joint"]["inflation"]["meshes"]:
            write_meshes(folder, side, joint, negative_volume_mesh(joint))
    content = {
        "scan": case.scan,
        "labels_from": settings.own["joint"]["inflation"]["labels_from"],
        "label_source": source,
        "method": settings.own["joint"]["inflation"]["method"],
        "r_max_mm": settings.own["joint"]["r_max_mm"],
        "joint_space_mm": settings.own["joint"]["joint_space_mm"],
        "sides": sides,
        "asymmetry": asymmetry_record(sides, joints),
    }
    write_json(folder / FILE, content)
    path = scratch / f"{case.scan}.nii.gz"
    write_on_source_grid(path, values, cohort.record(case.scan), labels=True)
    return replace(prediction, file=path.name, sha256=sha256_of(path))


def write_bones(path: Path, bones: dict[str, Masks], record: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Write which voxels were inflated and which confined that: the pictures show these, whatever they came from."""
    values = np.zeros(shape, np.uint8, order="F")
    for side, masks in bones.items():
        for name in ("barrier", "condyle"):
            values[getattr(masks, name)] = BONE_IDS[side][name]
    write_on_source_grid(path, values, record, labels=True)
