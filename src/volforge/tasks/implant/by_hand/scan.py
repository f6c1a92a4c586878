"""The skull of one scan: a CT whose bone is taken, or a mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import ScanError, VolforgeError
from volforge.tasks.implant.bone import has_metal, skull_and_flags
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.volume.boxes import Box, foreground_box, grown
from volforge.volume.geometry import Array, Grid, reorientation_of
from volforge.volume.import_scan import ScanRequest, check_modality
from volforge.volume.intensity import canonical_values
from volforge.volume.label_map import Target
from volforge.volume.read import read_volume
from volforge.volume.scan_record import place_record
from volforge.volume.source_volume import scaled

BODY_HU = -500.0  # what lies above is tissue, couch or holder: the box of all that bone can lie in
ROOM_MM = 10.0
BODY_MM = 2.0


@dataclass(frozen=True)
class Scan:
    """A scan of a skull with a hole.

    Attributes:
        skull: (X, Y, Z) bool along RAS.
        hu: (X, Y, Z) int16 of a CT; None of a mask.
        grid: Of both.
        record: Where they lie on the grid of the file, for `write_on_source_grid`.
        modality: `CT`, `CBCT` or `mask`.
        metal: Whether a CT holds more metal than fillings.
        flags: Of the file and its values.
        notes: What was done on the way, in sentences.
    """

    skull: Array
    hu: Array | None
    grid: Grid
    record: dict[str, Any]
    modality: str
    metal: bool
    flags: tuple[str, ...]
    notes: tuple[str, ...]


def read_scan(path: Path, options: CaseOptions) -> Scan:
    """Read a scan and find its skull.

    Args:
        path: NIfTI, NRRD, MetaImage; DICOM: folder, multi-frame file, `.txt` list.
        options: Modality, unit, threshold.

    Raises:
        VolforgeError: It cannot be read, is of another modality, is empty, or holds no bone.
    """
    source = read_volume(path, labels=options.modality == "mask")
    turn = reorientation_of(source.grid.affine)
    grid = turn.canonical(source.grid)
    record = place_record(Target(grid, source.grid.shape, turn, source))
    flags, notes = list(source.flags), list(source.notes)
    values = np.asfortranarray(turn.apply(scaled(source)))
    modality = options.modality or ("mask" if is_mask(values) else "CT")
    check_modality(source, ScanRequest(path.name, modality, options.unit, {"image": path}))
    del source  # the memory of a large scan
    try:
        if modality == "mask":
            return Scan(_mask(values), None, grid, record, modality, False, tuple(flags), tuple(notes))
        if values.max() == values.min():
            raise ScanError(f"all values are {values.flat[0]}: the image is empty", remedy="export it again")
        found = canonical_values(values, options.unit)
        flags += found.flags
        del values
        hu = found.array
        box = _with_tissue(hu, grid)
        own = grid.part(box)
        skull = np.zeros(hu.shape, bool, order="F")
        skull[box], of_body = skull_and_flags(hu[box], own.spacing_mm, options.bone_hu, body_mm=BODY_MM)
        flags += of_body
        metal = has_metal(hu[box], own.spacing_mm)
    except VolforgeError as error:
        error.where = error.where or str(path)
        error.remedy = error.remedy.replace("the sheet's `unit`", "--unit")
        raise
    return Scan(skull, hu, grid, record, modality, metal, tuple(flags), tuple(notes))


def is_mask(values: Array) -> bool:
    """Whether values are 0 and one other."""
    low, high = values.min(), values.max()
    if low == high:
        return False
    zero, other = (low, high) if low == 0 else (high, low)
    return bool(zero == 0 and ((values == zero) | (values == other)).all())


def _mask(values: Array) -> Array:
    mask = np.asfortranarray(values != 0)
    if not mask.any():
        raise ScanError("the mask is empty", remedy="export it again")
    if not is_mask(values) and not mask.all():
        raise ScanError("a mask has the values 0 and one other, this has more", remedy="pass --modality CT, or a mask")
    return mask


def _with_tissue(hu: Array, grid: Grid) -> Box:
    """The part of a CT that is not air."""
    box = foreground_box(hu > BODY_HU)
    if box is None:
        raise ScanError("nothing lies above air", remedy="check --unit")
    return grown(box, [int(np.ceil(ROOM_MM / s)) for s in grid.spacing_mm], hu.shape)
