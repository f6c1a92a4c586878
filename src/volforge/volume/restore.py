"""Back to the grid of the source file: the exact inverse of the import's geometry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.folders import form_of, read_object
from volforge.volume.geometry import Array, Grid, Reorientation, describe, reorientation_of, same_place
from volforge.volume.label_map import Target
from volforge.volume.read import read_volume
from volforge.volume.read_itk import is_segmentation
from volforge.volume.source_volume import values_of
from volforge.volume.straighten import Planes, onto_planes
from volforge.volume.write import write_nifti

# the volumes of a scan's folder: whether they hold ids or a mask
PARTS = {f"{p}.nii.gz": p != "image" for p in ("image", "labels", "body", "defective", "implant")}


def source_grid(record: dict[str, Any]) -> tuple[Grid, Reorientation, dict[str, Any]]:
    """The grid of a scan's source file, the way from there to canonical order, and its NIfTI placing fields."""
    stored = record["source_grid"]
    a, b, c = stored["shape"]
    turn = record["reorientation"]
    order, flip = tuple(turn["order"]), tuple(turn["flip"])
    grid = Grid((a, b, c), np.array(stored["affine"], dtype=float))
    return grid, Reorientation(order, flip), stored["header"]


def write_on_source_grid(
    path: Path, array: Array, record: dict[str, Any], *, labels: bool, description: str = ""
) -> None:
    """Write a canonical array on the grid of the scan's source file: same shape, axes and affine.

    Args:
        path: File to write.
        array: (X, Y, Z) on the canonical grid.
        record: Of the scan.
        labels: The values are ids or a mask, no signal: if slices must be resampled, by nearest neighbour.
        description: Of the header, as `volforge.volume.write.nifti_bytes`.

    Raises:
        VolforgeError: the array is not on the scan's canonical grid; another ending than `.nii.gz`.
    """
    if not path.name.lower().endswith(".nii.gz"):
        raise VolforgeError("volumes are written as .nii.gz", str(path), "name such a file")
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
        outside = 0 if labels else values.min().item()
        values = np.moveaxis(onto_planes(values, grid, planes, nearest=labels, outside=outside), 2, sheared["axis"])
    write_nifti(path, values, grid, header, description)


def on_scan_grid(
    file: Path, record: dict[str, Any], *, labels: bool, structures: Mapping[str, int] | None = None
) -> Array:
    """The values of a volume on the canonical grid of a scan, whatever axis order it was saved in.

    Args:
        file: The volume.
        record: Of the scan.
        labels: The values are ids or a mask, no signal: if slices must be resampled, by nearest neighbour; ids are
            returned as integers.
        structures: Id by name, for label maps whose segments have names of their own (3D Slicer); None: of such a
            file the numbers would mean anything, and it is refused.

    Raises:
        VolforgeError: the volume lies elsewhere, or has another shape or spacing; labels that are no whole numbers.
    """
    a, b, c = record["grid"]["shape"]
    wanted = Grid((a, b, c), np.array(record["grid"]["affine"], dtype=float))
    if labels and is_segmentation(file):
        from volforge.volume.seg_nrrd import read_segments

        target = Target(wanted, wanted.shape, Reorientation((0, 1, 2), (False, False, False)))
        return read_segments(file, target, structures or {}, resample=False).array
    volume = read_volume(file, labels=labels)
    turn = reorientation_of(volume.grid.affine)
    if not same_place(turn.canonical(volume.grid), wanted):
        raise VolforgeError(
            f"not on the scan's grid: {describe(turn.canonical(volume.grid))}; scan: {describe(wanted)}",
            str(file),
            "save it with the affine of the scan's image.nii.gz, or resample it there",
        )
    return np.asfortranarray(turn.apply(values_of(volume, labels=labels)))


def restore_file(file: Path, record_file: Path, out: Path, *, labels: bool | None) -> None:
    """Write a volume of a scan's folder (or a prediction on its grid) on the source file's grid.

    Args:
        file: The volume.
        record_file: record.json of the scan.
        out: File to write.
        labels: Whether the volume holds ids or a mask, or a signal; None: not said, which is enough for the parts of
            a scan's folder, and where nothing has to be resampled.

    Raises:
        VolforgeError: another ending than `.nii.gz`; the scan was refused; another grid; slices must be resampled,
            and it was not said how.
    """
    if not out.name.lower().endswith(".nii.gz"):
        raise VolforgeError("volumes are written as .nii.gz, segmentations as .dcm", str(out), "name such a file")
    record = _accepted(record_file)
    if labels is None:
        labels = PARTS.get(file.name)
    if labels is None and "planes" in record["source_grid"]:
        raise VolforgeError(
            "the slices of this scan were straightened: to resample back, it must be known what the file holds",
            str(file),
            "pass --labels for ids and masks, --signal for images and probabilities",
        )
    write_on_source_grid(out, on_scan_grid(file, record, labels=bool(labels)), record, labels=bool(labels))


def _accepted(record_file: Path) -> dict[str, Any]:
    record = read_object(record_file, "the record of a scan", "accepted")
    if not record["accepted"]:
        raise VolforgeError("the scan was refused and has no grid", str(record_file), "import it first")
    with form_of(record_file, "the record of a scan"):
        source_grid(record)
        list(record["grid"]["shape"]), np.array(record["grid"]["affine"], dtype=float).reshape(4, 4)
    return record


def restore_as_segmentation(
    file: Path, record_file: Path, out: Path, series: Path | None, structures_file: Path | None
) -> None:
    """Write labels of a scan as a DICOM segmentation of the series that the scan was imported from.

    Raises:
        VolforgeError: no series or structures are named; the file holds no labels; the series is another one.
    """
    from volforge.errors import ProblemsError, errors_of
    from volforge.tables.structures import read_structures
    from volforge.volume.dicom.segmentation import write_segmentation
    from volforge.volume.sources import source_entry

    if series is None or structures_file is None:
        raise VolforgeError(
            "a DICOM segmentation needs its series and names", str(out), "pass --series FOLDER and --structures TABLE"
        )
    structures, problems = read_structures(structures_file)
    if errors_of(problems):
        raise ProblemsError(problems)
    record = _accepted(record_file)
    labels = on_scan_grid(file, record, labels=True, structures={s.structure: s.id for s in structures})
    if labels.min() < 0 or labels.max() > 65535:
        raise VolforgeError("values are no ids (whole numbers from 0 to 65535)", str(file), "pass a label map")
    imported = record["source"].get("image", {}).get("sha256")
    if source_entry(series)["sha256"] != imported:
        raise VolforgeError(
            "these are not the files that the scan was imported from",
            str(series),
            "name the same folder, file or list as the sheet did; a segmentation carries the patient of its series",
        )
    source = read_volume(series, labels=False)
    grid, turn, _ = source_grid(record)
    values = turn.invert(labels.astype(np.uint16))
    if source.planes is not None:
        values = onto_planes(values, grid, source.planes, nearest=True, outside=0)
    ids = {s.structure: s.id for s in structures}
    write_segmentation(out, values, series, ids, {s.structure: s.colour for s in structures})
