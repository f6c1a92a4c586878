"""Retries of a training job: one that follows a try without a new step fails before anything slow is loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.whole_file import write_whole

ATTEMPT, REACHED = "attempt.json", "reached.json"


def _number(path: Path, key: str) -> int | None:
    return int(json.loads(path.read_text(encoding="utf-8"))[key]) if path.exists() else None


def note_attempt(folder: Path, attempt: int) -> None:
    """Remember at which step this try begins.

    Args:
        folder: Folder of the checkpoints.
        attempt: Number of the try at the same job, from 1.

    Raises:
        VolforgeError: A retry that begins where the try before it began. The first retry may: it has more memory.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # one of several processes of the same try
    step = _number(folder / REACHED, "step") or 0
    if attempt > 2 and _number(folder / ATTEMPT, "begins_at") == step:
        raise VolforgeError(
            f"the try before this one made no new step (it began at step {step} too)",
            str(folder),
            "its message stands above; a job that is killed before its first checkpoint needs more time or memory",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / ATTEMPT, json.dumps({"begins_at": step}) + "\n")


def note_step(folder: Path, step: int) -> None:
    """Remember the step of the last checkpoint."""
    write_whole(folder / REACHED, json.dumps({"step": step}) + "\n")
