"""Names in DICOM label files against the structures of a cohort."""

from __future__ import annotations

from collections.abc import Mapping

from volforge.cohort.names import plain_name
from volforge.errors import ScanError


def matched_names(names: Mapping[int, str], structures: Mapping[str, int]) -> tuple[dict[int, str], list[str]]:
    """Which structure each numbered name means.

    Args:
        names: Names as their author wrote them, by number.
        structures: Id by name.

    Returns:
        Structure by number; notes on those left out.

    Raises:
        ScanError: no name is a structure's, or one structure has two.
    """
    wanted = {n: plain_name(text) for n, text in names.items()}
    left_out = sorted({names[n] for n, name in wanted.items() if name not in structures})
    wanted = {n: name for n, name in wanted.items() if name in structures}
    shown = ", ".join(sorted(set(names.values()))[:12])
    if not wanted:
        raise ScanError(
            f"none of its names is a structure: {shown or '(no name)'}",
            remedy=f"name the cohort's structures after them (now: {', '.join(list(structures)[:12])})",
        )
    doubled = sorted({name for name in wanted.values() if list(wanted.values()).count(name) > 1})
    if doubled:
        raise ScanError(f"structure '{doubled[0]}' stands twice in the file", remedy="remove one of the two")
    return wanted, [
        f"names that are no structure of the cohort were left out: {', '.join(left_out)}"
    ] if left_out else []
