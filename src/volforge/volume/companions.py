"""Files that belong together: the voxels of a two-file format lie beside its header. No heavy import here."""

from __future__ import annotations

import re
from pathlib import Path

from volforge.text_lines import lines_of

CHANNEL = re.compile(r"(.+\.nii(?:\.gz)?)#(\d{1,4})", re.IGNORECASE)


def channel_of(path: str) -> tuple[str, int | None]:
    """The file of a path, and the volume that `#k` behind a 4-D NIfTI names (from 0); None where it names none."""
    hit = CHANNEL.fullmatch(path)
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
