"""The files that a scan came from, as records hold them: size and hash, names only where they name no patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from volforge.volume.companions import channel_of, companions
from volforge.volume.folders import sha256_of, sha256_of_text
from volforge.volume.read import is_dicom


def on_disk(path: Path) -> Path:
    """The file of a path that may name one volume of a 4-D NIfTI."""
    return Path(channel_of(str(path))[0])


def source_entry(path: Path, *, named: bool = False) -> dict[str, Any]:
    """What a source is, its size and hash, as records hold them.

    Args:
        path: File or folder.
        named: Keep the names of plain files, for what is written beside them by hand. In results no name stays: they
            are often those of patients. Names of DICOM files and of folders never do.
    """
    path = on_disk(path)
    if path.is_dir():  # folders of slices are often named after patients: names stay out of results
        files = [p for p in path.rglob("*") if p.is_file()]
        size = sum(p.stat().st_size for p in files)
        return {"name": f"folder of {len(files)} files", "bytes": size, "sha256": sha256_of(path)}
    listed = _listed(path)
    if listed:
        size = sum(p.stat().st_size for p in listed if p.is_file())
        hashes = [sha256_of(p) for p in [path, *listed]]
        return {"name": f"list of {len(listed)} files", "bytes": size, "sha256": sha256_of_text("\n".join(hashes))}
    kind = _kind_of(path)
    name = path.name if named and kind != "DICOM file" else kind
    entry: dict[str, Any] = {"name": name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    for other in companions(path):  # the voxels of a two-file format
        entry.setdefault("with", {})[other.name if named else _suffixes(other)] = sha256_of(other)
    return entry


def _kind_of(path: Path) -> str:
    if is_dicom(path):
        return "DICOM file"
    return f"{_suffixes(path)} file".strip()


def _suffixes(path: Path) -> str:
    """The suffix of a file, that of the packed one with `.gz`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() + suffix if suffix == ".gz" else suffix


def _listed(path: Path) -> list[Path]:
    """The files that a list of slices or of structures names; empty for other files."""
    if path.suffix.lower() == ".txt":
        from volforge.volume.dicom.series import list_files

        return list_files(path)
    if path.suffix.lower() == ".tsv":
        from volforge.volume.label_list import read_label_list

        return list(dict.fromkeys(p.file for p in read_label_list(path)))
    return []
