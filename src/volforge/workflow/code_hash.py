"""A hash of the code that a command runs, so that results are made anew when it changes and only then.

Snakemake tracks a rule's shell text, not the modules behind it. The hash covers the function of the command and
every module of the package that it imports, directly or through others, found in the syntax trees (imports
inside functions too). Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "volforge"


def code_hash(entry: str) -> str:
    """The hash of a command's code, 16 hexadecimal digits.

    Args:
        entry: `module:function`, for example `volforge.cli.scan:import_`.
    """
    module, function = entry.split(":")
    node = _function(module, function)
    digest = hashlib.sha256(_text(node).encode())
    for name in sorted(modules_of(entry)):
        digest.update(f"\n{name}\n{_module_text(name)}".encode())
    return digest.hexdigest()[:16]


def modules_of(entry: str) -> set[str]:
    """The modules of the package that a command reaches, without the module of the command line itself."""
    module, function = entry.split(":")
    found: set[str] = set()
    waiting = list(_imports(_function(module, function), module))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += _imports(_tree(name), name)
    return found


def hash_of_modules(modules: Iterable[str]) -> str:
    """The hash of modules and all modules of the package that they import, 16 hexadecimal digits; empty for none."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imports(_tree(name), name)
    digest = hashlib.sha256("".join(f"\n{name}\n{_module_text(name)}" for name in sorted(found)).encode())
    return digest.hexdigest()[:16] if found else ""


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


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


def _function(module: str, name: str) -> ast.AST:
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise LookupError(f"{module} has no function {name}")


def _imports(tree: ast.AST, module: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names if a.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == PACKAGE:
            assert node.module is not None
            names.add(node.module)
            names.update(f"{node.module}.{a.name}" for a in node.names if _is_module(f"{node.module}.{a.name}"))
    with_parents: set[str] = set()
    for name in names:
        parts = name.split(".")
        with_parents.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return with_parents - {module}


@cache
def _is_module(name: str) -> bool:
    try:
        _file(name)
    except ModuleNotFoundError:
        return False
    return True


@cache
def _module_text(module: str) -> str:
    return _text(_tree(module))


def _text(tree: ast.AST) -> str:
    """Normalised source: comments are gone by parsing, docstrings are taken out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
