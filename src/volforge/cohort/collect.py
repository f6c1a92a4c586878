"""The tables of a cohort, from the records of its scans."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volforge.cohort.sheet import SheetRow
from volforge.cohort.splits import assign_rows
from volforge.errors import VolforgeError
from volforge.volume.folders import read_json, read_rows
from volforge.whole_file import write_whole

SCAN_COLUMNS = (
    "scan", "subject", "modality", "contrast", "unit", "frame", "split", "fold", "accepted", "reason",
    "label_source", "shape", "spacing_mm", "source_axes", "body_ml", "structures", "flags", "sha256",
)  # fmt: skip
REFUSED = "refused.tsv"  # stands in for scans.tsv where there is none
INDEX_COLUMNS = ("scan", "slice", "position_mm", "body_mm2", "kept", "labels", "split", "fold")


def collect_scans(rows: Sequence[SheetRow], records: Path, out: Path, settings: Mapping[str, Any]) -> tuple[int, int]:
    """Write `scans.tsv`: every scan of the sheet with its split, fold, geometry and flags.

    Splits and folds are dealt over all subjects of the sheet, before exclusion: a scan that turns bad moves
    no other one.

    Args:
        rows: Rows of the sheet.
        records: Folder with `<scan>/record.json`.
        out: File to write.
        settings: seed, folds, splits (shares), on_bad_scan, makes_labels.

    Returns:
        Numbers of accepted and of refused scans.

    Raises:
        VolforgeError: scans were refused and `on_bad_scan` is `stop`; or none is left. Then `refused.tsv` beside the
            file holds what it would have held, for the page.
    """
    assignment = assign_rows(rows, seed=settings["seed"], folds=settings["folds"], shares=settings["splits"])
    lines: list[dict[str, object]] = []
    refused: list[str] = []
    for row in rows:
        record = read_json(records / row.scan / "record.json")
        where = assignment[row.subject]
        line: dict[str, object] = {
            "scan": row.scan,
            "subject": row.subject,
            "modality": row.modality,
            "contrast": row.contrast,
            "frame": row.frame,
            "split": where.split,
            "fold": where.fold,
            "accepted": int(record["accepted"]),
        }
        if record["accepted"]:
            line |= _accepted_fields(record, row, makes_labels=settings["makes_labels"])
        else:
            refusal = record["refused"]
            place = f"{refusal['where']}: " if refusal["where"] else ""
            line["reason"] = f"{place}{refusal['reason']}"
            refused.append(
                f"  {row.scan} (line {row.line} of the sheet): {place}{refusal['reason']}"
                + (f"\n    remedy: {refusal['remedy']}" if refusal["remedy"] else "")
            )
        lines.append(line)
    beside = out.with_name(REFUSED)
    beside.unlink(missing_ok=True)
    if refused and (settings["on_bad_scan"] == "stop" or len(refused) == len(rows)):
        write_whole(beside, as_tsv(SCAN_COLUMNS, lines))
    if refused and settings["on_bad_scan"] == "stop":
        raise VolforgeError(
            f"{len(refused)} of {len(rows)} scans were refused:\n" + "\n".join(refused),
            remedy="mend them, take them out of the sheet, or set the cohort's `on_bad_scan: exclude`",
        )
    if len(refused) == len(rows):
        raise VolforgeError(
            f"no scan of {len(rows)} was accepted:\n" + "\n".join(refused),
            remedy="mend them, or take the cohort and its studies out of the configuration",
        )
    write_whole(out, as_tsv(SCAN_COLUMNS, lines))
    return len(rows) - len(refused), len(refused)


def _accepted_fields(record: dict[str, Any], row: SheetRow, *, makes_labels: bool) -> dict[str, object]:
    has_labels = "labels" in record
    source = row.label_source or ("model" if has_labels and makes_labels else "")
    main = next(record["source"][c] for c in ("image", "labels", "defective") if c in record["source"])
    return {
        "unit": record["unit"],
        "reason": "",
        "label_source": source,
        "shape": "x".join(map(str, record["grid"]["shape"])),
        "spacing_mm": "x".join(f"{s:.4g}" for s in record["grid"]["spacing_mm"]),
        "source_axes": record["source_grid"]["axes"],
        "body_ml": record.get("body", {}).get("volume_ml", ""),
        "structures": len(record["labels"]["voxels"]) if has_labels else "",
        "flags": ",".join(record["flags"]),
        "sha256": main["sha256"],
    }


def collect_index(recipe: Path, scans: Path, out: Path, on_bad_scan: str) -> tuple[int, int]:
    """Write the joint `index.tsv` of a recipe.

    Returns:
        Number of kept slices, and of accepted scans that the recipe refused.

    Raises:
        VolforgeError: the recipe refused scans and `on_bad_scan` is `stop`, or nothing is left.
    """
    every = read_rows(scans, "the scans.tsv of a cohort", ("scan", "split", "fold", "accepted"))
    accepted = [r for r in every if r["accepted"] == "1"]
    lines: list[dict[str, object]] = []
    refused = []
    for row in accepted:
        folder = recipe / row["scan"]
        record = read_json(folder / "record.json")
        if not record["accepted"]:
            refused.append(f"  {row['scan']}: {record['refused']['reason']}\n    remedy: {record['refused']['remedy']}")
            continue
        with (folder / "index.tsv").open(encoding="utf-8", newline="") as file:
            for entry in csv.DictReader(file, delimiter="\t"):
                lines.append({"scan": row["scan"], "split": row["split"], "fold": row["fold"], **entry})
    if refused and (on_bad_scan == "stop" or len(refused) == len(accepted)):
        raise VolforgeError(
            f"the recipe refused {len(refused)} of {len(accepted)} scans:\n" + "\n".join(refused),
            str(recipe),
            "change the recipe, or set the cohort's `on_bad_scan: exclude`",
        )
    write_whole(out, as_tsv(INDEX_COLUMNS, lines))
    return sum(line["kept"] == "1" for line in lines), len(refused)


def as_tsv(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as tab-separated text; a cell with a tab, a line break or a quote is quoted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
