"""Copies of the package whose code may be changed, and small packages, for tests of the code hash."""

import ast
import shutil
from pathlib import Path

import pytest

import volforge
from volforge.workflow import code_hash as module


def forget(monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """As in a new process: files are looked at again; with a patch, what was found in them is not known either."""
    for found in vars(module).values():
        if hasattr(found, "cache_clear"):
            found.cache_clear()
    if monkeypatch is not None:
        for name, empty in (("_known", {}), ("_asked", set()), ("_new", set()), ("_kept", [])):
            monkeypatch.setattr(module, name, empty)


def copied(folder: Path) -> Path:
    """The package, copied below a folder."""
    return Path(
        shutil.copytree(volforge.__path__[0], folder / "volforge", ignore=shutil.ignore_patterns("__pycache__"))
    )


def written(folder: Path, files: dict[str, str]) -> Path:
    """Files with their texts, below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def dotted(file: Path, root: Path) -> str:
    """The name of a module of the package that lies in `root`."""
    parts = file.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class OtherWords(ast.NodeTransformer):
    """Writes every docstring and every help text anew."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value = ast.Constant(f"Other words. {node.value.value}")
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg == "help" and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(f"Other words. {node.value.value}")
        return node


def with_changed_body(source: str) -> str:
    """A statement more in the last function; a constant more where there is none."""
    tree = ast.parse(source)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    (functions[-1] if functions else tree).body.append(ast.parse("CHANGED = 1").body[0])
    return ast.unparse(tree)
