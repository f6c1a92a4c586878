"""What a header promises against what its file holds, told before memory is set aside for it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from volforge.errors import ScanError
from volforge.volume.stand_ins import GZIP

MOST_VOXELS = 1 << 33  # of one volume; a whole body in half millimetres has a sixteenth of it
MOST_PACKED = 1040  # times that deflate can pack values of one kind (1032, Deutsch 1996), and a little
_SLACK = 1 << 16  # bytes of heads and tails
_BLOCK = 1 << 20


def refuse_promise(shape: Sequence[int], expected: int, held: int, *, is_packed: bool = False) -> None:
    """Refuse a header that promises more values than its file can hold.

    Args:
        shape: Axes, for the message.
        expected: Bytes that the values take, unpacked.
        held: Bytes that the file has for them.
        is_packed: They are packed by deflate (gzip, zlib).

    Raises:
        ScanError: They cannot be there, or are more than any scan has.
    """
    shown = " x ".join(str(n) for n in shape)
    if held * (MOST_PACKED if is_packed else 1) + (_SLACK if is_packed else 0) < expected:
        kind = "packed " if is_packed else ""
        raise ScanError(
            f"the file is damaged or truncated: its header promises {shown} voxels ({expected:,} bytes), and "
            f"{held:,} {kind}bytes are there",
            remedy="copy or export it again",
        )
    voxels = math.prod(shape[:3])  # further axes are phases or directions: their bytes were compared above
    if voxels > MOST_VOXELS:
        raise ScanError(
            f"{shown} voxels are more than any scan has (at most {MOST_VOXELS:,})", remedy="crop or resample it"
        )


def inflated(content: bytes, most: int) -> bytes:
    """The bytes of a gzip file, of one or several members, up to a number.

    Args:
        content: The file; zeros behind its last member are no part of it.
        most: Bytes that may come out.

    Raises:
        ScanError: More would come out.
        EOFError: It ends within a member.
        ValueError: Something else follows a member.
        zlib.error: It is damaged.
    """
    from isal import isal_zlib

    parts: list[bytes] = []
    left, at, whole = most, 0, memoryview(content)
    while at < len(content):
        member = isal_zlib.decompressobj(wbits=31)
        try:
            # a file of one member is opened in one go; of many small ones only as much is handed over as each may need
            step = len(content) if not parts else _BLOCK
            while not member.eof and at < len(content):
                block = whole[at : at + step]
                parts.append(member.decompress(block, left + 1))
                while not member.eof and member.unconsumed_tail and len(parts[-1]) <= left:
                    left -= len(parts[-1])
                    parts.append(member.decompress(member.unconsumed_tail, left + 1))
                left -= len(parts[-1])
                if left < 0:
                    raise ScanError(
                        f"the file unpacks to more than the {most:,} bytes that its header can mean",
                        remedy="it is damaged, or made to fill the memory: get it anew",
                    )
                at += len(block) - len(member.unused_data)
        except _damaged() as error:
            raise zlib.error(str(error)) from error
        if not member.eof:
            raise EOFError("the compressed file ends early")
        while at < len(content) and content[at] == 0:
            at += 1
        if at < len(content) and content[at : at + len(GZIP)] != GZIP:
            raise ValueError("something else follows the compressed data")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _damaged() -> type[Exception]:
    """What isal raises; not a `zlib.error`."""
    from isal import isal_zlib

    return cast("type[Exception]", isal_zlib.error)


def first_inflated(content: bytes, count: int) -> bytes:
    """The first bytes of what a gzip file holds.

    Raises:
        zlib.error: It is damaged.
    """
    # a part is enough, and what is not consumed is copied
    return zlib.decompressobj(wbits=31).decompress(content[:_BLOCK], count)


def inflated_size(path: Path, start: int, most: int, wbits: int = 47, length: int | None = None) -> int:
    """How many bytes a packed stream in a file holds, counted up to a number; 0 for what is none.

    Args:
        path: The file.
        start: Where the stream begins.
        most: Counting ends here.
        wbits: Of zlib: 47 for zlib or gzip, as its first bytes tell; -15 for a bare stream.
        length: Bytes of the file that belong to it; None: all that follow.
    """
    from isal import isal_zlib

    stream = isal_zlib.decompressobj(wbits=wbits)
    count, end = 0, path.stat().st_size if length is None else start + length
    with path.open("rb") as file:
        file.seek(start)
        while count < most and not stream.eof:
            block = stream.unconsumed_tail or file.read(max(0, min(_BLOCK, end - file.tell())))
            if not block:
                break
            try:
                count += len(stream.decompress(block, _BLOCK * 16))
            except _damaged():
                return count
        with suppress(_damaged()):  # what a full step has left inside
            while count < most and not stream.eof and (more := stream.decompress(b"", _BLOCK * 16)):
                count += len(more)
    return count
