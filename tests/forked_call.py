"""`volforge` for the jobs of a test: asks a process that has imported already (tests/forked.py), else starts it.

Run with `python -IS`: hundredths of a second.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

REFUSED = b"refused"


def ask(place: str, call: dict[str, object], files: Sequence[int]) -> tuple[socket.socket, int]:
    """Have a command forked.

    Args:
        place: Socket of `tests.forked`.
        call: Arguments of `tests.forked.become`.
        files: Open files that are its standard input, output and error.

    Returns:
        What will say its exit code, and its id: 0 where it is refused.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    content = json.dumps(call).encode()
    socket.send_fds(connection, [len(content).to_bytes(8, "big")], list(files))
    connection.sendall(content)
    return connection, said(connection) or 0


def said(connection: socket.socket) -> int | None:
    """A number; None where there will be none."""
    line = b""
    while not line.endswith(b"\n"):
        more = connection.recv(1)
        if not more:
            return None
        line += more
    return int(line)


def forwarded(numbers: Iterable[int], pid: int) -> None:
    """Signals that reach this process reach the forked one."""
    for number in numbers:
        signal.signal(number, lambda n, _: os.kill(pid, n))


def main() -> None:
    own = str(Path(sys.executable).parent)
    words = sys.argv[1:]
    place = os.environ.get("VOLFORGE_TEST_NETWORKS" if words[:1] == ["model"] else "VOLFORGE_TEST_COMMANDS", "")
    if place and Path(place).exists():
        call = {"module": "volforge", "words": words, "cwd": os.getcwd(), "env": dict(os.environ), "first": own}
        connection, pid = ask(place, call, (0, 1, 2))
        if pid:
            forwarded((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1), pid)
            code = said(connection)
            sys.exit(137 if code is None else code)
    os.execv(f"{own}/volforge", [f"{own}/volforge", *words])


if __name__ == "__main__":
    main()
