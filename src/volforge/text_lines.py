"""Texts that a user wrote: bounded reading, and lines as editors and the `csv` module count them."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

END = re.compile(r"\r\n|\n|\r")


def lines_of(text: str, *, keep_ends: bool = False) -> list[str]:
    r"""The lines of a text; `\n`, `\r\n` and `\r` end one.

    `str.splitlines` ends a line at form feeds, at U+0085, U+2028 and U+2029 too: these come with text from word
    processors, are not seen, and would cut a comment or a cell in two.
    """
    lines, start = [], 0
    for end in END.finditer(text):
        lines.append(text[start : end.end() if keep_ends else end.start()])
        start = end.end()
    return lines + [text[start:]] * (start < len(text))


def content_of(path: Path, most: int) -> bytes:
    """The bytes of a plain file of a bounded size: devices and pipes have no end.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        OSError: It is not there, no plain file, too large, or cannot be read.
    """
    try:
        about = os.stat(path)
    except ValueError as error:  # a zero byte, or half of a surrogate pair
        raise OSError(errno.EINVAL, "its name holds characters that no file can have", ascii(str(path))) from error
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    if about.st_size > most:
        raise OSError(errno.EFBIG, f"it has {about.st_size:,} bytes, and at most {most:,} are read", str(path))
    return path.read_bytes()
