"""Commands in processes of their own that need no start of Python: forked from one that has imported already.

A start with its imports is most of what a small command costs: half a second, and six with MONAI. A forked process has
its own folder, environment, arguments, output and exit code, as a started one has. It differs in what is loaded before
it begins: tests/workflow/test_startup.py says what a job imports by itself. Jobs of a run are forked too: in their
shell `volforge` is a function that asks for it (tests/forked_call.py). They are started as users start them from a wheel
(tests/workflow/test_wheel.py), on a cluster (tests/slurm/test_cluster.py), and under faults (tests/faults).

Usage: python -m tests.forked SOCKET MODULE...      ends when its standard input does; by `Prepared` alone
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from tests.forked_call import ask, said

ROOT = Path(__file__).parents[1]
READ_AT_START = ("PYTHON", "LD_", "NUMBA_", "CUDA_", "MPLBACKEND", "COVERAGE_")
"""Beginnings of the names of variables that Python or a library reads once."""


def read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """Variables of an environment that a process must be started with."""
    return {k: v for k, v in env.items() if k.startswith(READ_AT_START) and k != "PYTHONFAULTHANDLER"}


class Prepared:
    """A process that has imported modules, and forks itself for each command. It ends with the process that made it."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._place = ""

    @property
    def place(self) -> str:
        """Its socket. The first use starts it."""
        if not self._place:
            folder = tempfile.mkdtemp(prefix="forked_", dir="/tmp")  # short: names of sockets have limits
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", f"{folder}/socket", *self._modules], cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            assert server.stdout is not None
            if server.stdout.readline() != b"ready\n":
                raise RuntimeError("the process that commands are forked from has not started")
            self._place, self._server = f"{folder}/socket", server
        return self._place

    def run(
        self, module: str, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float | None = None
    ) -> subprocess.CompletedProcess[str] | None:
        """What `python -m module words` gives.

        Args:
            module: Its `__main__` is run.
            words: Arguments.
            cwd: Working folder.
            env: All variables.
            timeout: s.

        Returns:
            None where a process must be started: it reads other variables at its start.

        Raises:
            subprocess.TimeoutExpired: It was ended, with all that it had started; with what it had said, and where its
                threads were.
        """
        call = {
            "module": module,
            "words": list(words),
            "cwd": str(cwd),
            "env": dict(env),
            "first": str(cwd),
            "leads": True,
        }
        with tempfile.TemporaryDirectory() as folder, open(os.devnull) as nothing:
            paths = [Path(folder) / "out", Path(folder) / "err"]
            with paths[0].open("w") as out, paths[1].open("w") as err:
                connection, pid = ask(self.place, call, [nothing.fileno(), out.fileno(), err.fileno()])
            if not pid:
                return None
            with connection:
                try:
                    ended = select.select([connection], [], [], timeout)[0]
                    if not ended:
                        os.kill(pid, signal.SIGABRT)
                        select.select([connection], [], [], 20)
                except BaseException:
                    _end(pid)
                    raise
                if not ended:
                    _end(pid)
                    late = [p.read_text(errors="replace") for p in paths]
                    raise subprocess.TimeoutExpired([module, *words], timeout or 0, *late)
                code = said(connection)
            words = [module, *words]
            return subprocess.CompletedProcess(words, -9 if code is None else code, *(p.read_text() for p in paths))


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def serve(place: str, modules: Sequence[str]) -> None:
    """Fork for each connection until standard input ends."""
    for name in modules:
        import_module(name)
    gc.collect()
    gc.freeze()
    own = read_at_start(os.environ)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
        os.write(1, b"ready\n")
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                answer(connection, own)
            connection.close()
            bury()
    Path(place).unlink()
    Path(place).parent.rmdir()


def bury() -> None:
    """Wait for children that have ended; that they have is seen at their connections."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def answer(connection: socket.socket, own: Mapping[str, str]) -> None:
    """Be what is asked for, and say how it ended."""
    length, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as sent:
        call = json.loads(sent.read(int.from_bytes(length, "big")))
    if read_at_start(call["env"]) != own:
        connection.sendall(b"0\n")
        os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    connection.sendall(f"{os.getpid()}\n".encode())
    code = become(**call)
    connection.sendall(f"{code}\n".encode())
    os._exit(code & 255)  # to take thousands of modules apart is half of what a small command costs


def become(module: str, words: list[str], cwd: str, env: dict[str, str], first: str, leads: bool = False) -> int:
    """Be what `python -m module words` would be; its exit code.

    Args:
        module: Its `__main__` is run.
        words: Arguments.
        cwd: Working folder.
        env: All variables.
        first: Where modules are looked for before all other folders.
        leads: Whether it leads a group of processes.
    """
    if leads:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if "PYTHONFAULTHANDLER" in env:
        faulthandler.enable()
    tempfile.tempdir = None
    threads, torch = env.get("OMP_NUM_THREADS", ""), sys.modules.get("torch")
    if torch is not None and threads.isdecimal():
        torch.set_num_threads(int(threads))
    sys.path[0] = first
    sys.argv = [module, *words]
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        code = 1
        traceback.print_exc()
    threading._shutdown()  # as at the end of every Python
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
