"""Snakemake logger plugin `volforge`: progress with the time left, and errors in full; `--logger volforge`.

A terminal shows one moving bar; anything else gets a line from time to time. The complete log is in
`.snakemake/log` as always.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from logging import WARNING, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_volforge.journal import Journal
from snakemake_logger_plugin_volforge.time_left import DURATIONS, TimeLeft, key_of, read_durations, write_durations
from volforge.workflow.first_look import let_snakemake_look_first

LINE_EVERY_S = 15.0
SHOWN = ("Nothing to be done", "SLURM run ID", "No accounting on this cluster")


def in_words(seconds: float | None) -> str:
    """A duration such as `1 h 05 min`, `3 min` or `20 s`."""
    if seconds is None:
        return "time left unknown yet"
    if seconds >= 3600:
        return f"about {int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min left"
    if seconds >= 90:
        return f"about {round(seconds / 60)} min left"
    return f"about {max(1, round(seconds))} s left"


class LogHandler(LogHandlerBase):
    """Writes progress to standard error."""

    def __post_init__(self) -> None:
        """Prepare for a terminal or for lines; this is before Snakemake reads a configuration."""
        let_snakemake_look_first()
        self._earlier = read_durations(DURATIONS)
        self._time = TimeLeft(self._earlier)
        self._began = time.monotonic()
        self._last_line = 0.0
        self._is_terminal = sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None
        self._counts = (0, 0)
        self._journal = Journal()

    def emit(self, record: LogRecord) -> None:
        """Take one event of Snakemake. What cannot be written is left out.

        An error here would end the thread that reports a job, and the run would wait for that job for ever.
        """
        with suppress(OSError):
            self._take(record)

    def _take(self, record: LogRecord) -> None:
        event = getattr(record, "event", None)
        now = time.monotonic()
        if self.common_settings.dryrun:
            self._write(self.format(record))
            return
        self._journal.take(record)
        if event == LogEvent.RUN_INFO:
            self._time.plan(dict(getattr(record, "stats", {})))
            self._show(0, sum(self._time.total.values()), now, always=True)
        elif event == LogEvent.JOB_INFO:
            key = key_of(record.__dict__.get("wildcards") or {})
            self._time.start(int(record.__dict__["jobid"]), str(record.__dict__["rule_name"]), now, key)
        elif event == LogEvent.JOB_FINISHED:
            self._time.finish(int(record.__dict__["job_id"]), now)
        elif event == LogEvent.PROGRESS:
            self._show(int(record.__dict__["done"]), int(record.__dict__["total"]), now)
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR, LogEvent.ERROR):
            if event == LogEvent.JOB_ERROR:
                self._time.fail(int(record.__dict__["jobid"]), now)
            self._write(self.format(record))
        elif event == LogEvent.SHELLCMD:
            self._write(self.format(record))
        elif event is None and (record.levelno >= WARNING or record.getMessage().startswith(SHOWN)):
            self._write(record.getMessage())

    def _show(self, done: int, total: int, now: float, *, always: bool = False) -> None:
        self._counts = (done, total)
        left = in_words(self._time.seconds_left(now)) if done < total else "done"
        doing = ", ".join(self._time.running)
        if self._is_terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            if self._progress is None:
                columns = (
                    BarColumn(),
                    MofNCompleteColumn(),
                    TextColumn("{task.fields[left]}  {task.fields[doing]}"),
                )
                self._progress = Progress(*columns, console=Console(stderr=True))
                self._task = self._progress.add_task("jobs", total=total, left=left, doing=doing)
                self._progress.start()
            self._progress.update(self._task, completed=done, total=total, left=left, doing=doing)
        elif always or done == total or now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            percent = 100 * done // total if total else 100
            sys.stderr.write(f"{done} of {total} jobs ({percent} %), {left}{'; ' + doing if doing else ''}\n")
            sys.stderr.flush()

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Leave the terminal as it was."""
        leads = self._journal.is_open  # jobs in processes of their own keep nothing
        self._journal.close()
        if leads and self._time.found:
            write_durations(DURATIONS, self._earlier, self._time.found)
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """It replaces Snakemake's own stream."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """It writes no file."""
        return False

    @property
    def has_filter(self) -> bool:
        """Snakemake's own filter serves: `--quiet` and `--printshellcmds` mean what they always do."""
        return False

    @property
    def has_formatter(self) -> bool:
        """Errors are formatted as Snakemake does."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False
