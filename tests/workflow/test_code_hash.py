"""The code hash of every rule: what changes it, what does not, and what is loaded when the code runs."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys

import grimp
import pytest

from tests.conftest import ROOT, ball_ct, save
from tests.workflow.code_copies import OtherWords, copied, dotted, forget, with_changed_body
from volforge.workflow import code_hash as module
from volforge.workflow.code_hash import code_hash, hash_of_modules, modules_of

PACKAGE = ROOT / "src" / "volforge"
OF_RULES = sorted({
    entry
    for file in (ROOT / "rules").glob("*.smk")
    for entry in re.findall(r'code_hash\(\s*"([^"]+)"', file.read_text())
})  # fmt: skip
OF_LIBRARY = [
    "volforge.volume.cut_scan:cut_scan",
    "volforge.cohort.collect:collect_scans",
    "volforge.losses.dice:SoftDice",
]
ENTRIES = OF_RULES + OF_LIBRARY

# Takes commands (lists of words) and statements (strings), runs each as if nothing of the package were loaded, and
# prints the modules of the package that it loaded.
LOADED = """
import json, sys
found = []
for task in json.loads(sys.argv[1]):
    for name in [m for m in sys.modules if m.split(".")[0] == "volforge"]:
        del sys.modules[name]
    if isinstance(task, str):
        exec(task, {})
    else:
        from volforge.cli import app
        sys.argv = ["volforge", *task]
        try:
            app()
        except SystemExit as end:
            assert not end.code, (task, end.code)
    found.append([m for m in sys.modules if m.split(".")[0] == "volforge"])
print(json.dumps(found))
"""


def loaded_by(*tasks):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(tasks)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [set(found) for found in json.loads(done.stdout.splitlines()[-1])]


def function_of(entry):
    """The syntax tree of a command."""
    place, name = entry.split(":")
    tree = ast.parse((PACKAGE.parent / place.replace(".", "/")).with_suffix(".py").read_text())
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)


def is_command(entry):
    return entry.startswith("volforge.cli.")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def in_copy(copy, monkeypatch):
    """The package in a folder where it may be changed; it comes back as it was."""
    before = {file: file.read_bytes() for file in copy.rglob("*.py")}
    monkeypatch.setattr(module, "_root", copy)
    forget()  # but what was found in a content stays true
    yield copy
    for file, content in before.items():
        if file.read_bytes() != content:
            file.write_bytes(content)
    forget()


def test_rules_have_entries_and_each_has_a_hash_of_its_own():
    assert len(OF_RULES) > 10
    assert len({code_hash(e) for e in ENTRIES}) == len(ENTRIES)


OF_TASKS = {
    "volforge model train": "of_model(study_jobs.train_code)",
    "volforge model predict": "of_arm(study_jobs.predict_code)",
    "volforge study measure": "of_study(study_jobs.measure_code)",
}


def test_every_rule_with_a_command_has_the_hash_of_its_command(root):
    """Of the command, of the function that it calls, or of the entry of the study's task."""
    names = {"import": "import_", "label": "label_", "train-encoder": "train_encoder_", "train-judge": "train_judge_"}
    for file in sorted((root / "rules").glob("*.smk")):
        for rule in re.split(r"\n(?=rule )", file.read_text()):
            command = re.search(r"volforge (\w+) ([\w-]+)", rule.split("shell:")[-1]) if "shell:" in rule else None
            if command is None:
                continue
            place = (file.name, command[0])
            if command[0] in OF_TASKS:
                assert f"code={OF_TASKS[command[0]]}" in rule, place
                continue
            found = re.search(r'code=code_hash\("([\w.]+):(\w+)"\)', rule)
            assert found is not None, place
            module, name = f"volforge.cli.{command[1]}", names.get(command[2], command[2])
            if (found[1], found[2]) != (module, name):
                code = inspect.getsource(getattr(importlib.import_module(module), name))
                assert re.search(rf"from {re.escape(found[1])} import .*\b{found[2]}\b", code), place
                assert f"{found[2]}(" in code, place


