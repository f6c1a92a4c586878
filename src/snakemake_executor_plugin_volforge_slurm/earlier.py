"""Jobs of an earlier run in the same folder whose leading process was killed: they would write what this run makes."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_volforge_slurm.ending import cancel_by_name
from volforge.workflow.leader import began_of, is_there

NOTE = Path(".snakemake/volforge/slurm_run.json")
PATIENCE_S = 60.0


def begin(run: str, logger: Any, note: Path = NOTE) -> None:
    """Cancel what a killed run has left on the cluster, and note this run.

    Such jobs go on, or wait in the queue: each removes the outputs of its step before it makes them anew, also those
    that this run has made meanwhile.

    Args:
        run: Name of the jobs of this run.
        logger: Of Snakemake.
        note: File that names the last run.
    """
    with suppress(OSError, ValueError, KeyError):  # there is none, or it is torn
        earlier = json.loads(note.read_text(encoding="utf-8"))
        _cancel(earlier["run"], earlier["host"], int(earlier["pid"]), int(earlier["began"]), logger)
    content = {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "began": began_of(os.getpid()) or 0}
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        logger.warning(f"If this run is killed, the next one cannot cancel its jobs: {note}: {error.strerror}")


def end(note: Path = NOTE) -> None:
    """The run has ended by itself: nothing of it is left."""
    with suppress(OSError):
        note.unlink(missing_ok=True)


def _cancel(run: str, host: str, pid: int, began: int, logger: Any) -> None:
    if host != socket.gethostname():
        call = f"scancel --name {run}"
        logger.warning(f"An earlier run was begun here on {host}. If it was killed, cancel its jobs: {call}")
    elif not is_there(pid, began) and cancel_by_name(run, PATIENCE_S, logger):  # with --nolock two may share a folder
        logger.warning(f"An earlier run in this folder was killed; its jobs ({run}) are cancelled.")
