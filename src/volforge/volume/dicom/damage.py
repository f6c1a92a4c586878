"""Reading DICOM files that may be damaged, or made to fill the memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volforge.volume.promises import inflated_size

LONGEST_AXIS = 1 << 14  # rows or columns of a slice: no scanner has a quarter of it
MOST_INFLATED = 1 << 30  # bytes of a data set that is packed as a whole
DEFLATED = b"1.2.840.10008.1.2.1.99"


def damage() -> tuple[type[Exception], ...]:
    """What pydicom and its decoders raise on damaged content."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, struct.error, zlib.error,
        RuntimeError, OSError, MemoryError, BytesLengthException, InvalidDicomError,
    )  # fmt: skip


def read_dataset(path: Path, tags: Sequence[str | int] | None = None, *, pixels: bool = False) -> Any:
    """A data set by pydicom; without warnings about values that merely break the standard's form.

    Raises:
        ValueError: A data set that is packed as a whole is larger than any scan.
        Exception: One of `damage`.
    """
    import warnings

    import pydicom
    from pydicom import config

    _refuse_bomb(path)
    config.settings.reading_validation_mode = config.IGNORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(
            path, stop_before_pixels=not pixels, specific_tags=list(tags) if tags else None, force=True
        )


def frame_count(dataset: Any, path: Path) -> int:
    """Number of frames of a file that can hold them.

    Raises:
        ValueError: The header promises more than the file holds, or than any scan has.
    """
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    rows, columns = int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0)
    if max(rows, columns) > LONGEST_AXIS:
        raise ValueError(f"{columns} x {rows} voxels in a slice are more than any scan has")
    held = path.stat().st_size
    if not 1 <= count <= held:
        raise ValueError(f"its header promises {count} frames, and the file has {held} bytes")
    return count


def _refuse_bomb(path: Path) -> None:
    """Refuse a packed data set that would fill the memory; pydicom unpacks it whole, before it looks at a tag."""
    with path.open("rb") as file:
        head = file.read(1024)
    if DEFLATED not in head or head[132:136] != b"\x02\x00\x00\x00":
        return
    start = 144 + int.from_bytes(head[140:144], "little")  # behind the file's own group, whose length is told first
    if inflated_size(path, start, MOST_INFLATED, wbits=-15) >= MOST_INFLATED:
        raise ValueError(f"it unpacks to more than {MOST_INFLATED:,} bytes")
