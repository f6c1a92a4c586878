"""What of a source counts for the code hash, and which imports are followed: small packages and own files."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.workflow.code_copies import forget, written
from volforge.errors import VolforgeError
from volforge.workflow import code_hash as module
from volforge.workflow.code_hash import code_hash, modules_of

ENTRY = "volforge.a.begin:run"
BEGIN = "def run():\n    return 1\n"
PACKAGE = {
    "volforge/__init__.py": "",
    "volforge/a/__init__.py": "",
    "volforge/a/begin.py": BEGIN,
    "volforge/a/near.py": "X = 1\n",
    "volforge/b/__init__.py": "",
    "volforge/b/far.py": "X = 1\n",
    "volforge/b/deep/__init__.py": "",
    "volforge/b/deep/end.py": "X = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes files of a small package over those above, and forgets what was known of it."""

    def write(files=None):
        named = {f"volforge/{name}.py": text for name, text in (files or {}).items()}
        folder = written(tmp_path, named if (tmp_path / "volforge").exists() else {**PACKAGE, **named})
        monkeypatch.setattr(module, "_root", folder / "volforge")
        forget(monkeypatch)

    yield write
    forget()


def hashes(package, *sources):
    found = []
    for source in sources:
        package({"a/begin": source})
        found.append(code_hash(ENTRY))
    return found


@pytest.mark.parametrize(
    "other",
    [
        f'"""About the module."""\n# a remark\n{BEGIN}',
        'def run():\n    """About the function."""\n\n    return 1  # one\n',
        'def run():\n    "Text that nothing reads."\n    return (\n        1\n    )\n',
        f"{BEGIN}\n\nif TYPE_CHECKING:\n    from volforge.b import far\n",
        f"{BEGIN}\n\nif typing.TYPE_CHECKING:\n    X = 1\n",
    ],
)
def test_words_and_layout_do_not_count(package, other):
    assert len(set(hashes(package, BEGIN, other))) == 1


@pytest.mark.parametrize(
    "other",
    [
        "def run():\n    return 2\n",
        "def run(x=1):\n    return 1\n",
        f"{BEGIN}\n\ndef beside():\n    pass\n",  # a function of the library may call what lies beside it
        f"{BEGIN}\nX = 1\n",
        "def run():\n    return '''1'''\n",
    ],
)
def test_code_of_the_module_counts(package, other):
    assert len(set(hashes(package, BEGIN, other))) == 2


def test_another_function_of_the_module_is_another_hash(package):
    package({"a/begin": f"{BEGIN}\n\nclass Other:\n    pass\n\n\nNAMED = Other\n"})
    assert len({code_hash(f"volforge.a.begin:{name}") for name in ("run", "Other", "NAMED")}) == 3


@pytest.mark.parametrize(
    ("statement", "reached"),
    [
        ("from . import near", {"a.near"}),
        ("from .near import X", {"a.near"}),
        ("from .near import *", {"a.near"}),
        ("from ..b import far as other", {"b", "b.far"}),
        ("from ..b.deep.end import X", {"b", "b.deep", "b.deep.end"}),
        ("from .. import b", {"b"}),
        ("from volforge.b import deep", {"b", "b.deep"}),
        ("from volforge.b import *", {"b"}),
        ("import volforge.b.deep.end as e", {"b", "b.deep", "b.deep.end"}),
        ("import volforge", set()),
        ("import numpy.random, near", set()),
        ("import_module('volforge.b.far'); PLACE = 'volforge.b.far:X'", set()),
        ("if TYPE_CHECKING:\n    from . import near", set()),
        ("if typing.TYPE_CHECKING:\n    from . import near\nelse:\n    from ..b import far", {"b", "b.far"}),
        ("if not TYPE_CHECKING:\n    from . import near\nelse:\n    from ..b import far", {"a.near"}),
        ("if TYPE_CHECKING:\n    from . import near\nelif OTHER:\n    from ..b import far", {"b", "b.far"}),
        ("if TYPE_CHECKING:\n    from . import near\n\ndef late():\n    from . import near", {"a.near"}),
        ("def late():\n    if TYPE_CHECKING:\n        from . import near", set()),
        ("class C:\n    def late(self):\n        try:\n            from .near import X\n        finally:\n            pass", {"a.near"}),
    ],
)  # fmt: skip
def test_imports_are_followed(package, statement, reached):
    package({"a/begin": f"{statement}\n{BEGIN}"})
    always = {"volforge", "volforge.a", "volforge.a.begin"}
    assert modules_of(ENTRY) == always | {f"volforge.{name}" for name in reached}


