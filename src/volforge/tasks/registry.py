"""The tasks by name, and those of the user's own files. The one place that knows all names.

Strings only: planning a run imports the descriptions, no entry, and no numpy.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from volforge import places
from volforge.errors import VolforgeError
from volforge.tasks.protocol import Study, Task

TASKS = {
    "segmentation": "volforge.tasks.segmentation.task:Segmentation",
    "negative_volume": "volforge.tasks.negative_volume.task:NegativeVolume",
    "implant": "volforge.tasks.implant.task:Implant",
    "semantic_synthesis": "volforge.tasks.semantic_synthesis.task:SemanticSynthesis",
    "translation": "volforge.tasks.translation.task:Translation",
}
ALLOWED = ("pydantic", "volforge.tasks.protocol")
"""What a description may import beside the standard library and neighbours that obey the same rule."""


def task(name: str) -> Task:
    """The description of a task.

    Args:
        name: Of `TASKS`, or `file.py:Class` from the working directory.

    Raises:
        VolforgeError: There is none of this name, or its description breaks the import rule.
    """
    if name in TASKS:
        return _ours(name)
    if ".py:" not in name:
        near = difflib.get_close_matches(name, list(TASKS), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TASKS)}, or file.py:Class"
        raise VolforgeError(f"no task '{name}'", "", remedy)
    file = Path(name.rsplit(":", 1)[0])
    if not file.is_file():
        raise VolforgeError(f"file not found: {file}", "", "paths of own tasks start from the working directory")
    broken = forbidden_imports(file)
    if broken:
        text = f"a description of a task imports {', '.join(broken)}"
        raise VolforgeError(text, str(file), f"import inside the entries; here: {' and '.join(ALLOWED)}")
    kind = places.at(name)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise VolforgeError("this is no task", name, "write a subclass of volforge.tasks.protocol.Task")
    try:
        made = kind()
    except Exception as error:
        raise VolforgeError(f"its description fails: {type(error).__name__}: {error}", name, "mend the file") from error
    wrong = [key for key in ("train", "predict", "measure") if not isinstance(getattr(made, key), str)]
    wrong += [] if isinstance(made.study, type) and issubclass(made.study, Study) else ["study"]
    texts = isinstance(made.baselines, Mapping) and all(isinstance(v, str) for v in made.baselines.values())
    wrong += [] if texts else ["baselines"]
    if wrong:
        text = f"{', '.join(wrong)}: not what the protocol asks for"
        raise VolforgeError(text, name, "look at the docstring of volforge.tasks.protocol.Task")
    _with_entries_beside(made, file)
    made.name = name
    return made


@cache
def _ours(name: str) -> Task:
    made: Task = places.at(TASKS[name])()
    made.name = name
    return made


def _with_entries_beside(made: Task, file: Path) -> None:
    """Entries of a file of the user: `:function` stands in the file itself, `other.py:function` beside it."""

    def place(entry: str) -> str:
        module, _, name = entry.rpartition(":")
        if not module and name:
            return f"{file}:{name}"
        return f"{file.parent / module}:{name}" if module.endswith(".py") else entry

    for key in ("train", "predict", "measure"):
        setattr(made, key, place(getattr(made, key)))
    made.baselines = {name: place(entry) for name, entry in made.baselines.items()}  # type: ignore[misc]


def forbidden_imports(file: Path) -> list[str]:
    """What a description imports against the rule, at its top level, by its syntax tree; neighbours are followed.

    Raises:
        VolforgeError: It is no Python.
    """
    found: list[str] = []
    waiting, seen = [file], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        try:
            tree = ast.parse(current.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError) as error:
            raise VolforgeError(f"not valid Python: {error}", str(current), "mend the file") from error
        for name, level in _top_imports(tree):
            root = name.split(".")[0]
            beside = current.parent / f"{root}.py"
            if not level and beside.is_file() and root not in sys.stdlib_module_names:
                waiting.append(beside)
            elif level or not (root in sys.stdlib_module_names or name in ALLOWED or root == "pydantic"):
                found.append("." * level + name)
    return sorted(set(found))


def _top_imports(tree: ast.Module) -> list[tuple[str, int]]:
    """Names that the import of a module imports, with their level; not those of functions and of type checks."""
    found: list[tuple[str, int]] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found += [(a.name, 0) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                found.append((node.module, node.level))
            else:
                found += [(a.name, node.level) for a in node.names]
        waiting += ast.iter_child_nodes(node)
    return found


def baselines() -> Mapping[str, tuple[str, ...]]:
    """Names of the baselines of every task."""
    return {name: tuple(task(name).baselines) for name in TASKS}
