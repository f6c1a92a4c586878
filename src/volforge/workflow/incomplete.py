"""Snakemake's own note that a job was begun and has not ended: what it wrote is not trusted, and made again."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from pathlib import Path

FOLDER = Path(".snakemake/incomplete")
LONGEST = 254  # characters of a name, one less than file systems allow: a mark stands before all but the last


def note_of(output: str) -> Path:
    """The note of an output file, from the folder that the run was started in; as Snakemake 9 names it."""
    text = urlsafe_b64encode(output.encode()).decode()
    parts = [text[i : i + LONGEST] for i in range(0, len(text), LONGEST)]
    return FOLDER.joinpath(*(f"@{p}" for p in parts[:-1]), parts[-1])


def is_incomplete(output: str, folder: Path = Path()) -> bool:
    """Whether the job of an output was begun and has not ended, as far as Snakemake knows."""
    return (folder / note_of(output)).is_file()