def test_order_and_repetition_do_not_matter_and_every_entry_does():
    first, second, third = OF_LIBRARY
    assert code_hash(first, second) == code_hash(second, first) == code_hash(second, first, second)
    assert len({code_hash(first), code_hash(second), code_hash(first, second), code_hash(first, third)}) == 4
    assert modules_of(first, third) == modules_of(first) | modules_of(third)
    assert not modules_of(third) <= modules_of(first)


def test_words_comments_and_layout_of_the_whole_package_do_not_count(in_copy):
    before = [code_hash(e) for e in ENTRIES]
    for file in in_copy.rglob("*.py"):
        source = file.read_text()
        changed = "# a remark\n" + ast.unparse(OtherWords().visit(ast.parse(source)))
        assert changed != source
        file.write_text(changed)
    forget()
    assert [code_hash(e) for e in ENTRIES] == before


@pytest.mark.parametrize("part", range(3))
def test_a_module_counts_where_it_is_reached_and_nowhere_else(in_copy, part):
    """Every third module gets a constant more, or a statement more in a function."""
    before = {e: code_hash(e) for e in ENTRIES}
    reached = {e: modules_of(e) for e in ENTRIES}
    for n, file in enumerate(sorted(in_copy.rglob("*.py"))[part::3]):
        source, name = file.read_text(), dotted(file, in_copy)
        file.write_text(with_changed_body(source) if n % 2 else f"{source}\nCHANGED = 1\n")
        module._content.cache_clear()
        module._imported.cache_clear()
        for entry in ENTRIES:
            if not is_command(entry) or name != entry.split(":")[0]:  # of that module only a part counts
                assert (code_hash(entry) != before[entry]) == (name in reached[entry]), (name, entry)
        file.write_text(source)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if is_command(e)])
def test_the_body_of_a_command_counts(in_copy, entry):
    before = {e: code_hash(e) for e in ENTRIES}
    place, name = entry.split(":")
    file = (in_copy.parent / place.replace(".", "/")).with_suffix(".py")
    tree = ast.parse(file.read_text())
    next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name).body.append(ast.Pass())
    file.write_text(ast.unparse(tree))
    forget()
    assert [e for e in ENTRIES if code_hash(e) != before[e]] == [entry]


def test_what_is_missing_is_named():
    for entry in ("volforge.volume.nothing:cut", "volforge.volume.cut_scan:nothing", "volforge.cli.scan:nothing"):
        with pytest.raises(LookupError if entry.endswith(":nothing") else ModuleNotFoundError, match="nothing"):
            code_hash(entry)
    for entry in ("volforge.volume.cut_scan", "volforge/volume:", ":cut"):
        with pytest.raises(ValueError, match="module:function"):
            code_hash(entry)
    with pytest.raises(ModuleNotFoundError):
        code_hash("json.tool:main")
    with pytest.raises(ValueError, match="no entry"):
        code_hash()


def test_modules_by_name():
    assert hash_of_modules(["volforge.losses.combined"]) != hash_of_modules(["volforge.losses.dice"])
    assert hash_of_modules(["volforge.losses.combined", "volforge.losses.dice"]) == hash_of_modules(
        ["volforge.losses.combined"]
    )  # it imports the other
    assert hash_of_modules([]) == ""


# --- against what others find


@pytest.fixture(scope="module")
def graph():
    """Imports of the package, anywhere in its modules, as another program finds them."""
    return grimp.build_graph("volforge", exclude_type_checking_imports=True, cache_dir=None)


def followed(graph, modules):
    found, waiting = set(), set(modules)
    while waiting:
        name = waiting.pop()
        if name not in found | {"volforge.cli"}:
            found.add(name)
            waiting |= graph.find_modules_directly_imported_by(name)
            waiting |= {name.rpartition(".")[0]} if "." in name else set()
    return found