def test_imports_in_packages_above_a_module_are_followed_and_their_dots_begin_in_their_folder(package):
    package({"a/__init__": "from .near import X\nfrom ..b import far\n", "b/far": "from .deep import end\n"})
    found = modules_of(ENTRY)
    assert found == {
        f"volforge{m}" for m in ("", ".a", ".a.begin", ".a.near", ".b", ".b.far", ".b.deep", ".b.deep.end")
    }
    before = code_hash(ENTRY)
    package({"b/deep/__init__": "X = 1\n"})
    assert code_hash(ENTRY) != before


def test_circles_end(package):
    package({"a/begin": f"from . import near\n{BEGIN}", "a/near": "from . import begin\n"})
    assert "volforge.a.near" in modules_of(ENTRY)


# --- commands

COMMANDS = '''"""Commands."""
import typer
from volforge.b import far
app = typer.Typer(help="These.")
Option = typer.Option(help="One.")
LIMIT = 3

@app.command("one", help="Do one.")
def one(x: int = typer.Option(3, "--x", help="A number.")) -> None:
    """Do one."""
    from volforge.a import near
    helper(near)

@app.command()
def two(y: Option) -> None:
    table = far.X
    print(y, table)

def helper(a):
    return a + LIMIT

def table():
    from volforge.b.deep import end
'''
IS_FOR = {
    '"""Commands."""': "",
    '"""Do one."""': "",
    'help="Do one."': "",
    'help="A number."': "",
    'help="One."': "",
    'help="These."': "",
    "LIMIT = 3": "one",
    "a + LIMIT": "one",
    "helper(near)": "one",
    "typer.Option(3": "one",
    '"--x"': "one",
    "print(y, table)": "two",
    "from volforge.b import far": "two",
    "from volforge.b.deep import end": "",
}


@pytest.mark.parametrize("place", IS_FOR)
def test_a_command_is_its_function_and_what_that_names(package, place):
    package({"cli/__init__": "", "cli/noun": COMMANDS})
    before = {name: code_hash(f"volforge.cli.noun:{name}") for name in ("one", "two")}
    assert place in COMMANDS
    changed = place
    for words, new in (
        ("Do", "Make"), ("Commands", "Words"), ("A number", "Any"), ("One.", "An option."), ("These", "Those"), ("3", "4"),
        ("a + LIMIT", "a - LIMIT"), ("helper(near)", "helper(-near)"), ('"--x"', '"--z"'), ("print(y", "print(-y"),
        ("import far", "import deep as far"), ("import end", "import end as other"),
    ):  # fmt: skip
        changed = changed.replace(words, new)
    assert changed != place
    package({"cli/noun": COMMANDS.replace(place, changed)})
    found = {name for name in before if code_hash(f"volforge.cli.noun:{name}") != before[name]}
    assert found == set(filter(None, [IS_FOR[place]]))


def test_a_command_reaches_what_it_imports_and_not_the_command_line(package):
    package({"cli/__init__": "from volforge.b import far\n", "cli/shared": "", "cli/noun": COMMANDS})
    assert modules_of("volforge.cli.noun:one") == {"volforge", "volforge.a", "volforge.a.near"}
    assert modules_of("volforge.cli.noun:two") == {"volforge", "volforge.b", "volforge.b.far"}
    package({"cli/noun": "def one():\n    from volforge.cli.shared import x\n    from volforge.a import near\n"})
    assert modules_of("volforge.cli.noun:one") == {"volforge", "volforge.cli.shared", "volforge.a", "volforge.a.near"}


