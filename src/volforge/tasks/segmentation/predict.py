"""Predictions of an arm that was trained: its models applied to the test scans of a fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from volforge.inference.model import load_model
from volforge.inference.segment import Scan, Segmented, segment
from volforge.study.cases import Case, Cohort
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array, Grid


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
    import torch

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
