"""Faults from within a job. Every Python that has this folder in PYTHONPATH reads it; commands of volforge obey the plan.

`$FAULTS/plan.json` lists faults: `kind` (`scan import`), `fault`, `share` (0 to 1: how far into the job), `by` (`changes`
of the disk, or `time`), `id`. The first job of a kind takes its first fault, the next one the second; each happens once.
`$FAULTS/usual.json` says how many changes and seconds a job of a kind has; without it every job writes down its own.
"""

import atexit
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import resource
import signal
import sys
import threading
import time

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NAMES = {"os.rename": 1, "os.mkdir": 0, "os.remove": 0, "os.rmdir": 0}  # events, and which argument is looked at
CLOCK = time.time
SHIFT_S = 2 * 86400.0


class Job:
    """This process: what it changes on the disk, and what happens to it."""

    def __init__(self, folder, kind):
        self.folder, self.kind, self.here = folder, kind, os.getcwd() + os.sep
        self.began, self.changes, self.is_busy = CLOCK(), 0, False
        self.fault, self.at, self.is_full, self.shift = None, 0, False, 0.0
        self.written = set()

    def note(self, name, content):
        with open(f"{self.folder}/{name}", "x") as file:
            file.write(content)

    def take(self, plan, usual):
        for fault in plan:
            if fault["kind"] != self.kind:
                continue
            try:
                self.note(f"{fault['id']}.taken", str(os.getpid()))
            except FileExistsError:
                continue
            changes, seconds = usual.get(self.kind, (10, 1.0))
            self.fault = fault
            if fault["by"] == "time":
                timer = threading.Timer(fault["share"] * seconds, self.happen)
                timer.daemon = True
                timer.start()
                self.at = -1
            else:
                self.at = 1 + int(fault["share"] * changes)
            return

    def hook(self, event, arguments):
        if self.is_busy or (event != "open" and event not in NAMES):
            return
        path = arguments[NAMES.get(event, 0)]
        if event == "open" and not (arguments[2] or 0) & WRITES:
            return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        path = os.path.abspath(os.fsdecode(path))
        if not path.startswith(self.here) or "/.snakemake/" in path:
            return
        self.changes += 1
        if event in ("open", "os.rename"):  # a folder that is there already is asked for by mkdir too
            self.written.add(path)
        if self.fault and self.changes == self.at:
            self.happen(path)
        if self.is_full and event != "os.remove":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def happen(self, path=None):
        self.is_busy = True
        try:
            self.note(
                f"{self.fault['id']}.happened", json.dumps({"seconds": CLOCK() - self.began, "changes": self.changes})
            )
            getattr(self, self.fault["fault"].replace(" ", "_"))(path or self.here)
        finally:
            self.is_busy = False

    # --- faults

    def kill(self, path):
        os.kill(os.getpid(), signal.SIGKILL)

    def term(self, path):
        os.kill(os.getpid(), signal.SIGTERM)

    def time_limit(self, path):
        """As SLURM does at the limit: told to end, and killed soon after."""
        timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
        os.kill(os.getpid(), signal.SIGTERM)

    def full_disk(self, path):
        self.is_full = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # libraries that ask nobody

    def file_limit(self, path):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.fault.get("bytes", 1000), resource.RLIM_INFINITY))

    def memory(self, path):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + self.fault.get("bytes", 1000), resource.RLIM_INFINITY))

    def hog(self, path):
        """Use more memory than the job has asked for, until somebody ends it."""
        held = bytearray(self.fault["bytes"] * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(60)

    def unwritable(self, path):
        """A folder that nobody may write into; root gives up its right to do so all the same."""
        place = pathlib.Path(path).parent
        while not place.is_dir():
            place = place.parent
        if os.getuid() == 0:
            give_up_override()
        mode = place.stat().st_mode & 0o7777
        place.chmod(0o555)
        atexit.register(place.chmod, mode)

    def clock(self, path):
        """The clock jumps, and the times of what is written with it."""
        self.shift = SHIFT_S if self.fault.get("bytes", 0) % 2 else -SHIFT_S
        time.time = lambda: CLOCK() + self.shift

    def lost(self, path):
        """Its shell is gone and the job counts as failed, while it lives: it goes on when its retry runs."""
        parent = os.getppid()
        with open(f"/proc/{parent}/comm") as file:
            if file.read().strip() not in ("bash", "sh", "dash"):
                raise RuntimeError("the parent of a job is no shell")
        os.kill(parent, signal.SIGKILL)
        end = time.monotonic() + 120
        again = f"{self.folder}/{self.kind.replace(' ', '-')}.begun"
        while time.monotonic() < end and begun(again) <= self.fault_begun:
            time.sleep(0.05)
        time.sleep(self.fault["share"])

    # --- the end

    def leave(self):
        self.is_busy = True
        name = f"{self.kind.replace(' ', '-')}-{os.getpid()}.usual"
        with contextlib.suppress(OSError):
            if not os.path.exists(f"{self.folder}/usual.json"):
                self.note(name, json.dumps([self.kind, self.changes, CLOCK() - self.began]))
        if self.shift:
            for path in self.written:
                self.move(path)

    def move(self, path):
        found = [path] if os.path.exists(path) else []
        for folder, _, names in os.walk(path):
            found += [os.path.join(folder, n) for n in names]
        for one in found:
            with contextlib.suppress(OSError):
                os.utime(one, (CLOCK() + self.shift,) * 2)


def give_up_override():
    """Root without CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2): permissions hold for it too."""
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if library.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    data[0] &= ~0b110
    if library.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def begun(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def start():
    folder = os.environ.get("FAULTS")
    words = sys.orig_argv
    place = next((i for i, w in enumerate(words) if os.path.basename(w) == "volforge"), None)
    if not folder or place is None or len(words) < place + 3 or os.environ.get("FAULTS_SEEN"):
        return
    os.environ["FAULTS_SEEN"] = "1"  # not in what the job starts itself
    job = Job(folder, f"{words[place + 1]} {words[place + 2]}")
    with open(f"{folder}/{job.kind.replace(' ', '-')}.begun", "a") as file:
        file.write(".")
    job.fault_begun = begun(file.name)
    plan, usual = [], {}
    with contextlib.suppress(FileNotFoundError):
        with open(f"{folder}/plan.json") as file:
            plan = json.load(file)
        with open(f"{folder}/usual.json") as file:
            usual = json.load(file)
    sys.addaudithook(job.hook)
    atexit.register(job.leave)
    job.take(plan, usual)


start()
