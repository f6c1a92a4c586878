"""Writing volumes: the same bytes for the same values, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array, Grid
from volforge.volume.nibabel_alone import load_nibabel
from volforge.whole_file import write_whole


def _narrowed(array: Array) -> Array:
    """64-bit integers, which NIfTI-1 readers do not share, in the smallest type that holds them.

    Raises:
        VolforgeError: None does.
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8:
        return array
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in (np.uint8, np.int16, np.uint16, np.int32, np.uint32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    raise VolforgeError(f"values from {low} to {high} fit no integer of a NIfTI file", remedy="relabel them")


def nifti_bytes(array: Array, grid: Grid, header: dict[str, Any] | None = None, description: str = "") -> bytes:
    """A NIfTI-1 file, gzip-compressed without time stamp.

    Args:
        array: (X, Y, Z) in the dtype that is to be stored.
        grid: Its grid in mm.
        header: Placing fields of a source file (`SourceVolume.header`) that are kept as they were.
        description: ASCII text of the header's field `descrip`, of up to 79 characters.
    """
    from isal import igzip

    nib = load_nibabel()
    array = _narrowed(array)
    image = nib.Nifti1Image(np.asarray(array), None)
    fields = image.header
    if header:
        fields["pixdim"] = header["pixdim"]
        fields["qform_code"], fields["sform_code"] = header["qform_code"], header["sform_code"]
        for c, q, o, row in zip("bcd", header["quatern"], header["qoffset"], header["srow"], strict=True):
            fields[f"quatern_{c}"] = q
            fields[f"qoffset_{'xyz'['bcd'.index(c)]}"] = o
            fields[f"srow_{'xyz'['bcd'.index(c)]}"] = row
        fields["xyzt_units"] = header["xyzt_units"]
        image = nib.Nifti1Image(np.asarray(array), None, header=fields)
    else:
        fields.set_xyzt_units("mm")
        image = nib.Nifti1Image(np.asarray(array), grid.affine, header=fields)
        image.set_qform(grid.affine, 1)
        image.set_sform(grid.affine, 1)
    if description:
        image.header["descrip"] = description.encode("ascii")
    return bytes(igzip.compress(image.to_bytes(), 2, mtime=0))


def write_nifti(
    path: Path, array: Array, grid: Grid, header: dict[str, Any] | None = None, description: str = ""
) -> None:
    """Write a volume as `.nii.gz`; see `nifti_bytes`."""
    write_whole(path, nifti_bytes(array, grid, header, description))
