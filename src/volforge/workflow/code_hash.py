"""A hash of the code that a job runs, so that results are made anew when it changes and only then.

Snakemake tracks a rule's shell text, not the modules behind it. The hash begins at entries, `module:function`, and
follows what they import, directly or through others, found in the syntax trees (imports inside functions, relative
ones and whole packages above a module too). Comments, docstrings, help texts, layout and what stands under
`if TYPE_CHECKING` do not count. Imports by a name that is data (`import_module`, places in tables) are not followed:
whoever knows which of them a job runs, names them as further entries.

How much of its own module an entry takes:

- A function of the library may call or read anything beside it: its whole module counts.
- A function of the command line (`volforge.cli.*`) hands over to the library and shares its module with commands of
  other jobs: only what of its module it names counts. The package `volforge.cli` itself, which finds the command, does
  not.
- A function of the user's own file (`path/to/file.py:function`) is like one of the library; modules beside the file
  are followed as those of the library are, whether it imports them by plain or relative names.

Every job on a cluster reads the whole workflow again, so what is found in a module is kept in a file, by the
module's content: 0.03 s instead of 1.5 s.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from volforge.errors import VolforgeError
from volforge.whole_file import write_whole
from volforge.workflow import code_parts
from volforge.workflow.code_parts import Part

PACKAGE = "volforge"
COMMANDS = "volforge.cli"
MOST = 2000  # parts that the file keeps, before those that nobody asked for are dropped

_root = Path(__file__).parents[1]
_known: dict[str, Part] = {}
# What was found in modules and commands, by their content.
_asked: set[str] = set()
# What of it this process asked for.
_kept: list[Path] = []
# The file that keeps it, if any.


class _Entry(NamedTuple):
    """Where the code of a job begins."""

    name: str
    """The same wherever the project lies."""
    file: Path
    function: str
    home: Path | None
    """Folder of the user's own file, None for ours."""


def keep_in(file: Path) -> None:
    """Read what an earlier process found in modules, and write what this one finds anew.

    Args:
        file: a JSON file; it need not exist. One that was cut short, is no such file, or was written by another version
            of this code or by another Python counts as empty.
    """
    _kept[:] = [file]
    _known.update(_read(file))


def code_hash(*entries: str) -> str:
    """The hash of the code of a job, 16 hexadecimal digits; order and repetition of entries do not matter.

    Args:
        entries: `module:function`, for example `volforge.volume.cut_scan:cut_scan`; or `path/to/file.py:function`, from
            the working directory.

    Raises:
        VolforgeError: A file of the user's own is not there, is not Python, or has no such function.
        LookupError: A module of ours has no such function (ModuleNotFoundError: there is none).
        ValueError: No entry is given, or one is not of this form.
    """
    if not entries:
        raise ValueError("no entry to hash the code of")
    each = sorted({_hash_of_entry(_entry(e)) for e in entries})
    _keep()
    return hashlib.sha256("\n".join(each).encode()).hexdigest()[:16]


def modules_of(*entries: str) -> set[str]:
    """The modules that entries reach, with their own: dotted names of ours, paths beside the user's own file.

    The module of a command is none of them: only a part of it counts.
    """
    found = {_name(file, e.home) for e in map(_entry, entries) for file in _reached_by(e)}
    _keep()
    return found


