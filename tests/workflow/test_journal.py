"""The journal and the progress of a run whose disk takes no more: no error reaches who reports a job."""

import errno
import io
import json
import sys
from logging import LogRecord
from types import SimpleNamespace

from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_volforge import LogHandler
from snakemake_logger_plugin_volforge.journal import JOURNAL, Journal
from volforge.workflow.status import read_journal


class Disk(io.RawIOBase):
    """A file that takes nothing while it is full."""

    def __init__(self):
        self.held, self.is_full = b"", False

    def writable(self):
        return True

    def write(self, content):
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.held += bytes(content)
        return len(content)


def event(kind, **fields):
    record = LogRecord("snakemake", 20, "", 0, "", None, None)
    record.__dict__.update(event=kind, **fields)
    return record


def job(number):
    return event(LogEvent.JOB_INFO, jobid=number, rule_name="r", wildcards={"n": str(number)}, log=[])


def test_events_of_a_full_disk_are_written_when_it_takes_them_again(tmp_path):
    """It was: an error in the thread that reports a job, which the run then waited for for ever."""
    disk, journal = Disk(), Journal()
    journal._file = io.TextIOWrapper(io.BufferedWriter(disk), encoding="utf-8")
    journal._write("run", pid=1, host="h", configfiles=[])
    journal.take(job(1))
    disk.is_full = True
    journal.take(event(LogEvent.JOB_FINISHED, job_id=1))
    journal.take(job(2))
    assert b"finish" not in disk.held
    disk.is_full = False
    journal.take(event(LogEvent.JOB_ERROR, jobid=2, rule_msg="m"))
    kinds = [json.loads(line)["event"] for line in disk.held.decode().splitlines()]
    assert kinds == ["run", "start", "finish", "start", "fail"]
    (tmp_path / "j").write_bytes(disk.held)
    assert [(j.wildcards["n"], j.state) for j in read_journal(tmp_path / "j").jobs] == [
        ("1", "finished"),
        ("2", "failed"),
    ]


def test_a_disk_that_is_full_at_the_start_of_a_run(tmp_path, monkeypatch):
    """The journal begins with the first job that it can be written for; progress that cannot be shown harms nobody."""
    monkeypatch.chdir(tmp_path)
    full = Disk()
    full.is_full = True
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(full)))
    handler = LogHandler(SimpleNamespace(dryrun=False), SimpleNamespace())
    (tmp_path / ".snakemake").write_text("no folder can be made here")
    handler.emit(event(LogEvent.WORKFLOW_STARTED, host="h", configfiles=["c.yaml"], cmd="snakemake"))
    handler.emit(job(1))
    handler.emit(event(LogEvent.PROGRESS, done=0, total=2))
    (tmp_path / ".snakemake").unlink()
    handler.emit(job(2))
    assert [j.wildcards["n"] for j in read_journal(JOURNAL).jobs] == ["2"]
