"""`joints.tsv`: what the localiser of an arm found, one row per joint."""

from __future__ import annotations

import csv
from pathlib import Path

JOINTS = "joints.tsv"
JOINT_COLUMNS = ("scan", "side", "structure", "origin", "centre_error_mm", "region_recall")


def read_joints(folder: Path) -> list[dict[str, str]]:
    """Rows of joints.tsv: what the localiser found; none where there was no localiser."""
    if not (folder / JOINTS).exists():
        return []
    with (folder / JOINTS).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
