"""Headers of NRRD and MetaImage, held against their files before a library reads them.

ITK ends the process on some damaged headers, sets memory aside for whatever a header promises, and fills what packed
values lack with what lay in memory. So the form of each field is checked here, and what the values should take is
compared with what the file holds.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from volforge.errors import ScanError
from volforge.volume.companions import data_files
from volforge.volume.promises import inflated_size, refuse_promise

NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")
LARGEST_HEADER = 1 << 24  # bytes
LONGEST_FIELD = 4096
MOST_AXES = 6
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)"
_VECTOR = rf"\(\s*(?:{_NUMBER})(?:\s*,\s*(?:{_NUMBER}))*\s*\)|none"
_NUMBERS = re.compile(rf"(?:{_NUMBER})(?:\s+(?:{_NUMBER}))*", re.IGNORECASE)
_VECTORS = re.compile(rf"(?:{_VECTOR})(?:\s*(?:{_VECTOR}))*", re.IGNORECASE)
_OF_VECTORS = ("spacedirections", "spaceorigin", "measurementframe")
_OF_NUMBERS = ("spacings", "thicknesses", "axismins", "axismaxs")
_WIDTHS = {
    1: ("int8", "uint8", "signed char", "unsigned char", "uchar", "int8_t", "uint8_t"),
    2: ("int16", "uint16", "short", "short int", "signed short", "signed short int", "unsigned short", "ushort",
        "unsigned short int", "int16_t", "uint16_t"),
    4: ("int32", "uint32", "int", "signed int", "unsigned int", "uint", "int32_t", "uint32_t", "float"),
    8: ("int64", "uint64", "longlong", "long long", "long long int", "signed long long", "signed long long int",
        "unsigned long long", "unsigned long long int", "ulonglong", "int64_t", "uint64_t", "double"),
}  # fmt: skip
_NRRD_WIDTH = {name: width for width, names in _WIDTHS.items() for name in names}
_PACKED = ("gzip", "gz")
_TEXT = ("ascii", "text", "txt", "hex")
_META_WIDTH = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_META_NUMBERS = ("TransformMatrix", "Rotation", "Orientation", "Offset", "Position", "Origin", "CenterOfRotation",
                 "ElementSpacing", "ElementSize", "ElementMin", "ElementMax", "ElementNumberOfChannels",
                 "HeaderSize", "NDims", "DimSize", "CompressedDataSize")  # fmt: skip
_MEND = "write the file again with the program that made it"


class NrrdHeader(NamedTuple):
    """The text of an NRRD header: fields (`space: ...`), keys in lower case, and free pairs (`Name:=value`)."""

    fields: dict[str, str]
    pairs: dict[str, str]


def nrrd_header(path: Path) -> NrrdHeader:
    """The header of an NRRD file; empty where the file is none."""
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for key, value, is_pair in _nrrd_lines(path)[0]:
        if is_pair:
            pairs[key] = value.replace("\\n", "\n").replace("\\\\", "\\")
        else:
            fields[key.strip().lower()] = value.strip()
    return NrrdHeader(fields, pairs)


def check_nrrd(path: Path) -> None:
    """Check an NRRD header, and that the file holds what it promises.

    Raises:
        ScanError: A field is damaged, the values are fewer than promised, or lie outside of the header's folder.
    """
    lines, start = _nrrd_lines(path)
    fields: dict[str, str] = {}
    for key, value, is_pair in lines:
        if "\0" in value:
            raise ScanError(f"its header is damaged: '{_short(key)}' holds a zero byte", remedy=_MEND)
        if is_pair:
            continue
        name = key.replace(" ", "").lower()
        if name in fields:
            raise ScanError(f"its header is damaged: '{_short(key)}' stands twice", remedy=_MEND)
        fields[name] = _plain(key, value)
    axes = _whole(fields, "dimension", 1)[0]
    if not 1 <= axes <= MOST_AXES:
        raise ScanError(f"its header names {axes} axes", remedy="export one 3-D volume")
    sizes = _whole(fields, "sizes", axes)
    _check_nrrd_geometry(fields, axes)
    width = _NRRD_WIDTH.get(" ".join(fields.get("type", "").lower().split()))
    if width is None:
        raise ScanError(f"its values are of type '{_short(fields.get('type', ''))}'", remedy="export grey values")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", *_PACKED, *_TEXT):
        raise ScanError(f"its values are encoded as '{_short(encoding)}'", remedy="save it as raw or gzip")
    count = math.prod(sizes)
    files = _values_beside(path)
    held = sum(f.stat().st_size for f in files) if files else path.stat().st_size - start
    if encoding in _TEXT:
        refuse_promise(sizes, count, held)  # a character each, at least
    else:
        refuse_promise(sizes, count * width, held, is_packed=encoding in _PACKED)


def _check_nrrd_geometry(fields: dict[str, str], axes: int) -> None:
    """Vectors and numbers are such: ITK ends the process on an origin that is none."""
    for name in (n for n in _OF_VECTORS if n in fields):
        if not _VECTORS.fullmatch(fields[name]):
            raise ScanError(f"its header is damaged: {name} is {_short(fields[name])}", remedy=_MEND)
        lengths = {v.count(",") + 1 for v in re.findall(r"\([^)]*\)", fields[name])}
        if len(lengths) > 1 or lengths - {1, 2, 3, 4}:
            raise ScanError(f"its header is damaged: {name} is {_short(fields[name])}", remedy=_MEND)
    for name in (n for n in _OF_NUMBERS if n in fields):
        if not _NUMBERS.fullmatch(fields[name]) or len(fields[name].split()) != axes:
            raise ScanError(f"its header is damaged: {name} is {_short(fields[name])}", remedy=_MEND)


def check_meta(path: Path) -> None:
    """Check a MetaImage header, and that the file holds what it promises.

    ITK fills what short values lack with whatever was in memory, and says nothing of packed ones that end early.

    Raises:
        ScanError: A field is damaged, the values are fewer than promised, or lie outside of the header's folder.
    """
    fields, start = _meta_fields(path)
    for name in (n for n in _META_NUMBERS if n in fields):
        if not _NUMBERS.fullmatch(fields[name]):
            raise ScanError(f"its header is damaged: {name} is {_short(fields[name])}", remedy=_MEND)
    axes = _whole(fields, "NDims", 1)[0]
    if not 1 <= axes <= MOST_AXES:
        raise ScanError(f"its header names {axes} axes", remedy="export one 3-D volume")
    sizes = _whole(fields, "DimSize", axes)
    for name, length in {"TransformMatrix": axes * axes, "Offset": axes, "ElementSpacing": axes}.items():
        if name in fields and len(fields[name].split()) != length:
            raise ScanError(f"its header is damaged: {name} is {_short(fields[name])}", remedy=_MEND)
    kind = fields.get("ElementType", "").removeprefix("MET_").removeprefix("U")
    if kind not in _META_WIDTH:
        raise ScanError(f"its values are of type '{_short(kind)}'", remedy="export grey values")
    channels = _whole(fields, "ElementNumberOfChannels", 1)[0] if "ElementNumberOfChannels" in fields else 1
    expected = math.prod(sizes) * _META_WIDTH[kind] * channels
    files = _values_beside(path)
    if fields.get("ElementDataFile", "").upper() != "LOCAL" and not files:
        raise ScanError("the file that its header names for the values is not there", remedy="copy it beside")
    is_packed = fields.get("CompressedData", "F")[:1] in "Tt1"
    held = sum(f.stat().st_size for f in files) if files else path.stat().st_size - start
    if fields.get("BinaryData", "True")[:1] in "Ff0":
        refuse_promise(sizes, math.prod(sizes) * channels, held)
        return
    refuse_promise(sizes, expected, held, is_packed=is_packed)
    if is_packed and len(files) <= 1:
        if "CompressedDataSize" not in fields:  # ITK then reads other values, and says nothing
            raise ScanError("its header does not tell CompressedDataSize", remedy=_MEND)
        length = _whole(fields, "CompressedDataSize", 1)[0]
        found = inflated_size(files[0] if files else path, 0 if files else start, expected, length=length)
        if found < expected:
            raise ScanError(
                f"the file is damaged or truncated: {found} bytes of values, {expected} expected",
                remedy="copy it again",
            )


def _nrrd_lines(path: Path) -> tuple[list[tuple[str, str, bool]], int]:
    """(key, value, whether a free pair) of each line of an NRRD header, and where its values begin."""
    with path.open("rb") as file:
        if file.read(4) != b"NRRD":
            return [], 0
        file.readline(LARGEST_HEADER)
        lines = list(_lines(file.readline, LARGEST_HEADER))
        return lines, file.tell()


def _lines(readline: object, left: int) -> Iterator[tuple[str, str, bool]]:
    assert callable(readline)
    while left > 0 and (raw := readline(left)):
        left -= len(raw)
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
        if not line.strip():
            return
        pair, field = line.find(":="), line.find(": ")
        is_pair = pair >= 0 and (field < 0 or pair < field)  # the key of a free pair may hold colons
        key, mark, value = line.partition(":=" if is_pair else ":")
        if mark and not line.startswith("#"):
            yield key, value, is_pair


def _meta_fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields of a MetaImage header up to the one that names the values, and where that line ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < LARGEST_HEADER and (raw := file.readline(LARGEST_HEADER)):
            key, _, value = raw.decode("utf-8", errors="replace").partition("=")
            fields[key.strip()] = _plain(key.strip(), value)
            if key.strip() == "ElementDataFile":
                return fields, file.tell()
    raise ScanError("the file is damaged or truncated (no ElementDataFile in its header)", remedy="copy it again")


def _plain(key: str, value: str) -> str:
    """The value of a field; ITK reads what it knows, so that must be short and free of control characters."""
    text = value.strip()
    is_free = key in ("Comment", "Name", "ObjectSubTypeName", "Modality")
    if not is_free and (len(text) > LONGEST_FIELD or any(ord(c) < 32 and c != "\t" for c in text)):
        raise ScanError(f"its header is damaged at '{_short(key)}'", remedy=_MEND)
    return text


def _whole(fields: dict[str, str], name: str, count: int) -> list[int]:
    """Positive whole numbers of a field."""
    words = fields.get(name, "").split()
    if len(words) != count or not all(w.isascii() and w.isdigit() and len(w) <= 12 for w in words):
        raise ScanError(f"its header is damaged: {name} is '{_short(fields.get(name, ''))}'", remedy=_MEND)
    found = [int(w) for w in words]
    if 0 in found:
        raise ScanError(f"an axis has no length: {name} {' '.join(words)}", remedy="export it again")
    return found


def _values_beside(path: Path) -> list[Path]:
    """The files of values that a header names, none where it holds them itself.

    Raises:
        ScanError: They lie outside of the header's folder: one that came from elsewhere must not reach other files.
    """
    folder = os.path.join(os.path.abspath(path.parent), "")
    files = data_files(path)
    if any(not os.path.abspath(f).startswith(folder) for f in files):
        raise ScanError(
            "its header names values outside of its own folder",
            remedy="copy the file of the values beside the header, and name it there",
        )
    return [f for f in files if f.is_file()]


def _short(text: str) -> str:
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
