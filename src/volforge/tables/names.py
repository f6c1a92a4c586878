"""Names as volforge writes them: of structures, of scans; and the order of names with numbers in them."""

from __future__ import annotations

import hashlib
import re
import unicodedata


def plain_name(text: str) -> str:
    """A structure's name as tables write it: lower-case letters, digits and _, at most 64."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:64]


def tidy_name(text: str) -> str:
    """A name as its author wrote it, for a cell of a table: blanks joined, no control characters, NFC."""
    seen = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(unicodedata.normalize("NFC", seen).split())


def scan_name(text: str) -> str:
    """A valid scan name near to the text: 64 characters of letters, digits, `.`, `_` and `-`."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "scan"
    if len(clean) > 64:
        clean = f"{clean[:55]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return clean


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts numbers in order of value: slice2 before slice10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
