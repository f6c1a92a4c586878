"""A task is one folder and one line of registration: nothing outside of it knows its name."""

import ast
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from volforge.tasks import registry
from volforge.tasks.protocol import Task
from volforge.tasks.registry import forbidden_imports
from volforge.workflow import code_hash

SOURCES = ROOT / "src/volforge"
ROOMS = {name: SOURCES / "tasks" / name for name in registry.TASKS}
# words that mean another thing where they stand: a column of the sheet, a structure of label maps, a noun of commands
COLUMN, STRUCTURE, NOUN = {"implant"}, {"negative_volume"}, {"implant"}
OTHERWISE = {
    "cohort": COLUMN,
    "volume": COLUMN,
    "report/cohort_view.py": COLUMN,
    "baselines/implants.py": COLUMN,
    "metrics/legacy.py": COLUMN,
    "metrics/measure.py": STRUCTURE,
    "config/models.py": STRUCTURE,
    "shape/joint_record.py": STRUCTURE,
    "cli/cohort.py": COLUMN,
    "cli/new.py": COLUMN,
    "cli/scan.py": COLUMN,
    "cli/__init__.py": NOUN,
    "cli/implant.py": NOUN,  # asks the registry for the task's `by_hand`
    "inference/bundle.py": {"segmentation"},  # the kind of an output in MONAI's format of bundles
    "generate.py": set(),
}


def outside():
    """Every source file that belongs to no room; the registry is the one that may know all."""
    for path in sorted(SOURCES.rglob("*.py")):
        if path != SOURCES / "tasks/registry.py" and not any(room in path.parents for room in ROOMS.values()):
            yield path


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{'.' * node.level}{node.module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


@pytest.mark.parametrize("path", list(outside()), ids=lambda p: p.relative_to(SOURCES).as_posix())
def test_nothing_outside_imports_a_room_or_knows_a_task(path):
    tree = ast.parse(path.read_text())
    named = path.relative_to(SOURCES).as_posix()
    allowed = set().union(
        *(words for place, words in OTHERWISE.items() if named == place or named.startswith(f"{place}/"))
    )
    rooms = tuple(f"volforge.tasks.{name}" for name in ROOMS)
    assert [i for i in imports_of(tree) if i.startswith(rooms)] == []
    words = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert [w for w in words if w in ROOMS and w not in allowed] == []
    assert [w for w in words if w.startswith(rooms)] == []


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))], ids=lambda p: p.name)
def test_no_rule_knows_a_task(path):
    words = re.findall(r"\"([^\"]*)\"|'([^']*)'", path.read_text())
    assert [w for pair in words for w in pair if w in ROOMS] == []
    assert "volforge.tasks." not in path.read_text().replace("volforge.tasks.registry", "")


def test_a_room_is_a_folder_with_an_empty_init_and_a_description():
    assert (SOURCES / "tasks/__init__.py").read_text() == ""
    for name, room in ROOMS.items():
        assert (room / "__init__.py").read_text() == ""
        assert registry.TASKS[name].startswith(f"volforge.tasks.{name}.task:")
        assert registry.task(name).name == name
    others = {p.name for p in (SOURCES / "tasks").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert others == set(ROOMS)


def description_files(room):
    """Modules of a room and of tasks/ that its description reaches."""
    waiting, found = [room / "task.py"], set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for name in imports_of(ast.parse(path.read_text())):
            file = SOURCES.parent / f"{name.replace('.', '/')}.py"
            if name.startswith("volforge.tasks.") and file.exists() and file.stem not in ("protocol", "resolved"):
                waiting.append(file)
    return sorted(found)


@pytest.mark.parametrize("name", ROOMS)
def test_descriptions_import_the_standard_library_pydantic_and_the_protocol(name):
    for path in description_files(ROOMS[name]):
        for module in imports_of(ast.parse(path.read_text())):
            root = module.split(".")[0]
            is_light = root in sys.stdlib_module_names or root in ("pydantic", "__future__")
            of_type_checks = module.startswith("volforge.cohort.sheet")
            assert is_light or of_type_checks or module.startswith("volforge.tasks."), (path, module)


def test_planning_imports_no_numpy_and_no_entry():
    program = (
        "import sys; from volforge.tasks import registry; [registry.task(n) for n in registry.TASKS]; "
        "bad = [m for m in ('numpy', 'torch', 'pandas', 'nibabel') if m in sys.modules]; "
        "bad += [m for m in sys.modules if m.endswith(('.predict', '.measure', '.train'))]; print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_entry_and_baseline_is_a_function_that_is_there():
    from volforge import places

    for name in registry.TASKS:
        task = registry.task(name)
        for place in filter(None, (task.train, task.predict, task.measure, *task.baselines.values())):
            assert callable(places.at(place)), place
        assert set(task.learns) <= set(task.baselines)
        for place in task.by_hand.values():
            assert callable(places.at(place)), place


def entries(task: Task):
    return [e for e in (task.train, task.predict, task.measure) if e]


def test_another_task_changes_no_hash(tmp_path, monkeypatch):
    """A task of one's own beside ours, its description read: every hash of the others is as before."""
    before = {n: [code_hash.code_hash(e) for e in entries(registry.task(n))] for n in registry.TASKS}
    (tmp_path / "own.py").write_text(
        "from volforge.tasks.protocol import Task\n\n\nclass Own(Task):\n    predict = ':predict'\n\n\n"
        "def predict(settings, job):\n    return 0\n"
    )
    monkeypatch.chdir(tmp_path)
    own = registry.task("own.py:Own")
    mine = code_hash.code_hash(own.predict)
    assert {n: [code_hash.code_hash(e) for e in entries(registry.task(n))] for n in registry.TASKS} == before
    (tmp_path / "other.py").write_text((tmp_path / "own.py").read_text().replace("return 0", "return 1"))
    assert code_hash.code_hash(registry.task("other.py:Own").predict) != mine


@pytest.mark.parametrize("name", ROOMS)
def test_entries_reach_no_other_room_and_no_registry(name):
    """A line that is changed in one task, or a line more in the registry, makes nothing of another task anew."""
    task = registry.task(name)
    for entry in [*entries(task), *task.baselines.values()]:
        for module in code_hash.modules_of(entry):
            assert module != "volforge.tasks.registry", entry
            assert not any(module.startswith(f"volforge.tasks.{n}.") for n in ROOMS if n != name), (entry, module)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import numpy\n", "numpy"),
        ("from volforge.study import cases\n", "volforge.study"),
        ("import beside\n", "torch"),
        ("if True:\n    import pandas\n", "pandas"),
    ],
)
def test_a_description_with_other_imports_is_refused_by_name(tmp_path, monkeypatch, text, named):
    from volforge.errors import VolforgeError

    (tmp_path / "beside.py").write_text("import torch\n")
    (tmp_path / "own.py").write_text(
        f"from volforge.tasks.protocol import Task\n{text}\n\nclass Own(Task):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VolforgeError, match=f"imports {named}"):
        registry.task("own.py:Own")


def test_imports_of_functions_and_type_checks_are_free(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nimport json, pydantic\n"
        "from volforge.tasks.protocol import Task\nif TYPE_CHECKING:\n    import numpy\n\n\ndef train():\n    import torch\n"
    )
    assert forbidden_imports(file) == []
