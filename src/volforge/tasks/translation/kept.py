"""Finished work of a prediction that is not whole yet: found again by a retry of the same job.

It lies beside the result, in a folder that no rule declares, and goes when the result is there. Work of other settings,
weights or code is thrown away; that of other images of a scan is not found.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from volforge.scratch import remove
from volforge.volume.folders import read_json, sha256_of, sha256_of_text, whole_folder, write_json

DONE = "done.json"
PARTS = ("tasks/translation", "volume", "networks", "study")  # of the package, whose code a prediction depends on


class Kept:
    """The finished work of one job.

    Args:
        out: The result that the job makes.
        content: All that its work depends on beside the scans, as plain values.
    """

    def __init__(self, out: Path, content: Mapping[str, Any]):
        self.folder = out.with_name(f".{out.name}.unfinished")
        self.key = {"key": sha256_of_text(json.dumps({**content, "code": code_digest()}, sort_keys=True))}
        file = self.folder / "key.json"
        if self.folder.exists() and (not file.exists() or read_json(file) != self.key):
            remove(self.folder)

    def begin(self) -> Path:
        """The folder, made where there was nothing to be found."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            write_json(self.folder / "key.json", self.key)
        return self.folder

    def slabs(self, scan: str, inputs: str, model: str) -> Path:
        """Folder for the slabs of a scan by one model; `inputs` is the digest of what is read of the scan."""
        return self.begin() / "slabs" / f"{scan}-{inputs[:16]}" / model

    def found(self, scan: str, inputs: str) -> dict[str, Any] | None:
        """What was noted of a scan that is finished; None where it is not, or was made from other images."""
        file = self.folder / "scans" / scan / DONE
        if not file.exists():
            return None
        content: dict[str, Any] = read_json(file)
        return content if content["inputs"] == inputs else None

    def finish(self, scan: str, inputs: str, made: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        """Take over the files of a scan from the folder in which they were made, with what is to be noted of it."""
        place = self.begin() / "scans" / scan
        with whole_folder(place) as scratch:
            for file in sorted(made.iterdir()):
                file.rename(scratch / file.name)
            write_json(scratch / DONE, {**content, "inputs": inputs})
        remove(self.folder / "slabs" / f"{scan}-{inputs[:16]}")
        return {**content, "inputs": inputs}

    def hand_over(self, scan: str, names: Iterable[str], folder: Path) -> None:
        """Put files of a finished scan into the result; they stay here too, until all is whole."""
        for name in names:
            source = self.folder / "scans" / scan / name
            try:
                os.link(source, folder / name)
            except OSError:  # a file system without links
                shutil.copyfile(source, folder / name)

    def drop(self) -> None:
        """Remove all: the result is whole."""
        remove(self.folder)


@cache
def code_digest() -> str:
    """Hash of the code that predictions depend on."""
    import volforge

    root = Path(volforge.__file__).parent
    files = sorted(f for part in PARTS for f in (root / part).rglob("*.py"))
    return sha256_of_text("".join(f"{f.relative_to(root)} {sha256_of(f)}\n" for f in files))


def inputs_digest(files: Iterable[Path]) -> str:
    """Hash of the files that are read of a scan."""
    return sha256_of_text("\n".join(f"{f.name} {sha256_of(f)}" for f in files))
