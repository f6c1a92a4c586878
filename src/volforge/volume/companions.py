"""Files that belong together: the voxels of a two-file format lie beside its header. No heavy import here."""

from __future__ import annotations

import os
import re
from pathlib import Path

from volforge.text_lines import lines_of

CHANNEL = re.compile(r"(.+\.(?:nii|nii\.gz|dcm|dicom|ima))#(\d{1,4})", re.IGNORECASE)
ANY = re.compile(r"(.+)#(\d{1,4})")


def channel_of(path: str) -> tuple[str, int | None]:
    """The file of a path, and which of its volumes `#k` behind it names (from 0); None where it names none.

    Behind 4-D NIfTI and multi-frame DICOM files; those of DICOM may have any name, so the disk is asked.
    """
    hit = CHANNEL.fullmatch(path)
    if hit is None:
        hit = ANY.fullmatch(path)
        hit = hit if hit and not os.path.exists(path) and os.path.exists(hit[1]) else None
    return (hit[1], int(hit[2])) if hit else (path, None)


def companions(path: Path) -> list[Path]:
    """The other files of a volume that exist: `.img` of `.hdr` and the reverse, the data of `.mhd` and `.nhdr`."""
    name = path.name
    lower = name.lower()
    for ours, theirs in ((".hdr", ".img"), (".img", ".hdr")):
        for gz in ("", ".gz"):
            if lower.endswith(ours + gz):
                stem = name[: len(name) - len(ours + gz)]
                candidates = [path.with_name(stem + t + g) for t in (theirs, theirs.upper()) for g in ("", ".gz")]
                return [c for c in candidates if c.is_file()]
    if not lower.endswith((".mhd", ".nhdr")) or not path.is_file():
        return []
    found = []
    with path.open("rb") as file:
        for raw in lines_of(file.read(65536).decode("utf-8", "surrogateescape")):
            key, mark, value = raw.partition("=") if lower.endswith(".mhd") else raw.partition(":")
            if mark and key.strip().lower() in ("elementdatafile", "data file", "datafile"):
                data = path.parent / value.strip()
                found += [data] if data.is_file() else []
    return found
