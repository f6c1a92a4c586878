"""Back to the grid of the source file: the exact inverse of the import's geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.folders import read_json
from volforge.volume.geometry import Array, Grid, Reorientation, describe, same_place
from volforge.volume.read import read_canonical, read_volume
from volforge.volume.straighten import Planes, onto_planes
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
    values = turn.invert(array)
    sheared = record["source_grid"].get("planes")
    if sheared:  # a NIfTI whose slices were straightened: back to the voxels of its slices
        planes = Planes(tuple(sheared["shape"]), *(np.array(sheared[k]) for k in ("origins", "u", "v")))
        is_mask = _are_labels(values)
        outside = 0 if is_mask else values.min().item()
        values = np.moveaxis(onto_planes(values, grid, planes, nearest=is_mask, outside=outside), 2, sheared["axis"])
    write_nifti(path, values, grid, header)


def _are_labels(values: Array) -> bool:
    """Whether values are ids rather than a signal: whole, none below 0, and few."""
    if values.dtype.kind in "ub":
        return True
    return values.dtype.kind == "i" and values.min() >= 0 and len(np.unique(values)) <= 512


def restore_file(file: Path, record_file: Path, out: Path) -> None:
    """Write a volume of a scan's folder (or a prediction on its grid) on the source file's grid."""
    record = read_json(record_file)
    if not record["accepted"]:
        raise VolforgeError("the scan was refused and has no grid", str(record_file), "import it first")
    array, _ = read_canonical(file)
    write_on_source_grid(out, array, record)


def restore_as_segmentation(
    file: Path, record_file: Path, out: Path, series: Path | None, structures_file: Path | None
) -> None:
    """Write labels of a scan as a DICOM segmentation of the series that the scan was imported from.

    Raises:
        VolforgeError: no series or structures are named; the file holds no labels; the series is another one.
    """
    from volforge.cohort.structures import read_structures
    from volforge.errors import ProblemsError, errors_of
    from volforge.volume.dicom.segmentation import write_segmentation

    if series is None or structures_file is None:
        raise VolforgeError(
            "a DICOM segmentation needs its series and names", str(out), "pass --series FOLDER and --structures TABLE"
        )
    structures, problems = read_structures(structures_file)
    if errors_of(problems):
        raise ProblemsError(problems)
    record = read_json(record_file)
    if not record["accepted"]:
        raise VolforgeError("the scan was refused and has no grid", str(record_file), "import it first")
    labels, _ = read_canonical(file)
    if list(labels.shape) != record["grid"]["shape"] or labels.dtype.kind not in "u":
        raise VolforgeError(
            f"{labels.dtype} of shape {labels.shape}: not labels on the scan's grid", str(file), "pass a label map"
        )
    source = read_volume(series)
    grid, turn, _ = source_grid(record)
    if not same_place(source.grid, grid):
        text = f"the series is another than the scan's: {describe(source.grid)}; scan: {describe(grid)}"
        raise VolforgeError(text, str(series), "name the series that the scan was imported from")
    values = turn.invert(labels)
    if source.planes is not None:
        values = onto_planes(values, grid, source.planes, nearest=True, outside=0)
    ids = {s.structure: s.id for s in structures}
    write_segmentation(out, values, series, ids, {s.structure: s.colour for s in structures})
