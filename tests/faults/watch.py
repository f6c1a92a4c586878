"""Whether `volforge status` is true: asked again and again beside a run, and held against what can be seen otherwise.

Usage, in the folder of a project: python -m tests.faults.watch EXPECTED.json SAID.jsonl [--cluster]
It ends when its standard input is closed. `SAID.jsonl` gets a line for every claim that does not hold, and at the end
one that says how often was asked.

- `done`: the file is there and whole: where its bytes are known (`EXPECTED.json`), it has them.
- `running` on this machine: a process of the job is there, give or take the seconds that jobs need to start and end.
- a run goes on: the process that leads it is there and is a Snakemake.
- nothing runs or is queued where no run goes on.
"""

from __future__ import annotations

import hashlib
import json
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

from volforge.workflow.run import load_run
from volforge.workflow.status import Journal, Standing, read_journal, standings

JOURNAL = Path(".snakemake/volforge/journal.jsonl")
SLACK_S = 4.0
"""How long a job may be said to run before or after its process is there: Snakemake starts and ends it meanwhile."""
SHELL_ONLY = "_settings"  # rules that write a file by the shell alone


def commands() -> list[str]:
    """Command lines of all processes, arguments parted by blanks."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def leads(pid: int) -> bool:
    """Whether a process is a Snakemake that is not over."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"snakemake" in words


class Watch:
    """Claims so far, and since when jobs that are said to run have no process."""

    def __init__(self, expected: dict[str, str], is_cluster: bool) -> None:
        self.expected, self.is_cluster = expected, is_cluster
        self.asked = 0
        self.states: dict[str, int] = {}
        self._missing: dict[str, float] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    def look(self) -> list[str]:
        """Ask once; what does not hold, in words."""
        journal = read_journal(JOURNAL)
        if journal is None:
            return []
        was_led = leads(journal.pid) and journal.ended is None
        found = standings(load_run(journal.configfiles, check_files=False), journal)
        again = read_journal(JOURNAL)
        if again is None or again.began != journal.began:
            return []  # another run began meanwhile
        self.asked += 1
        for standing in found:
            self.states[standing.state] = self.states.get(standing.state, 0) + 1
        is_led = leads(journal.pid) and again.ended is None
        wrong = []
        if was_led and is_led and not journal.is_alive:
            wrong.append("a run goes on, and it is said that it ended")
        if not was_led and not is_led:
            if journal.is_alive:
                wrong.append(f"no run goes on, and process {journal.pid} is said to lead one")
            wrong += [f"{s.state} without a run: {s.step.key}" for s in found if s.state in ("running", "queued")]
        wrong += [text for s in found if s.state == "done" for text in self._not_whole(s)]
        if was_led and is_led and not self.is_cluster:
            wrong += self._without_process(found, again)
        return wrong

    def _not_whole(self, standing: Standing) -> list[str]:
        """A file that is said to be there: not there, or other bytes than it should have. Looked at once a change."""
        path = Path(standing.step.output)
        name = path.relative_to("results").as_posix()
        for _ in range(2):  # Snakemake may remove it just now, to make it anew
            try:
                stamp = path.stat()
                if self._seen.get(name) == (stamp.st_mtime_ns, stamp.st_size) or name not in self.expected:
                    return []
                if hashlib.sha256(path.read_bytes()).hexdigest() == self.expected[name]:
                    self._seen[name] = (stamp.st_mtime_ns, stamp.st_size)
                    return []
            except FileNotFoundError:
                journal = read_journal(JOURNAL)
                states = {j.key: j.state for j in journal.jobs} if journal else {}
                if states.get(standing.step.key) in ("running", "failed"):
                    return []
            time.sleep(0.3)
        return [f"said to be done, and not whole: {name}"]

    def _without_process(self, found: list[Standing], journal: Journal) -> list[str]:
        """Steps that are said to run for some seconds, while no process has their log or folder in its words."""
        running = {j.key: j for j in journal.jobs if j.state == "running"}
        now, words = time.monotonic(), commands()
        wrong = []
        said = {}
        for s in found:
            job = running.get(s.step.key)
            if s.state != "running" or job is None or s.step.rule.endswith(SHELL_ONLY):
                continue
            log = job.log[0] if job.log else ""
            if log and not any(log in w for w in words):
                said[log] = self._missing.get(log, now)
                if now - said[log] > SLACK_S:
                    wrong.append(f"said to run for {now - said[log]:.0f} s without a process: {s.step.key}")
        self._missing = said
        return wrong


def main(expected: str, out: str, *more: str) -> None:
    """Ask until standard input is closed."""
    watch = Watch(json.loads(Path(expected).read_text()), "--cluster" in more)
    pause_s = 0.5
    with Path(out).open("a", encoding="utf-8") as file:
        while not select.select([sys.stdin], [], [], pause_s)[0]:
            began = time.monotonic()
            wrong = watch.look()
            pause_s = max(0.5, 3 * (time.monotonic() - began))  # at most a quarter of a core of the two
            for text in wrong:
                file.write(json.dumps({"wrong": text, "time": time.time()}) + "\n")
                file.flush()
        file.write(json.dumps({"asked": watch.asked, "states": watch.states}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
