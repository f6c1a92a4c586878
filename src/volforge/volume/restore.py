"""Back to the grid of the source file: the exact inverse of the import's geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.folders import read_json
from volforge.volume.geometry import Array, Grid, Reorientation
from volforge.volume.read import read_canonical
from volforge.volume.write import write_nifti


def source_grid(record: dict[str, Any]) -> tuple[Grid, Reorientation, dict[str, Any]]:
    """The grid of a scan's source file, the way from there to canonical order, and its NIfTI placing fields."""
    stored = record["source_grid"]
    a, b, c = stored["shape"]
    turn = record["reorientation"]
    order, flip = tuple(turn["order"]), tuple(turn["flip"])
    grid = Grid((a, b, c), np.array(stored["affine"], dtype=float))
    return grid, Reorientation(order, flip), stored["header"]


def write_on_source_grid(path: Path, array: Array, record: dict[str, Any]) -> None:
    """Write a canonical array on the grid of the scan's source file: same shape, axes and affine.

    Raises:
        VolforgeError: the array is not on the scan's canonical grid.
    """
    if list(array.shape) != record["grid"]["shape"]:
        raise VolforgeError(
            f"shape {array.shape} is not the scan's canonical shape {tuple(record['grid']['shape'])}",
            str(path),
            "pass an array on the grid of the scan's folder",
        )
    grid, turn, header = source_grid(record)
    write_nifti(path, turn.invert(array), grid, header)


def restore_file(file: Path, record_file: Path, out: Path) -> None:
    """Write a volume of a scan's folder (or a prediction on its grid) on the source file's grid."""
    record = read_json(record_file)
    if not record["accepted"]:
        raise VolforgeError("the scan was refused and has no grid", str(record_file), "import it first")
    array, _ = read_canonical(file)
    write_on_source_grid(out, array, record)
