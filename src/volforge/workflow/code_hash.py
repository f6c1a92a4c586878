"""A hash of the code that a command runs, so that results are made anew when it changes and only then.

Snakemake tracks a rule's shell text, not the modules behind it. The hash covers the function of the command and
every module of the package that it imports, directly or through others, found in the syntax trees (imports
inside functions too). Comments, docstrings and layout do not count.

Every job on a cluster reads the whole workflow again, so what is found in a module is kept in a file, by the
module's content: 0.1 s instead of 3 s.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypedDict

from volforge.whole_file import write_whole

PACKAGE = "volforge"


class Part(TypedDict):
    """What the hash needs to know of a module or of one of its functions."""

    imports: list[str]
    """Names of the package that may be modules."""
    text: str
    """Hash of the normalised source."""


class Module(Part):
    """A module: its own part, and those of its functions."""

    functions: dict[str, Part]


_known: dict[str, Module] = {}
# What was found in modules, by their content.
_kept: list[Path] = []
# The file that keeps it, if any.


def keep_in(file: Path) -> None:
    """Read what an earlier process found in modules, and write what this one finds anew.

    Args:
        file: a JSON file; it need not exist, and one that was cut short counts as empty.
    """
    _kept[:] = [file]
    try:
        _known.update(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return


def code_hash(entry: str, *more: str) -> str:
    """The hash of a command's code, 16 hexadecimal digits.

    Args:
        entry: `module:function`, for example `volforge.cli.scan:import_`.
    """
    if more:
        return hashlib.sha256("".join(code_hash(e) for e in (entry, *more)).encode()).hexdigest()[:16]
    if ".py:" in entry:
        return hashlib.sha256(Path(entry.split(":")[0]).read_bytes()).hexdigest()[:16]
    if not entry.startswith("volforge.cli."):
        return hash_of_modules([entry.split(":", maxsplit=1)[0]])
    return _hash_of(modules_of(entry), _function(entry)["text"])


def hash_of_modules(modules: Iterable[str]) -> str:
    """The hash of modules and all modules of the package that they import, 16 hexadecimal digits; empty for none."""
    found = _reached(modules)
    return _hash_of(found, "") if found else ""


def modules_of(entry: str) -> set[str]:
    """The modules of the package that a command reaches, without the module of the command line itself."""
    return _reached(_modules_among(_function(entry)["imports"], entry.split(":", maxsplit=1)[0]))


def _hash_of(modules: set[str], start: str) -> str:
    digest = hashlib.sha256(start.encode())
    for name in sorted(modules):
        digest.update(f"\n{name}\n{_module(name)['text']}".encode())
    return digest.hexdigest()[:16]


def _reached(modules: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(modules)
    known = len(_known)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _modules_among(_module(name)["imports"], name)
    if len(_known) > known:
        for file in _kept:
            write_whole(file, json.dumps(_known))
    return found


def _module(module: str) -> Module:
    key = _content(module)
    if key not in _known:
        _known[key] = _examined(_file(module).read_text(encoding="utf-8"))
    return _known[key]


def _function(entry: str) -> Part:
    module, name = entry.split(":")
    functions = _module(module)["functions"]
    if name not in functions:
        raise LookupError(f"{module} has no function {name}")
    return functions[name]


@cache
def _content(module: str) -> str:
    """The hash of a module's file; trees are written as text in the manner of one Python."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}\n".encode()
    return hashlib.sha256(python + _file(module).read_bytes()).hexdigest()


def _examined(source: str) -> Module:
    tree = ast.parse(source)
    functions = {
        node.name: Part(imports=_imports(node), text=_hash(node))
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    return Module(imports=_imports(tree), text=_hash(tree), functions=functions)


@cache
def _file(module: str) -> Path:
    root = Path(__file__).parents[1]
    parts = module.split(".")[1:]
    package = root.joinpath(*parts, "__init__.py")
    if package.exists():
        return package
    file = root.joinpath(*parts).with_suffix(".py")
    if not file.exists():
        raise ModuleNotFoundError(module)
    return file


def _imports(tree: ast.AST) -> list[str]:
    """Names of the package that are imported; `from a import b` gives `a` and, perhaps a module, `a.b`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names if a.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == PACKAGE:
            assert node.module is not None
            names.add(node.module)
            names.update(f"{node.module}.{a.name}" for a in node.names)
    return sorted(names)


def _modules_among(names: Iterable[str], module: str) -> set[str]:
    """The modules among imported names, with the packages that they lie in, without the importing one."""
    with_parents: set[str] = set()
    for name in names:
        parts = name.split(".")
        if _is_module(name):
            with_parents.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return with_parents - {module}


@cache
def _is_module(name: str) -> bool:
    try:
        _file(name)
    except ModuleNotFoundError:
        return False
    return True


def _hash(tree: ast.AST) -> str:
    """Of the normalised source: comments are gone by parsing, docstrings are taken out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
