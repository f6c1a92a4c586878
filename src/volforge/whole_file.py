"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from volforge.scratch import scratch_beside


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that it appears whole or not at all; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_beside(path)
    try:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