def test_statements_of_a_module_of_commands_that_bind_nothing_count(package):
    package({"cli/__init__": "", "cli/noun": f"{COMMANDS}\nPLACES = {{}}\n"})
    before = code_hash("volforge.cli.noun:one")
    package({"cli/noun": f"{COMMANDS}\nPLACES = {{}}\nPLACES['x'] = 1\n"})
    assert code_hash("volforge.cli.noun:one") != before


# --- files of the user's own

OWN = {
    "task.py": "import helper\nfrom .near import x\nimport string\nfrom volforge.b import far\n\ndef predict():\n    import late\n",
    "helper.py": "from inner.deep import y\n",
    "near.py": "from . import beside\nfrom ..outside import z as x\n",
    "beside.py": "",
    "late.py": "from volforge.a.near import X\n",
    "inner/__init__.py": "from .first import x\n",
    "inner/first.py": "x = 1\n",
    "inner/deep.py": "from beside import *\ny = 1\n",
    "inner/unread.py": "",
    "unread.py": "import helper\n",
    "../outside.py": "z = 1\n",
}  # fmt: skip
UNREAD = {"inner/unread.py", "unread.py"}


@pytest.fixture
def own(tmp_path, package):
    package()
    (tmp_path / "mine" / "folder").mkdir(parents=True)
    return written(tmp_path / "mine" / "folder", OWN)


@pytest.mark.parametrize("name", OWN)
def test_an_own_file_counts_with_its_neighbours(own, name):
    entry = f"{own}/task.py:predict"
    before = code_hash(entry)
    (own / name).write_text(f"# a remark\n{OWN[name]}")
    forget()
    assert code_hash(entry) == before
    (own / name).write_text(f"{OWN[name]}\nCHANGED = 1\n")
    forget()
    assert (code_hash(entry) == before) == (name in UNREAD)


def test_an_own_file_reaches_modules_of_ours(own, package):
    entry = f"{own}/task.py:predict"
    ours = {"volforge", "volforge.a", "volforge.a.near", "volforge.b", "volforge.b.far"}
    assert modules_of(entry) == ours | (set(OWN) - UNREAD)
    before = code_hash(entry)
    package({"a/near": "X = 2\n"})
    assert code_hash(entry) != before


def test_the_folder_of_an_own_file_does_not_count(own, monkeypatch):
    before = code_hash(f"{own}/task.py:predict")
    shutil.copytree(own.parent, own.parent.parent / "other")
    monkeypatch.chdir(own.parent.parent / "other")
    assert code_hash("folder/task.py:predict") == before
    assert code_hash("folder/task.py:predict", "./folder/../folder/task.py:predict", f"{own}/task.py:predict") == before


def test_modules_of_ours_do_not_import_neighbours_of_an_own_file(own, package):
    """A file `near.py` beside the user's is not what a module of ours means by it."""
    package({"b/far": "import near\nimport unread\n"})
    assert not modules_of(f"{own}/task.py:predict") & UNREAD


def test_what_an_own_file_reaches_is_what_runs(own):
    code = (
        "import importlib, json, sys\n"
        f"sys.path[:0] = [{str(own)!r}, {str(own.parent.parent)!r}]\n"
        "importlib.import_module('mine.folder.task').predict()\n"
        "files = [getattr(m, '__file__', None) for m in sys.modules.values()]\n"
        "print(json.dumps([f for f in files if f]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    found = modules_of(f"{own}/task.py:predict")
    assert {name for name in OWN if str((own / name).resolve()) in loaded} == found & set(OWN)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("nothing.py", None, "file not found"),
        ("bad.py", "def predict(:\n", "not valid Python"),
        ("bad.py", "import bad2\ndef predict(): pass\n", "not valid Python"),
        ("bad.py", "def other(): pass\n", "no function 'predict'"),
    ],
)
def test_what_is_wrong_with_an_own_file_is_said(own, file, text, message):
    if text is not None:
        (own / file).write_text(text)
    (own / "bad2.py").write_text("x = \0")
    with pytest.raises(VolforgeError, match=message):
        code_hash(f"{own / file}:predict")


def test_an_own_function_may_come_from_a_neighbour(own):
    (own / "task.py").write_text("try:\n    from .near import x as predict\nexcept ImportError:\n    predict = None\n")
    assert "near.py" in modules_of(f"{own}/task.py:predict")
