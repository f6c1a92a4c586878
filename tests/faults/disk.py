"""A small disk of its own for a run, and what fills it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DISK_MB = 12
"""Of the file system that a run works on while its disk is filled: some more than it needs."""


def may_mount() -> bool:
    """Whether this process may mount a small file system; else no disk is filled."""
    if os.getuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as name:
        try:
            with disk_of(Path(name), True):
                return True
        except subprocess.CalledProcessError:
            return False


@contextmanager
def disk_of(folder: Path, is_small: bool) -> Iterator[None]:
    """A folder on a small file system of its own, in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    if not is_small:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def fill(path: Path) -> None:
    """A file that takes all that is left on its disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
