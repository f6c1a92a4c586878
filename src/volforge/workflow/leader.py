"""Whether the process that leads a run is still there: its number alone may be another one's by now."""

from __future__ import annotations

import os
from pathlib import Path


def began_of(pid: int) -> int | None:
    """When a process of this machine began, in ticks since its start.

    Returns:
        0 where the system does not tell; None where there is no such process, or where it is over and nobody has
        waited for it (a container without an init keeps such numbers for ever).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _unless_gone(pid)
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_there(pid: int, began: int) -> bool:
    """Whether a process is there.

    Args:
        pid: Its number.
        began: As `began_of` said once; 0: any process of this number.
    """
    now = began_of(pid)
    return now is not None and (began in (0, now) or now == 0)


def _unless_gone(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
