"""Checkpoints that appear whole and load without running anything that they hold."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volforge.errors import VolforgeError
from volforge.scratch import scratch_beside, sweep
from volforge.whole_file import writing

LAST = "last.pt"


def best_name(step: int) -> str:
    """File of the best weights, by the step that they are of: `last.pt` may be older than the newest best."""
    return f"best-{step}.pt"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint beside itself, flush it to the disk, then let it take its place."""
    import torch

    scratch = scratch_beside(path)
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with writing(path, buffer.getbuffer().nbytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)  # what a killed process left of one: as large as the checkpoint itself
        try:
            with scratch.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)  # half of it would fill the disk of the next try


def read_checkpoint(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the same settings.

    Raises:
        VolforgeError: It cannot be read, or was made with other settings; the differing keys are named.
    """
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise VolforgeError("no such checkpoint", str(path), "check the path, or leave out --resume") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise VolforgeError(f"the checkpoint cannot be read: {error}", str(path), "delete it") from error
    differing = sorted(differences(state.get("settings", {}), settings))
    if differing:
        raise VolforgeError(
            f"the checkpoint was made with other settings: {'; '.join(differing)}",
            str(path),
            "resume with the same settings, or start anew without --resume",
        )
    return state


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The keys at which two settings differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for key in sorted({*old, *new}, key=str):
            found += differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
        return found
    return [] if old == new else [f"{name}: {old!r} there, {new!r} here"]
