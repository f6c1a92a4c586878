"""A volume as its file holds it, and its values: those of a signal, and the ids of a label map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Array, Grid
from volforge.volume.straighten import Planes

ROUNDING = 0.001  # that ids may lie off whole numbers, after arithmetic in single precision ...
ROUNDING_RELATIVE = 2e-6  # ... or this share of them, where that is more
COARSEST_STEP = 0.5  # of integers under a slope: beyond, ids cannot be told from their neighbours


@dataclass
class SourceVolume:
    """A volume as its file holds it.

    Attributes:
        array: Stored values, (X, Y, Z) in file order.
        slope, intercept: value = stored * slope + intercept.
        grid: Grid in file order, in mm.
        flags: What a reader should know (`unit_assumed` ...).
        header: The NIfTI fields that place the grid, to be written back unchanged; empty for other formats.
        notes: What was done on the way, in sentences (slices dropped, tilt taken out ...).
        kind: `nifti`, `itk` or `dicom`.
        modality: DICOM's own word for it (CT, MR, PT ...); empty for other formats.
        planes: Where the slices of the source lie, if they made no perpendicular grid and were resampled.
        axis: The file axis that those slices follow each other on.
        slice_files: Name of the file of each slice of a DICOM series, in order, else empty.
        slice_uids: Its SOP instance UID; multi-frame files: the same for all. Never written to results.
        slices: Where the slices of a DICOM series lie, in order; None for other formats.
        frame_uid: Frame of reference UID of a DICOM series, else empty. Never written to results.
        where: The file, for messages.
        step: Of labels that were stored as integers under a slope: that slope, else 0.
    """

    array: Array
    slope: float
    intercept: float
    grid: Grid
    flags: list[str] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kind: str = "nifti"
    modality: str = ""
    planes: Planes | None = None
    axis: int = 2
    slice_files: list[str] = field(default_factory=list)
    slice_uids: list[str] = field(default_factory=list)
    frame_uid: str = ""
    slices: Planes | None = None
    step: float = 0.0
    where: str = ""

    @property
    def outside(self) -> float:
        """The stored value of a signal where slices that are resampled leave the volume: its lowest value."""
        edge = self.array.max() if self.slope < 0 else self.array.min()
        return float(edge)

    def scale_as_labels(self) -> None:
        """Replace the stored values of a label map by those that they mean, as integers where they are whole.

        Done before slices are resampled: beyond them a map holds 0, which any stored value may mean. Values that are
        whole but for rounding become so (flag `labels_rounded`); others are left to the caller (`label_ids`, a mask
        of two values).
        """
        if self.array.dtype.kind in "iu" and not (self.slope.is_integer() and self.intercept.is_integer()):
            self.step = abs(self.slope)
        values = scaled(self)
        self.slope, self.intercept = 1.0, 0.0
        self.array = values
        if values.dtype.kind != "f" or not values.size or not np.isfinite(values).all():
            return
        whole = np.rint(values)
        off = np.abs(values - whole)
        if np.abs(whole).max() >= 2**31 or (off > _slack(whole, self.step)).any():
            return
        self.array = whole.astype(_integer_type(whole.min(), whole.max()))
        if off.max() > 0:
            self.flags.append("labels_rounded")
            self.notes.append(f"ids lay up to {off.max():.2g} off whole numbers and were rounded")


def _slack(whole: Array, step: float) -> Array:
    """How far values may lie from whole numbers and still be ids that were only rounded on the way.

    Single precision errs in proportion to the value, integers under a slope by half a step.
    """
    by_storage = 0.5 * step if step <= COARSEST_STEP else 0.0
    return np.asarray(np.maximum(ROUNDING, ROUNDING_RELATIVE * np.abs(whole)) + by_storage)


def _integer_type(low: float, high: float) -> np.dtype[Any]:
    return np.result_type(np.min_scalar_type(min(0, int(low))), np.min_scalar_type(max(0, int(high))))


def scaled(volume: SourceVolume) -> Array:
    """The values of a volume: integers where stored values, slope and intercept are whole, else float64."""
    if volume.slope == 1.0 and volume.intercept == 0.0:
        return volume.array
    whole = volume.slope.is_integer() and volume.intercept.is_integer() and volume.array.dtype.kind in "iu"
    if whole and volume.array.dtype.itemsize <= 4:
        slope, intercept = int(volume.slope), int(volume.intercept)
        ends = [int(v) * slope + intercept for v in (volume.array.min(), volume.array.max())] + [slope, intercept]
        dtype = np.result_type(np.min_scalar_type(min(0, *ends)), np.min_scalar_type(max(0, *ends)), np.int16)
        if dtype.kind in "iu":  # CT of DICOM: no float of eight bytes for what fits into two
            values = volume.array.astype(dtype)
            values *= dtype.type(slope)
            values += dtype.type(intercept)
            return values
    return volume.array.astype(np.float64) * volume.slope + volume.intercept


def refuse_not_finite(is_good: Array, grid: Grid, where: str, part: str = "") -> None:
    """Refuse values that are no numbers, with their count and the place of the first.

    Args:
        is_good: (X, Y, Z) where values are finite, or play no part.
        grid: Its grid.
        where: File.
        part: Words for the part of the grid that was looked at, with a blank before them.

    Raises:
        ScanError: Some are not.
    """
    if is_good.all():
        return
    first = np.argwhere(~is_good)[0]
    place = ", ".join(f"{c:.1f}" for c in (grid.affine @ [*first, 1])[:3])
    raise ScanError(
        f"{np.count_nonzero(~is_good)} voxels are not finite (NaN or infinity){part}, the first at ({place}) mm",
        where,
        "mend the file, or give a mask without them",
    )


def values_of(volume: SourceVolume, *, labels: bool) -> Array:
    """The values of a signal, or the ids of labels (`label_ids`)."""
    return label_ids(volume) if labels else scaled(volume)


def label_ids(volume: SourceVolume) -> Array:
    """The ids of a label map that was read as one (`labels=True`), as integers.

    Raises:
        ScanError: values that are not whole numbers, not even but for rounding.
    """
    values = scaled(volume)
    if values.dtype.kind != "f":
        return values
    refuse_not_finite(np.isfinite(values), volume.grid, volume.where)
    off = np.abs(values - np.rint(values))
    if not off.any():
        raise ScanError(f"label ids from {values.min():g} to {values.max():g}", volume.where, "use 0 to 65535")
    if volume.step > COARSEST_STEP:
        raise ScanError(
            f"ids are stored in steps of {volume.step:.4g} (scl_slope): neighbouring ids cannot be told apart",
            volume.where,
            "save the map anew with integers and without a slope, e.g. as uint16",
        )
    fraction = values.flat[int(off.argmax())]
    raise ScanError(
        f"not a label map: values are not whole numbers ({fraction:g}), as after resampling with interpolation",
        volume.where,
        "resample label maps with nearest neighbour",
    )
