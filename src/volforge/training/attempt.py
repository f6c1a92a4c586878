"""Retries of a training job: one that follows a try without a new step fails before anything slow is loaded.

Snakemake empties a job's log before each try. What the first try said of its end is kept in the folder of the
checkpoints, and said again by all that follow. That serves failures that may pass, and did not: after one that no try
changes there is no other try, of any command (`volforge.lasting`).
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from volforge.errors import VolforgeError
from volforge.whole_file import write_whole

ATTEMPT, REACHED, FAILURE = "attempt.json", "reached.json", "failure.json"


@dataclass(frozen=True)
class Failure:
    """Why a try ended.

    Attributes:
        attempt: Its number, from 1.
        step: The step of the last checkpoint then.
        code: Hash of the code that trained.
        message, where, remedy: As of a `VolforgeError`.
    """

    attempt: int
    step: int
    code: str
    message: str
    where: str = ""
    remedy: str = ""


class _RepeatedError(VolforgeError):
    """The failure of an earlier try, repeated."""


def _number(path: Path, key: str) -> int | None:
    return int(json.loads(path.read_text(encoding="utf-8"))[key]) if path.exists() else None


def note_attempt(folder: Path, attempt: int, code: str = "") -> None:
    """Remember at which step this try begins.

    Args:
        folder: Folder of the checkpoints.
        attempt: Number of the try at the same job, from 1. The first one forgets what runs before it said.
        code: Hash of the code that trains.

    Raises:
        VolforgeError: A retry that begins where the try before it began, with the cause of the first failure. The first
            retry may: it has more memory.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # one of several processes of the same try
    step = _number(folder / REACHED, "step") or 0
    if attempt <= 1:
        (folder / FAILURE).unlink(missing_ok=True)
    if attempt > 2 and _number(folder / ATTEMPT, "begins_at") == step:
        again = f"the try before this one made no new step (it began at step {step} too)"
        kept = kept_failure(folder)
        if kept is None or kept.code != code:
            raise _RepeatedError(
                f"{again}, and left no message: it was killed from outside",
                str(folder),
                "it needs more time or memory before its first checkpoint: look at what the scheduler says of it",
            )
        raise _RepeatedError(f"{kept.message} (said by attempt {kept.attempt}; {again})", kept.where, kept.remedy)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / ATTEMPT, json.dumps({"begins_at": step}) + "\n")


def note_step(folder: Path, step: int) -> None:
    """Remember the step of the last checkpoint."""
    write_whole(folder / REACHED, json.dumps({"step": step}) + "\n")


def kept_failure(folder: Path) -> Failure | None:
    """What is kept of the failure of a training; None where none is."""
    try:
        return Failure(**json.loads((folder / FAILURE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # there is none, or it is being written just now
        return None


@contextmanager
def failure_kept(folder: Path, attempt: int, code: str = "") -> Iterator[None]:
    """Keep what is raised inside for the tries that follow. The first failure since the last checkpoint stays."""
    try:
        yield
    except _RepeatedError:
        raise
    except Exception as error:
        step = _number(folder / REACHED, "step") or 0
        earlier = kept_failure(folder)
        if earlier is None or earlier.step != step or earlier.code != code or attempt <= earlier.attempt:
            folder.mkdir(parents=True, exist_ok=True)
            failure = Failure(attempt, step, code, *_told(error))
            write_whole(folder / FAILURE, json.dumps(asdict(failure), ensure_ascii=False, indent=1) + "\n")
        raise


def _told(error: Exception) -> tuple[str, str, str]:
    """Message, place and remedy of an error."""
    if isinstance(error, VolforgeError):
        return error.message, error.where, error.remedy
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    place = next(
        (f for f in reversed(frames) if f"{os.sep}volforge{os.sep}" in f.filename), frames[-1] if frames else None
    )
    text = "".join(traceback.format_exception_only(error)).strip()
    return text, f"{Path(place.filename).name}:{place.lineno}" if place else "", ""
