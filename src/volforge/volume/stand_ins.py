"""Files that are not what their names say: pointers to data not fetched, web pages, archives, other formats."""

from __future__ import annotations

import re
from pathlib import Path

from volforge.errors import ScanError

GZIP = b"\x1f\x8b"
_ARCHIVES = {
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"BZh": ("compressed by bzip2", "unpack it with bunzip2, and compress it with gzip if you like"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it with unzstd"),
    b"NRRD0": ("an NRRD file", "give it the ending .nrrd"),
    b"ObjectType": ("a MetaImage file", "give it the ending .mha, or .mhd with its data beside it"),
    b"\x00\x05\x16\x07": ("a companion file of macOS without voxels", "use the file of the same name without `._`"),
    b"\x89HDF": ("an HDF5 file (MINC?)", "convert it to NIfTI"),
    b"%PDF": ("a PDF document", "download the volume again"),
}


def refuse_stand_in(path: Path, *, nifti: bool = False) -> None:
    """Raise `ScanError` where a file is a stand-in for the data, and say what it is.

    Args:
        path: The file; its first bytes are read.
        nifti: It is meant as NIfTI: other formats of volumes are named too.
    """
    with path.open("rb") as file:
        refuse_stand_in_bytes(file.read(512), nifti=nifti)


def refuse_stand_in_bytes(head: bytes, *, nifti: bool = False) -> None:
    """As `refuse_stand_in`, of the first bytes of a file."""
    if not head:
        raise ScanError("the file is damaged or truncated (0 bytes)", remedy="copy or export it again")
    _refuse_pointer(head)
    if re.match(rb"\s*(<!doctype html|<html|<\?xml)", head, re.IGNORECASE):
        raise ScanError("the file is a web page or XML, no volume: a download that failed?", remedy="download it again")
    if not nifti:
        return
    if head[128:132] == b"DICM":
        raise ScanError("the file is DICOM, not NIfTI", remedy="give it the ending .dcm")
    if head[257:262] == b"ustar":
        raise ScanError("the file is a tar archive, not NIfTI", remedy="unpack it")
    for magic, (what, remedy) in _ARCHIVES.items():
        if head.startswith(magic):
            raise ScanError(f"the file is {what}, not NIfTI", remedy=remedy)


def _refuse_pointer(head: bytes) -> None:
    """Pointers of git-lfs and git-annex stand where the data go once they are fetched."""
    text = head.decode("latin-1")
    if text.startswith("version https://git-lfs") or text.startswith("version https://hawser"):
        size = re.search(r"^size (\d+)", text, re.MULTILINE)
        told = f" ({int(size[1]):,} bytes)" if size else ""
        raise ScanError(
            f"the file is a git-lfs pointer: its data{told} were not fetched",
            remedy="run `git lfs install` and `git lfs pull` in its repository",
        )
    if re.match(r"(\.\./)*(\.git)?/?annex/objects/", text):
        raise ScanError(
            "the file is a git-annex pointer: its data were not fetched",
            remedy="run `datalad get` or `git annex get` on it",
        )


def missing_file(path: Path) -> ScanError:
    """The error for a path where nothing is; a link that leads nowhere is named as one."""
    if not path.is_symlink():
        return ScanError("file not found", remedy="check the path in the sheet")
    target = str(path.readlink())
    if "annex/objects/" in target.replace("\\", "/"):
        return ScanError(
            "a git-annex link: its data were not fetched", remedy="run `datalad get` or `git annex get` on it"
        )
    # its target may be called after a patient, and reasons are kept
    return ScanError("a link that leads nowhere", remedy="`readlink` shows where it leads; mend it, or copy the file")