@pytest.mark.parametrize("entry", ENTRIES)
def test_hash_covers_the_modules_that_another_program_finds(graph, entry):
    place = entry.split(":")[0]
    if not is_command(entry):
        assert modules_of(entry) == followed(graph, {place})
        return
    function = function_of(entry)
    begin = {
        name
        for name in graph.find_modules_directly_imported_by(place)
        for detail in graph.get_import_details(importer=place, imported=name)
        if function.lineno <= detail["line_number"] <= function.end_lineno
    }
    assert begin
    assert followed(graph, begin) <= modules_of(entry)
    assert modules_of(entry) <= followed(graph, {place}) - {place}


def test_hash_covers_what_is_loaded_when_the_code_is_imported():
    tasks = []
    for entry in ENTRIES:
        if is_command(entry):  # it imports what it needs when it is called
            imports = [n for n in ast.walk(function_of(entry)) if isinstance(n, (ast.Import, ast.ImportFrom))]
            tasks.append("\n".join(map(ast.unparse, imports)))
        else:
            tasks.append(f"import {entry.split(':')[0]}")
    for entry, loaded in zip(ENTRIES, loaded_by(*tasks), strict=True):
        assert len(loaded) > 2, entry
        assert loaded - {"volforge.cli"} <= modules_of(entry), entry


def test_hash_covers_what_is_loaded_when_commands_run(tmp_path, write_sheet):
    image = save(tmp_path / "a.nii.gz", ball_ct())
    row = {"subject": "s", "modality": "CT", "image": str(image)}
    sheet = write_sheet([{**row, "scan": "a"}])
    scans, recipe, table = tmp_path / "scans", tmp_path / "recipes" / "cut", tmp_path / "scans.tsv"
    how = {"seed": 1, "folds": 2, "splits": {"train": 1.0}, "on_bad_scan": "stop", "makes_labels": False}
    drawn = write_sheet(
        [{"subject": "s", "scan": "p", "modality": "mask", "image": "p.nii.gz", "case": "burr_box"}], "phantoms.tsv"
    )
    commands = {
        "scan:import_": ["scan", "import", "--image", image, "--out", scans / "a"],
        "scan:cut": ["scan", "cut", scans / "a", "--recipe", '{"kind": "slices", "spacing_mm": 3}', "--out", recipe / "a"],
        "cohort:collect": ["cohort", "collect", "--sheet", sheet, "--records", scans, "--out", table, "--settings", json.dumps(how)],
        "cohort:index": ["cohort", "index", "--recipe", recipe, "--scans", table, "--out", recipe / "index.tsv"],
        "cohort:phantoms": ["cohort", "phantoms", "--sheet", drawn, "--kind", "skull", "--spacing-mm", "8", "--out", tmp_path / "p"],
        "scan:export": ["scan", "export", recipe, "--scans", table, "--out", tmp_path / "png"],
    }  # fmt: skip
    for name, loaded in zip(commands, loaded_by(*([str(w) for w in c] for c in commands.values())), strict=True):
        noun = name.split(":")[0]
        assert loaded - {"volforge.cli", f"volforge.cli.{noun}"} <= modules_of(f"volforge.cli.{name}"), name


def test_hash_of_a_training_covers_all_but_the_networks_and_losses_which_settings_hash(tmp_path):
    from tests.training.cohort import content, cut_cohort
    from tests.training.test_resume import words

    scans = cut_cohort(tmp_path, 3)
    settings = content(training={"steps": 1, "validation": 0, "augmentation": "none"})
    (loaded,) = loaded_by(words(tmp_path / "run", scans, settings))
    loaded -= {"volforge.cli", "volforge.cli.model", "volforge.cli.arguments", "volforge.places"}
    by_name = {m for m in loaded if m.startswith(("volforge.networks.", "volforge.losses."))}
    assert by_name == {f"volforge.{m}" for m in (
        "networks.vnet", "losses.combined", "losses.cross_entropy", "losses.dice",
    )}  # fmt: skip
    assert loaded - by_name - {"volforge.networks", "volforge.losses"} <= modules_of(settings["entry"])
