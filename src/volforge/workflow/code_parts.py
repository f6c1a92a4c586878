"""What of a Python source the code hash takes: its text without what only readers see, and what it imports."""

from __future__ import annotations

import ast
import hashlib
import symtable
from collections.abc import Sequence
from typing import Any, TypedDict

# Words of commands that only help pages show.
SHOWN = frozenset({"help", "short_help", "epilog", "metavar", "rich_help_panel"})
# Calls that take them: `typer.Option(...)`, `@app.command(...)`.
TAKING = frozenset({"typer", "app"})


class Part(TypedDict):
    """What the hash needs to know of a module or of a command."""

    imports: list[str]
    """What may be modules, as written: `a.b`; relative ones with their dots, `.b`, `..c.d`. `from a import b` gives
    `a` and `a.b`."""
    text: str
    """Hash of the normalised source."""
    names: list[str]
    """What the top level of a module binds; empty for a command."""


def of_module(source: bytes) -> Part:
    """The part of a whole module.

    Raises:
        SyntaxError: It is not Python.
    """
    tree = _without_words(source)
    return Part(imports=_imports([tree]), text=_text(tree.body), names=sorted(set().union(*map(_bound, tree.body))))


def of_command(source: bytes, function: str) -> Part:
    """The part of one function of a module of commands: itself, and what of its module it names or cannot do without.

    That is whatever it names, and so on; of the imports at the top those whose names are used; and all statements
    that bind no name (they change what others bound).

    Raises:
        LookupError: There is no such function.
    """
    statements = _without_words(source).body
    if not any(isinstance(s, ast.FunctionDef) and s.name == function for s in statements):
        raise LookupError(function)
    taken: set[int] = set()
    wanted = {function}
    while True:
        more = [n for n, s in enumerate(statements) if n not in taken and (not _bound(s) or _bound(s) & wanted)]
        if not more:
            break
        taken.update(more)
        for n in more:
            wanted |= _named(symtable.symtable(ast.unparse(statements[n]), function, "exec"))
    found = [statements[n] for n in sorted(taken)]
    return Part(imports=_imports(found), text=_text(found), names=[])


def _without_words(source: bytes) -> ast.Module:
    tree = _WithoutWords().visit(ast.parse(source))
    assert isinstance(tree, ast.Module)
    return tree


class _WithoutWords(ast.NodeTransformer):
    """Takes out what does not run: docstrings, help texts, blocks for type checkers. Comments are gone by parsing."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        runs = _running(node)
        if runs is None:
            return self.generic_visit(node)
        # in place of the block stands what runs of it, normalised in its turn
        block = ast.Module(body=runs, type_ignores=[])
        self.generic_visit(block)
        return block.body

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in TAKING:
            node.keywords = [k for k in node.keywords if k.arg not in SHOWN]
        return self.generic_visit(node)


def _running(node: ast.If) -> list[ast.stmt] | None:
    """What runs of `if TYPE_CHECKING` and `if not TYPE_CHECKING`; None for any other condition."""
    if _is_type_checking(node.test):
        return node.orelse
    if (
        isinstance(node.test, ast.UnaryOp)
        and isinstance(node.test.op, ast.Not)
        and _is_type_checking(node.test.operand)
    ):
        return node.body
    return None


def _is_type_checking(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


def _imports(trees: Sequence[ast.AST]) -> list[str]:
    names: set[str] = set()
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            names.add(start)
            names.update(f"{start}.{a.name}" if node.module else start + a.name for a in node.names if a.name != "*")
    return sorted(names)


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top of a module binds, perhaps."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


def _named(table: symtable.SymbolTable) -> set[str]:
    """Names of the module that a statement reads or calls, inside functions too; names of their own are none."""
    found = {s.get_name() for s in table.get_symbols() if s.is_global()}
    return found.union(*map(_named, table.get_children()))


def _text(statements: Sequence[ast.stmt]) -> str:
    return hashlib.sha256("\n".join(map(ast.unparse, statements)).encode()).hexdigest()
