"""The words of a sheet's column `unit`: `hu`, `hu+<number>` (HU with that number added) and `arbitrary`."""

from __future__ import annotations

import re

UNITS = ("hu", "hu+<number>", "arbitrary")
PATTERN = r"hu(\+[1-9][0-9]{0,4})?|arbitrary"


def is_unit(word: str) -> bool:
    """Whether a word is a unit."""
    return re.fullmatch(PATTERN, word) is not None


def hounsfield_offset(unit: str) -> int | None:
    """What was added to HU in values of a unit: 0 for `hu`, 1024 for `hu+1024`, None for `arbitrary`."""
    if not unit.startswith("hu"):
        return None
    return int(unit[3:] or 0)
