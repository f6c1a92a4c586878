"""Private elements of scanners that write no public one: number of slices of a mosaic, b-value."""

from __future__ import annotations

import re
from typing import Any

SIEMENS = "SIEMENS MR HEADER"
MOSAIC = (0x0019, 0x0A, SIEMENS)
"""Number of slices side by side in one picture, as group, element and creator; blocks are looked for at 0x10."""
B_VALUES = ((0x0019, 0x0C, SIEMENS), (0x0043, 0x39, "GEMS_PARM_01"), (0x2001, 0x03, "Philips Imaging DD 001"))
PRIVATE_TAGS = [(group << 16) + e for group, element, _ in (MOSAIC, *B_VALUES) for e in (0x10, 0x1000 + element)]


def private_number(dataset: Any, group: int, element: int, creator: str) -> float | None:
    """The (first) number of a private element; None where it is another maker's, or no number."""
    maker, found = dataset.get((group, 0x10)), dataset.get((group, 0x1000 + element))
    if maker is None or found is None or _text(maker.value) != creator:
        return None
    value: Any = found.value
    if isinstance(value, bytes):  # written without its type: as text, or as a number
        value = _text(value) if re.fullmatch(rb"[\d.\\ +-]+\0?", value) else int.from_bytes(value, "little")
    if isinstance(value, str):
        value = value.split("\\")[0]
    elif hasattr(value, "__iter__"):
        value = next(iter(value), None)
    try:
        return float(value) if value not in (None, "") else None
    except ValueError:
        return None


def _text(value: Any) -> str:
    text = value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")
