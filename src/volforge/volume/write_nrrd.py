"""Writing NRRD, for those whose programs read nothing else: the same bytes for the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array, Grid
from volforge.whole_file import write_whole

TYPES = {"|b1": "unsigned char", "|u1": "unsigned char", "<i2": "short", "<f4": "float"}


def nrrd_bytes(array: Array, grid: Grid) -> bytes:
    """An NRRD file, gzip-compressed without time stamp, in space LPS as ITK and 3D Slicer write it.

    Args:
        array: (X, Y, Z) of booleans, uint8, int16 or float32.
        grid: Its grid in RAS mm.

    Raises:
        VolforgeError: Another type of values.
    """
    from isal import igzip

    kind = np.dtype(array.dtype).newbyteorder("<").str
    if kind not in TYPES:
        raise VolforgeError(f"values of type {array.dtype} are not written as NRRD", remedy="convert them to float32")
    affine = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3]

    def vector(column: int) -> str:
        return "(" + ",".join(f"{v:.17g}" for v in affine[:, column]) + ")"

    header = [
        "NRRD0004",
        f"type: {TYPES[kind]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, array.shape)),
        "space directions: " + " ".join(vector(c) for c in range(3)),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {vector(3)}",
    ]
    values = np.asarray(array, dtype=kind).tobytes(order="F")
    return ("\n".join(header) + "\n\n").encode("ascii") + bytes(igzip.compress(values, 2, mtime=0))


def write_nrrd(path: Path, array: Array, grid: Grid) -> None:
    """Write a volume as `.nrrd`; see `nrrd_bytes`."""
    write_whole(path, nrrd_bytes(array, grid))