def hash_of_modules(modules: Iterable[str]) -> str:
    """The hash of modules and all modules of the package that they import, 16 hexadecimal digits; empty for none.

    Args:
        modules: dotted names.

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    found = _reached([file for m in modules for file in _files_of(m)], None)
    _keep()
    return _digest("", found, None)[:16] if found else ""


def _entry(text: str) -> _Entry:
    place, _, function = text.rpartition(":")
    if not place or not function.isidentifier():
        raise ValueError(f"'{text}' is not module:function or file.py:function")
    if not place.endswith(".py"):
        return _Entry(text, _files_of(place)[-1], function, None)
    file = Path(os.path.abspath(place))
    if not file.is_file():
        raise VolforgeError(f"file not found: {place}", "", "paths of own files start from the working directory")
    return _Entry(f"{file.name}:{function}", file, function, file.parent)


def _hash_of_entry(entry: _Entry) -> str:
    own = _command(entry)["text"] if _is_command(entry) else ""
    return _digest(f"{entry.name}\n{own}", _reached_by(entry), entry.home)


def _digest(start: str, files: Iterable[Path], home: Path | None) -> str:
    lines = sorted(f"{_name(file, home)}\n{_module(file)['text']}" for file in files)
    return hashlib.sha256("\n".join([start, *lines]).encode()).hexdigest()


def _reached_by(entry: _Entry) -> set[Path]:
    if _is_command(entry):
        found = [file for name in _command(entry)["imports"] for file in _meant(name, entry.file, None)]
        return _reached(found, None) - {entry.file}
    if entry.function not in _module(entry.file)["names"]:
        if entry.home is None:
            raise LookupError(f"{entry.name}: there is no such function")
        raise VolforgeError(f"no function '{entry.function}'", str(entry.file), "write file.py:function")
    files = (entry.file,) if entry.home else _files_of(entry.name.rpartition(":")[0])
    return _reached(files, entry.home)


def _is_command(entry: _Entry) -> bool:
    return entry.home is None and entry.name.startswith(f"{COMMANDS}.")


def _reached(files: Iterable[Path], home: Path | None) -> set[Path]:
    """Files of modules, and of all that they import; without the package of the command line, which runs no job."""
    left_out = _root / "cli" / "__init__.py"
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found and file != left_out:
            found.add(file)
            waiting += _imported(file, home)
    return found


@cache
def _imported(file: Path, home: Path | None) -> frozenset[Path]:
    return frozenset(found for name in _module(file)["imports"] for found in _meant(name, file, home))


def _meant(name: str, file: Path, home: Path | None) -> tuple[Path, ...]:
    """The files that run when a file imports a name: its module with the packages above; none for what is not ours.

    Args:
        name: as in `Part`.
        file: the importing one.
        home: where plain names are looked for, if anywhere.
    """
    rest = name.lstrip(".")
    if len(rest) < len(name):
        # the first dot is the folder of the file, of an `__init__.py` too
        folder = file.parents[min(len(name) - len(rest), len(file.parents)) - 1]
        return (*_packages(folder.parent, folder.name)[1], *(_found(folder, rest) if rest else ()))
    if name.split(".", maxsplit=1)[0] == PACKAGE:
        return _found(_root.parent, name)
    return _found(home, name) if home and not file.is_relative_to(_root) else ()


def _files_of(module: str) -> tuple[Path, ...]:
    """A module of ours after the packages above it."""
    found = _found(_root.parent, module) if module.split(".", maxsplit=1)[0] == PACKAGE else ()
    if not found:
        raise ModuleNotFoundError(module)
    return found


@cache
def _found(folder: Path, name: str) -> tuple[Path, ...]:
    """A module below a folder, after the packages above it; none where there is no such module."""
    above, _, last = name.rpartition(".")
    packages: tuple[Path, ...] = ()
    if above:
        folder, packages = _packages(folder, above)
    for file in (folder / last / "__init__.py", folder / f"{last}.py"):
        if file.is_file():
            return (*packages, file)
    return ()


@cache
def _packages(folder: Path, name: str) -> tuple[Path, tuple[Path, ...]]:
    """The folder that a dotted name means below another, and the `__init__.py` on the way."""
    above, _, last = name.rpartition(".")
    packages: tuple[Path, ...] = ()
    if above:
        folder, packages = _packages(folder, above)
    folder /= last
    file = folder / "__init__.py"
    return folder, (*packages, file) if file.is_file() else packages


@cache
def _name(file: Path, home: Path | None) -> str:
    if file.is_relative_to(_root):
        parts = file.relative_to(_root.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Path(os.path.relpath(file, home)).as_posix()


def _module(file: Path) -> Part:
    return _part(_content(file), file, code_parts.of_module)


def _command(entry: _Entry) -> Part:
    def of_command(source: bytes) -> Part:
        try:
            return code_parts.of_command(source, entry.function)
        except LookupError as error:
            raise LookupError(f"{entry.name}: there is no such function") from error

    return _part(f"{_content(entry.file)}:{entry.function}", entry.file, of_command)


def _part(key: str, file: Path, examined: Callable[[bytes], Part]) -> Part:
    _asked.add(key)
    if key not in _known:
        try:
            _known[key] = examined(file.read_bytes())
        except (SyntaxError, ValueError) as error:  # ValueError: zero bytes
            raise VolforgeError(f"not valid Python: {error}", str(file), "mend the file") from error
        _new.add(key)
    return _known[key]


@cache
def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- the file that keeps what was found

_new: set[str] = set()
# Keys that the file lacks.


def _read(file: Path) -> dict[str, Part]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("version") != _version():
        return {}
    parts: dict[str, Part] = content["parts"]
    return parts


def _keep() -> None:
    if not _new:
        return
    for file in _kept:
        parts = {**_read(file), **_known}  # another process may have found others meanwhile
        if len(parts) > MOST:
            parts = {key: _known[key] for key in _asked}
            _known.clear()
            _known.update(parts)
        write_whole(file, json.dumps({"version": _version(), "parts": parts}))
    _new.clear()


@cache
def _version() -> str:
    """Of the code that finds parts; trees are written as text in the manner of one Python."""
    digest = hashlib.sha256(f"{sys.version_info.major}.{sys.version_info.minor}".encode())
    for file in (Path(__file__), Path(code_parts.__file__)):
        digest.update(b"\0" + file.read_bytes())
    return digest.hexdigest()
