"""Results that no run has made: a study of many scans and arms, for the page and the tables that are made of it.

One measure of one structure for each scan and arm, three pictures of cases for each arm, a training curve for each, and
a record of each scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import Measure
from volforge.study.measures import Origin, row, write_measures
from volforge.tasks.registry import task
from volforge.volume.folders import write_json
from volforge.whole_file import write_whole
from volforge.workflow.configuration import Report

RANKS = ("worst", "median", "best", "")
PICTURED = 200  # scans with a QC picture of their own; the others share one
SPLITS = '{"seed":0,"folds":5,"splits":{"train":0.6,"val":0.2,"test":0.2},"on_bad_scan":"exclude","makes_labels":false}'


def arm_names(count: int) -> list[str]:
    """Ours, a baseline, and published ones."""
    return ["volforge", "base", *(f"published_{i}" for i in range(count - 2))]


def write_arms(study: Path, scans: int, names: Sequence[str]) -> list[Path]:
    """Measures, pictures of cases and a training curve of every arm; the measures' files."""
    generator = np.random.default_rng(0)
    found = []
    for a, arm in enumerate(names):
        noise = generator.normal(0, 0.02, scans)
        lines = []
        for i in range(scans):
            origin = Origin("s", arm, 0, 0, "c", f"subject-{i}", f"scan-{i}", label_source="expert")
            lines.append(row(origin, Measure("dice", 0.9 - a / 250 + noise[i], "liver")))
        part = study / arm / "fold0/seed0"
        (part / "cases").mkdir(parents=True)
        shown = []
        for k, rank in enumerate(RANKS):
            picture = generator.integers(0, 255, (60, 80, 3), np.uint8).repeat(4, 0).repeat(4, 1)
            Image.fromarray(picture).save(part / f"cases/{k}.png")
            shown.append({"scan": f"scan-{k}", "sample": 0, "rank": rank, "file": f"{k}.png"})
        write_whole(part / "cases/cases.tsv", as_tsv(("scan", "sample", "rank", "file"), shown))
        write_json(part / "cases/features.json", [])
        history = "".join(f"{s}\t{1 / (s + 1):.4f}\n" for s in range(0, 1000, 10))
        write_whole(part / "models/m/history.tsv", "step\tloss\n" + history)
        write_measures(part / "measures.tsv", lines)
        found.append(part / "measures.tsv")
    return found


def study_settings(names: Sequence[str]) -> dict[str, Any]:
    """Content of `table.settings.json`."""
    roles = {"volforge": "ours", "base": "baseline"}
    kinds = {"base": "baseline"}
    arms = {
        a: {"kind": kinds.get(a, "model"), "role": roles.get(a, "published"), "published_as": a, "note": ""}
        for a in names
    }
    content = {
        "study": "s", "task": "segmentation", "cohort": "c", "published": None, "compares_sides": [],
        "parts": [[a, 0, 0] for a in names], "arms": arms,
    }  # fmt: skip
    return content | {k: getattr(task("segmentation"), k) for k in ("shown", "first", "judged_in", "picture", "note")}


def write_scans(cohort: Path, scans: int) -> Path:
    """Records and pictures of scans, one of them refused, and the sheet that names them; the sheet."""
    generator = np.random.default_rng(1)
    lines = ["subject\tscan\tmodality\timage\tlabel_source"]
    grid = {"shape": [512, 512, 300], "spacing_mm": [1.0, 1.0, 1.0]}
    record = {
        "accepted": True, "unit": "hu", "grid": grid, "source_grid": {"axes": "LPS"}, "body": {"volume_ml": 1234.5},
        "flags": [], "source": {"image": {"sha256": "0" * 64}},
    }  # fmt: skip
    shared = cohort / "qc.png"
    shared.parent.mkdir(parents=True)
    Image.new("RGB", (480, 160)).save(shared)
    for i in range(scans):
        folder = cohort / f"scans/scan-{i}"
        write_json(folder / "record.json", record)
        if i < PICTURED:
            picture = Image.fromarray(generator.integers(0, 255, (40, 120), np.uint8)).resize((480, 160))
            picture.save(folder / "qc.png")
        else:
            (folder / "qc.png").symlink_to(shared)
        lines.append(f"subject-{i}\tscan-{i}\tCT\timage.nii.gz\t")
    refused = {"accepted": False, "refused": {"reason": "not a volume", "where": "", "remedy": ""}}
    write_json(cohort / "scans/bad/record.json", refused)
    lines.append("bad\tbad\tCT\timage.nii.gz\t")
    sheet = cohort / "sheet.tsv"
    write_whole(sheet, "\n".join(lines) + "\n")
    return sheet


def report_request() -> dict[str, Any]:
    """Content of `report.json`."""
    return {
        "report": Report(title="large", pictures_per_cohort=24).model_dump(), "studies": ["s"], "published": [],
        "cohorts": {"c": {"comments": [], "licence": "", "structures": [], "recipes": []}},
        "configuration": {"cohorts": {"c": {}}, "recipes": {}},
    }  # fmt: skip
