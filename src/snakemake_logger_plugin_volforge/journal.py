"""The journal of a run: what `volforge status` reads. One line of JSON per event, in `.snakemake/volforge/`."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from logging import LogRecord
from pathlib import Path
from typing import Any, TextIO

from snakemake_interface_logger_plugins.common import LogEvent

from volforge.workflow.leader import began_of

JOURNAL = Path(".snakemake/volforge/journal.jsonl")
SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\S+) \(log: (.*)\)\.")


class Journal:
    """Writes the events of the main process of a run; those of jobs and dry runs are not its own."""

    def __init__(self) -> None:
        self._file: TextIO | None = None
        self._head: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether this is the leading process of a run that has begun."""
        return self._file is not None

    def take(self, record: LogRecord) -> None:
        """Take one event of Snakemake."""
        event, fields = getattr(record, "event", None), record.__dict__
        if event == LogEvent.WORKFLOW_STARTED:
            self._begin(fields)
            return
        if self._file is None and event in (LogEvent.RUN_INFO, LogEvent.JOB_INFO):
            self._open()  # only now: a run that waits for the lock of another must not touch its journal
        if self._file is None:
            return
        if event == LogEvent.RUN_INFO:
            self._write("plan", stats=dict(fields.get("stats", {})))
        elif event == LogEvent.JOB_INFO:
            self._write(
                "start",
                id=int(fields["jobid"]),
                rule=str(fields["rule_name"]),
                wildcards={str(k): str(v) for k, v in dict(fields.get("wildcards") or {}).items()},
                log=[str(p) for p in fields.get("log") or []],
            )
        elif event == LogEvent.JOB_FINISHED:
            self._write("finish", id=int(fields["job_id"]))
        elif event == LogEvent.JOB_ERROR:
            self._write("fail", id=int(fields["jobid"]), message=str(fields.get("rule_msg") or fields.get("msg") or ""))
        elif event is None:
            hit = SUBMITTED.search(record.getMessage())
            if hit:
                self._write("submit", id=int(hit[1]), slurm=hit[2], log=hit[3])

    def _begin(self, fields: Mapping[str, Any]) -> None:
        if re.search(r"--mode[ =](remote|subprocess)|--touch", str(fields.get("cmd", ""))):
            return  # a job of a run, in a process or on a node of its own; or no run at all
        self._head = {
            "pid": os.getpid(),
            "start": began_of(os.getpid()) or 0,
            "host": str(fields.get("host", "")),
            "configfiles": [os.path.abspath(f) for f in fields.get("configfiles") or []],
        }

    def _open(self) -> None:
        if self._head is None:
            return
        JOURNAL.parent.mkdir(parents=True, exist_ok=True)
        if JOURNAL.exists():
            JOURNAL.replace(JOURNAL.with_name("previous.jsonl"))
        self._file = JOURNAL.open("w", encoding="utf-8")
        self._write("run", **self._head)

    def _write(self, event: str, **fields: Any) -> None:
        if self._file is not None:
            line = json.dumps({"event": event, "time": round(time.time(), 3), **fields}, ensure_ascii=False)
            with suppress(OSError):  # a full disk: the line is kept, and written by the first flush that can
                self._file.write(line + "\n")
                self._file.flush()

    def close(self) -> None:
        """The run has ended, well or not."""
        self._write("end")
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
