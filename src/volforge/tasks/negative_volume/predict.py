"""Negative volumes of an arm: labels in; masks, meshes and `negative_volume.json` of every test scan out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.asymmetry import align_mirrored, asymmetry_index, compare_shapes
from volforge.shape.frame import back_on_scan
from volforge.shape.joint import Joint
from volforge.shape.joint_files import negative_volume_mesh, write_meshes
from volforge.shape.joint_record import FILE, VOLUMES, failed_record, finite, side_record, value_of
from volforge.study.cases import Case, Cohort, measured_cases
from volforge.study.predict import cost
from volforge.study.predictions import Prediction, read_predictions, write_predictions
from volforge.study.settings import ArmSettings
from volforge.tasks.negative_volume.joints import SIDES, Masks, measure_side
from volforge.tasks.negative_volume.repeats import repeats_of, sees_image
from volforge.volume.folders import sha256_of, whole_folder, write_json
from volforge.volume.geometry import Array, Grid
from volforge.volume.restore import on_scan_grid, write_on_source_grid

# what was taken for bone
BONES = "bones.nii.gz"
BONE_IDS = {"left": {"condyle": 1, "barrier": 2}, "right": {"condyle": 3, "barrier": 4}}
# ids in the label maps of negative volumes: the part that bone bounds, and the rest
IDS = {"left": {"joint_space": 2, "rest": 1}, "right": {"joint_space": 4, "rest": 3}}


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


def inflate_arm(settings: ArmSettings, scans: Path, fold: int, out: Path, labels: Path | None = None) -> int:
    """Inflate the condyles of all test scans of a fold, into a folder that appears whole.

    Args:
        settings: The arm, with its `joint`.
        scans: scans.tsv of the cohort.
        fold: Fold, or 0 for the split `test`.
        out: Folder `predictions`: a label map per case on the grid of its source file (1 and 3: left and right negative
            volume that no bone bounds, 2 and 4: joint space), `shapes/<scan>/` and predictions.tsv.
        labels: Folder of predictions whose labels are taken; None: the scans' own.

    Returns:
        Number of cases.

    Raises:
        VolforgeError: nothing to measure.
    """
    start = time.perf_counter()
    cohort = Cohort(scans)
    cases = measured_cases(settings, cohort, fold)
    given = {p.scan: p for p in read_predictions(labels)} if labels is not None else {}
    predictions = []
    with whole_folder(out) as scratch:
        for case in cases:
            inputs = _inputs(settings, cohort, case, labels, given)
            predictions.append(_one_case(settings, cohort, case, inputs, scratch))
        write_predictions(scratch, predictions)
        write_json(scratch / "cost.json", cost(len(cases), time.perf_counter() - start))
    return len(cases)


def _inputs(
    settings: ArmSettings, cohort: Cohort, case: Case, folder: Path | None, given: dict[str, Prediction]
) -> Inputs:
    record: dict[str, Any] = cohort.record(case.scan)
    grid = Grid.of(record["grid"])
    wants_image = (
        settings.joint["width"] == "image" or settings.joint["inflation"]["enhance"] or sees_image(settings.joint)
    )
    image = cohort.read(case.scan, "image") if wants_image and cohort.has(case.scan, "image") else None
    if folder is None:
        return Inputs(cohort.read(case.scan, "labels"), image, None, grid)
    own = given.get(case.scan)
    if own is None or not own.file:
        return Inputs(None, image, None, grid)
    confidence = on_scan_grid(folder / own.confidence, record, labels=False) if own.confidence else None
    return Inputs(on_scan_grid(own.path(folder), record, labels=True).astype(np.int32), image, confidence, grid)


def _one_case(settings: ArmSettings, cohort: Cohort, case: Case, inputs: Inputs, scratch: Path) -> Prediction:
    source = "derived" if settings.joint["derive"] is not None else case.label_source
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
                inputs.labels, inputs.grid, settings.joint, side, inputs.image, inputs.confidence
            )
        except VolforgeError as error:  # one side that cannot be measured is a result, and the other one another
            sides[side] = failed_record(error.message)
            continue
        joints[side], bones[side] = joint, masks
        sides[side] = side_record(joint) | repeats_of(settings.joint, masks, inputs.grid, inputs.image)
    values = np.zeros(inputs.labels.shape, np.uint8, order="F")
    write_bones(folder / BONES, bones, cohort.record(case.scan), values.shape)
    for side, joint in joints.items():
        ids = IDS[side]
        own = np.where(joint.inflated.space, np.uint8(ids["rest"]), np.uint8(0))
        own[joint.inflated.joint_space] = ids["joint_space"]
        on_scan = back_on_scan(own, joint.bones.frame, inputs.grid)
        values = np.where(on_scan > 0, on_scan, values)
        if settings.joint["inflation"]["meshes"]:
            write_meshes(folder, side, joint, negative_volume_mesh(joint))
    content = {
        "scan": case.scan,
        "labels_from": settings.joint["inflation"]["labels_from"],
        "label_source": source,
        "method": settings.joint["inflation"]["method"],
        "r_max_mm": settings.joint["r_max_mm"],
        "joint_space_mm": settings.joint["joint_space_mm"],
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


def asymmetry_record(sides: dict[str, Any], joints: dict[str, Joint]) -> dict[str, Any]:
    """Left against right: indices of the volumes, and the distance of the mirrored shapes where surfaces are there."""
    found: dict[str, Any] = {}
    for name in VOLUMES:
        left, right = (value_of({"sides": sides}, side, name) for side in SIDES)
        signed, absolute = asymmetry_index(left, right)
        found[name] = {"signed_percent": finite(signed), "percent": finite(absolute)}
    if set(joints) != set(SIDES):
        return found
    left_joint, right_joint = joints["left"], joints["right"]
    if left_joint.barrier is None or right_joint.barrier is None:
        return found
    alignment = align_mirrored(left_joint.bones, right_joint.bones, left_joint.barrier.mesh, right_joint.barrier.mesh)
    frames = (left_joint.bones.frame, right_joint.bones.frame)
    shapes = []
    for name, masks in (
        ("joint_space", [j.inflated.joint_space for j in (left_joint, right_joint)]),
        ("negative_volume", [j.inflated.space for j in (left_joint, right_joint)]),
        ("condyle", [j.bones.condyle_mask for j in (left_joint, right_joint)]),
    ):
        shapes += [
            {"structure": m.structure, "measure": m.measure, "value": finite(m.value)}
            for m in compare_shapes(masks[0], masks[1], frames, alignment.matrix, name)
        ]
    return found | {"shapes": shapes, "registration_residual_mm": alignment.residual_mm}
