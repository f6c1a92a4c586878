"""Scratch beside a result: names that tell their owner, and what becomes of those whose owner is gone.

A name is `.<result>.<machine>-<process>-<its start>-<number>.partial` (or `.old`). What stands behind the result has
one form and no dot inside, so that the scratch of `case1.2` is never taken for one of `case1`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from functools import cache
from pathlib import Path

NAME = re.compile(
    r"\.(?P<result>.+)\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-\d+\.(?P<kind>partial|old)(\.nii\.gz)?",
    re.DOTALL,
)
SILENT_S = 2 * 86400.0  # after which the scratch of another machine, that nobody writes to, is given up
_numbers = itertools.count()


def scratch_beside(path: Path, kind: str = "partial", suffix: str = "") -> Path:
    """A name beside a result that no other process, thread or machine uses.

    Args:
        path: The result.
        kind: `partial` for one that is being made, `old` for one that makes room.
        suffix: `.nii.gz` where a program looks at it, else empty.
    """
    owner = f"{_machine()}-{os.getpid()}-{_start_of(os.getpid()) or 0}-{next(_numbers)}"
    return path.with_name(f".{path.name.removesuffix(suffix)}.{owner}.{kind}{suffix}")


def sweep(folder: Path) -> None:
    """Remove scratch whose owner is gone, and put back results that were moved aside and not replaced."""
    for name in sorted(os.listdir(folder)):
        hit = NAME.fullmatch(name)
        if hit is None or not _is_abandoned(folder / name, hit):
            continue
        final = folder / hit["result"]
        if hit["kind"] == "old" and not os.path.lexists(final):
            with contextlib.suppress(OSError):  # another process has put it back, or made it anew
                (folder / name).rename(final)
        remove(folder / name)


def remove(path: Path) -> None:
    """Remove a file or folder as far as it can be; what another process removes at the same time is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_abandoned(path: Path, hit: re.Match[str]) -> bool:
    """Whether the process that made a scratch is gone; of another machine: whether it was silent for long."""
    if hit["machine"] == _machine():
        return _start_of(int(hit["pid"])) != int(hit["start"])
    return time.time() - _last_change(path) > SILENT_S


def _last_change(path: Path) -> float:
    """Time of the last change of a file, or of anything below a folder; that of now where it cannot be seen."""
    found = [path, *(path.rglob("*") if path.is_dir() else ())]
    try:
        return max(p.lstat().st_mtime for p in found)
    except OSError:  # it is being changed
        return time.time()


@cache
def _machine() -> str:
    """Eight digits of what makes process numbers comparable: the machine since its start, and the container."""
    words = [platform.node()]
    for source in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"),
        lambda: str(Path("/proc/self/ns/pid").readlink()),
    ):
        try:
            words.append(source())
        except OSError:  # no Linux
            words.append("")
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]


def _start_of(pid: int) -> int | None:
    """When a process of this machine began, in ticks; 0 where that is not told; None where there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
