"""Why a scan was refused, as records hold it: columns of the sheet in place of paths, which often name patients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from volforge.errors import ScanError
from volforge.volume.companions import channel_of
from volforge.volume.dicom.headers import without_names
from volforge.volume.read import is_dicom
from volforge.volume.sources import on_disk

_PATH = re.compile(r"(?<![\w.<])(?:~|\.{1,2})?/(?:[^\s/:;,'\"()]+/)+[^\s/:;,'\"()]*")


def refusal_of(error: ScanError, files: Mapping[str, Path]) -> dict[str, str]:
    """Reason, place and remedy of a refusal without paths and names of files.

    Args:
        error: Why the scan is refused.
        files: Path by column of the sheet.

    Returns:
        `reason`, `remedy`, and `where`: the column whose file is meant, empty where it is none of them.
    """
    where = next((c for c, p in files.items() if _is_of(error.where, (str(p), str(on_disk(p))))), "")
    reason, remedy = (_plain(text, files) for text in (error.message, error.remedy))
    if any(is_dicom(on_disk(p)) for p in files.values()):
        reason, remedy = without_names(reason), without_names(remedy)
    return {"reason": reason, "where": where, "remedy": remedy}


def _is_of(where: str, paths: tuple[str, ...]) -> bool:
    """Whether a place is a file, or within it; `CT_seg.nii.gz` is not within `CT`."""
    rest = (where.removeprefix(p) for p in paths if where.startswith(p))
    return any(not r or not (r[0].isalnum() or r[0] in "._-") for r in rest)


def _plain(text: str, files: Mapping[str, Path]) -> str:
    for column, path in files.items():
        whole, name = channel_of(str(path))[0], on_disk(path).name
        for known in dict.fromkeys((whole, str(Path(whole).absolute()), str(Path(whole).resolve()))):
            text = text.replace(known, f"the file of `{column}`")
        parent = str(Path(whole).absolute().parent)
        text = text.replace(f"{parent}/", "").replace(parent, f"the folder of `{column}`")
        if len(name) > 3:
            text = text.replace(name, f"the file of `{column}`")
    return _PATH.sub("(a path)", text)
