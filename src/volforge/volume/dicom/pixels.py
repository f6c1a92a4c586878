"""Pixels of DICOM frames as they are stored: decoded, sign and unused bits put right, scaling not applied."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.dicom.damage import damage, read_dataset
from volforge.volume.dicom.headers import Frame, shown
from volforge.volume.geometry import Array


def stored_planes(frames: Sequence[Frame]) -> Iterator[tuple[int, Array]]:
    """Stored values of each frame, (columns, rows), with its number among `frames`; each file is opened once.

    Raises:
        ScanError: truncated or damaged pixels, an unknown compression.
    """
    wanted: dict[Path, list[int]] = {}
    for i, frame in enumerate(frames):
        wanted.setdefault(frame.file, []).append(i)
    for path, places in wanted.items():
        pictures = _decode(path)
        for i in places:
            yield i, pictures[frames[i].index].T


@lru_cache(maxsize=2)  # comparing the frames of one file asks for it again and again
def _decode(path: Path) -> Array:
    """(frames, rows, columns) of a file."""
    try:
        dataset = read_dataset(path, pixels=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = _pixel_array(dataset)
    except damage() as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ScanError(
            f"the pixels of {shown(path)} cannot be read ({reason})", remedy="copy or export the file again"
        ) from error
    if array.ndim == 2:
        array = array[None]
    return _significant_bits(array, dataset)


def _pixel_array(dataset: Any) -> Array:
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        return np.asarray(dataset.pixel_array)
    from pydicom.pixels import pixel_array

    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        # files without a head of their own: as pydicom found them to be written
        dataset.file_meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    held = dataset.get("PixelData")
    if held is None:
        raise ValueError("no pixels")
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        bits = int(dataset.BitsAllocated)
        count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames", 1) or 1)
        expected = (count * int(dataset.get("SamplesPerPixel", 1) or 1) * bits + 7) // 8
        if len(held) < expected:
            raise ValueError(f"truncated: {len(held)} bytes of pixels, {expected} expected")
    return np.asarray(pixel_array(dataset, raw=True))


def _significant_bits(array: Array, dataset: Any) -> Array:
    """Drop what lies above the stored bits (overlays of old scanners), and extend the sign from the highest one."""
    if array.dtype.kind not in "iu":
        return array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    allocated, stored = array.dtype.itemsize * 8, int(dataset.get("BitsStored", 0) or array.dtype.itemsize * 8)
    high = int(dataset.get("HighBit", stored - 1) or stored - 1)
    if stored >= allocated or high + 1 < stored or high >= allocated:
        return array
    unsigned = array.view(array.dtype.str.replace("i", "u"))
    left = allocated - 1 - high
    if dataset.get("PixelRepresentation", 0) == 1:
        signed = (unsigned << left).view(unsigned.dtype.str.replace("u", "i"))
        return np.asarray(signed >> (allocated - stored))
    return np.asarray((unsigned << left) >> (allocated - stored))


def same_pixels(a: Frame, b: Frame) -> bool:
    """Whether two frames hold equal values with equal scaling."""
    if a.shape != b.shape or (a.slope, a.intercept) != (b.slope, b.intercept):
        return False
    (_, one), (_, other) = next(stored_planes([a])), next(stored_planes([b]))
    return bool(np.array_equal(one, other))
