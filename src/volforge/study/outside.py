"""Files of predictions made elsewhere."""

from __future__ import annotations

from pathlib import Path

PREDICTION_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mhd")


def prediction_file(folder: str, scan: str) -> Path | None:
    """The file of an outside prediction, None where there is none."""
    for suffix in PREDICTION_SUFFIXES:
        path = Path(folder) / f"{scan}{suffix}"
        if path.exists():
            return path
    return None


def unmatched(folder: str, scans: set[str]) -> list[str]:
    """Volumes of a folder that are named after no scan of the cohort."""
    files = [p.name for p in sorted(Path(folder).iterdir()) if p.is_file() and p.name.endswith(PREDICTION_SUFFIXES)]
    known = {f"{s}{e}" for s in scans for e in PREDICTION_SUFFIXES}
    return [f for f in files if f not in known]
