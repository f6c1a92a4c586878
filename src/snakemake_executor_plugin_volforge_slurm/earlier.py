"""Jobs of earlier runs in the same folder whose leading process was killed: they would write what this run makes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_volforge_slurm.ending import cancel_by_name
from volforge.workflow.leader import began_of, is_there

NOTE = Path(".snakemake/volforge/slurm_run.json")
PATIENCE_S = 60.0
LOOK_EVERY_S = 1.0


def begin(run: str, logger: Any, note: Path = NOTE) -> None:
    """Cancel what killed runs have left on the cluster, and note this run.

    Such jobs go on, or wait in the queue: each removes the outputs of its step before it makes them anew, also those
    that this run has made meanwhile. Runs whose jobs may still be there stay in the note, for the next start.

    Args:
        run: Name of the jobs of this run.
        logger: Of Snakemake.
        note: File that names the runs.
    """
    left = [r for r in _noted(note) if not _is_over(r, logger)]
    mine = {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "began": began_of(os.getpid()) or 0}
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps([*left, mine]) + "\n", encoding="utf-8")
    except OSError as error:
        logger.warning(f"If this run is killed, the next one cannot cancel its jobs: {note}: {error.strerror}")


def end(run: str, note: Path = NOTE) -> None:
    """A run has ended by itself: nothing of it is left."""
    left = [r for r in _noted(note) if r["run"] != run]
    with suppress(OSError):
        if left:
            note.write_text(json.dumps(left) + "\n", encoding="utf-8")
        else:
            note.unlink(missing_ok=True)


def _noted(note: Path) -> list[dict[str, Any]]:
    """The runs of a note; none where there is no note, or a torn one."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        return [
            {"run": str(r["run"]), "host": str(r["host"]), "pid": int(r["pid"]), "began": int(r["began"])}
            for r in found
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _is_over(noted: dict[str, Any], logger: Any) -> bool:
    """Whether nothing of a run can write any more; its jobs are cancelled where its process is gone."""
    run = noted["run"]
    if noted["host"] != socket.gethostname():
        if is_empty(run):
            return True
        call = f"scancel --name {run}"
        logger.warning(f"An earlier run was begun here on {noted['host']}. If it was killed, cancel its jobs: {call}")
        return False
    if is_there(noted["pid"], noted["began"]):
        return False  # with --nolock two may share a folder
    # killed first: a job that is asked to end keeps a checkpoint, and its outputs are removed, beside those of this run
    patience = cancel_by_name(run, PATIENCE_S, logger, "--signal=KILL", "--full")
    if not patience or not cancel_by_name(run, patience, logger):
        return False
    until = time.monotonic() + PATIENCE_S
    while not is_empty(run):
        if time.monotonic() > until:
            logger.warning(f"Jobs of the killed run {run} are still there, though cancelled: see squeue --name {run}")
            return False
        time.sleep(LOOK_EVERY_S)
    logger.warning(f"An earlier run in this folder was killed; its jobs ({run}) are cancelled.")
    return True


def is_empty(run: str) -> bool:
    """Whether SLURM has no job of a run; not so where it does not answer."""
    call = ["squeue", "--noheader", "--name", run, "--format", "%i"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and not done.stdout.strip()
