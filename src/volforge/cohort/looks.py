"""What a few scans of a sheet look like, for a first configuration: voxel sizes and fields of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from volforge.cohort.sheet import SheetRow
from volforge.errors import VolforgeError

MOST = 3  # scans of a modality that are read
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """Scans of one modality, along R, A, S.

    Attributes:
        spacing_mm: Median voxel size.
        extent_mm: Largest field of view.
        is_alike: Whether all have one voxel size, within 5 %.
    """

    spacing_mm: Triple
    extent_mm: Triple
    is_alike: bool = True


def look_at(rows: Sequence[SheetRow]) -> tuple[dict[str, Look], list[str]]:
    """Read some scans of every modality, evenly spaced in the sheet.

    Returns:
        Looks by modality, and why scans could not be read (their import will say so again).
    """
    found: dict[str, Look] = {}
    refused: list[str] = []
    for modality in dict.fromkeys(r.modality for r in rows):
        files = [file for file in map(_main_file, rows) if file is not None and file[0] == modality]
        step = max(1, len(files) // MOST)
        looks = [_look(path, refused) for _, path in files[::step][:MOST]]
        if any(looks):
            found[modality] = _together([look for look in looks if look is not None])
    return found, refused


def _main_file(row: SheetRow) -> tuple[str, Path] | None:
    name = row.files.get("image") or row.files.get("defective") or row.files.get("labels")
    return (row.modality, Path(name)) if name else None


def _look(path: Path, refused: list[str]) -> Look | None:
    from volforge.volume.read import read_canonical

    try:
        _, grid = read_canonical(path, labels=False)
    except VolforgeError as error:
        refused.append(f"{error.where or path}: {error.message}")
        return None
    return Look(grid.spacing_mm, grid.extent_mm)


def _together(looks: Sequence[Look]) -> Look:
    steps = [[look.spacing_mm[axis] for look in looks] for axis in range(3)]
    spans = [[look.extent_mm[axis] for look in looks] for axis in range(3)]
    x, y, z = (median(s) for s in steps)
    a, b, c = (max(s) for s in spans)
    return Look((x, y, z), (a, b, c), all(max(s) <= 1.05 * min(s) for s in steps))


def widest(looks: Mapping[str, Look]) -> Look | None:
    """All modalities together: the largest field of view, the finest voxels; None without a look."""
    if not looks:
        return None
    every = list(looks.values())
    x, y, z = (min(look.spacing_mm[axis] for look in every) for axis in range(3))
    a, b, c = (max(look.extent_mm[axis] for look in every) for axis in range(3))
    return Look((x, y, z), (a, b, c), len(every) == 1 and every[0].is_alike)
