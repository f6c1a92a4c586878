"""Sheets and configurations that are damaged, or made to hang or to run something."""

import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT, snakemake
from tests.hostile.damage import bounded, damages, fuzz
from volforge.cohort.sheet import COLUMNS, read_sheet
from volforge.errors import ProblemsError, VolforgeError, errors_of
from volforge.tables.structures import read_structures
from volforge.workflow.first_look import look_first
from volforge.workflow.load import load_configuration
from volforge.workflow.run import load_run, resolve
from volforge.workflow.start import arguments
from volforge.workflow.yaml_limits import DEEPEST, MOST_VALUES, excess_of

ANY = damages()
NASTY = (
    "$(touch owned)", "`touch owned`", "; touch owned", "| touch owned", "&& touch owned", "../../../etc/passwd",
    "/dev/zero", "/proc/self/mem", "-rf", "--help", "a\nb", "a\r\nb", "a\tb", '"', "'", '"a', "\x00", "\ufeff", "\u202e",
    "\u200b", "\x1b[31m", "a" * 300, "a/" * 3000, "{scan}", "%s", "#1", "a.nii.gz#99999", "<b>", "=1+1", "nan", "-1",
    "1e9", "9" * 400, "CT", "hu", "hu+1024", "hu+1e400", "expert", "train", "con", "a\\b", ".", "..", "~",
)  # fmt: skip
CELLS = st.sampled_from(NASTY) | st.text(max_size=12)


@st.composite
def sheets(draw):
    """A sheet of nasty cells under known and unknown columns, quoted or not, of this or that delimiter."""
    columns = draw(st.lists(st.sampled_from((*COLUMNS, "free", "Subject", "")), min_size=1, max_size=9))
    if draw(st.booleans()):
        columns = ["subject", "scan", "modality", "image", *columns]
    delimiter = draw(st.sampled_from("\t\t\t,;"))
    rows = draw(st.lists(st.lists(CELLS, min_size=1, max_size=len(columns) + 1), max_size=4))
    quoted = draw(st.booleans())

    def cell(text):
        return '"' + text.replace('"', '""') + '"' if quoted else text

    head = draw(st.sampled_from(("", "# comment\n", "\ufeff")))
    return (head + "\n".join(delimiter.join(map(cell, r)) for r in [columns, *rows])).encode("utf-8", "surrogatepass")


@fuzz(150)
@given(content=sheets() | st.binary(max_size=60))
def test_sheets(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "sheets"
    folder.mkdir(exist_ok=True)
    for name in ("s.tsv", "s.csv", "s.structures.tsv"):
        (folder / name).write_bytes(content)
    with bounded():
        for name in ("s.tsv", "s.csv"):
            sheet = read_sheet(folder / name)
            assert all(p.message and p.remedy for p in sheet.problems)
            if not errors_of(sheet.problems):
                assert all(r.scan and os.sep not in r.scan and not r.scan.startswith(".") for r in sheet.rows)
        problems = read_structures(folder / "s.structures.tsv")[1]
        assert all(p.message and p.remedy for p in problems)
    assert not list(folder.rglob("owned"))


CONFIGURATIONS = sorted((ROOT / "config").rglob("*.yaml"))


@fuzz(40)
@given(damage=ANY, which=st.sampled_from(["config.yaml", "tmj_arms.yaml", "msd_hippocampus.yaml"]))
def test_damaged_configurations(tmp_path_factory, damage, which):
    source = next(p for p in CONFIGURATIONS if p.name == which)
    folder = tmp_path_factory.getbasetemp() / "configurations"
    folder.mkdir(exist_ok=True)
    content = source.read_bytes()
    (folder / which).write_bytes(damage(content, len(content)))
    with bounded():
        loaded = load_configuration([folder / which])
        assert loaded.problems or loaded.configuration is not None
        assert all(p.message and p.remedy for p in loaded.problems)


def laughs(open_, close, item):
    """Nine anchors of nine aliases each: 9^9 values."""
    lines = [f"a: &a {open_}{item(0, 'x')}{close}"]
    for k in range(9):
        items = ",".join(item(j, f"*{chr(97 + k)}") for j in range(9))
        lines.append(f"{chr(98 + k)}: &{chr(98 + k)} {open_}{items}{close}")
    return "\n".join(lines) + "\n"


SHEET = "cohorts: {{c: {{sheet: {}}}}}\n"
BOMBS = {
    "lists": (laughs("[", "]", lambda j, v: v), "values, aliases counted out"),
    "mappings": (laughs("{", "}", lambda j, v: f"k{j}: {v}"), "values, aliases counted out"),
    "merges": (
        "a: &a {x: 1}\n" + "".join(
            f"{chr(98 + k)}: &{chr(98 + k)} {{<<: [{','.join(['*' + chr(97 + k)] * 9)}]}}\n" for k in range(9)
        ),
        "values, aliases counted out",
    ),
    "deep list": ("a: " + "[" * 20000, "deep in each other"),
    "deep mapping": ("a: " + "{a: " * 3000, "deep in each other"),
    "deep block": ("".join(" " * k + "a:\n" for k in range(500)), "deep in each other"),
    "long": ("a: x\n" * 300_000, "at most 1,048,576 are read"),
    "within itself": ("a: &a [*a]\n", "stands within what it names"),
    "call": ('cohorts: !!python/object/apply:os.system ["touch owned"]\n', "not valid YAML"),
    "new object": ("cohorts: !!python/object/new:os.system [touch owned]\n", "not valid YAML"),
    "module": ("cohorts: !!python/module:os\n", "not valid YAML"),
    "own tag": ("cohorts: !include /etc/passwd\n", "not valid YAML"),
    "zero byte": (SHEET.format('"a\\0b"'), "zero byte"),
    "half a character": (SHEET.format('"\\ud800"'), "half of a character"),
    "long path": (SHEET.format("a" * 5000), "characters"),
    "long number": (f"cohorts: {'9' * 5000}\n", "characters"),
    "folder as sheet": (SHEET.format("/"), "Is a directory"),
    "device as sheet": (SHEET.format("/dev/zero"), "no plain file"),
    "pipe as sheet": (SHEET.format("pipe"), "no plain file"),
    "list as key": ("? [a, b]\n: c\n", "not valid YAML"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_configurations_that_are_made_to_hang_or_to_run_something(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    text, expected = BOMBS[kind]
    (tmp_path / "c.yaml").write_text(text)
    os.mkfifo(tmp_path / "pipe")
    with bounded(), pytest.raises(ProblemsError, match=expected):
        load_run([tmp_path / "c.yaml"])
    assert not (tmp_path / "owned").exists()


HANGS = ("lists", "mappings", "merges", "deep list", "long", "template")
TEMPLATE = "__use_yte__: true\n__definitions__:\n- open('owned', 'w')\ncohorts: {}\n"


@pytest.mark.parametrize("kind", HANGS)
def test_no_snakemake_starts_on_a_configuration_that_hangs_it_or_runs_in_it(tmp_path, monkeypatch, kind):
    """It was: Snakemake's own reader built the values that aliases stand for, and ran what stands in a template."""
    monkeypatch.chdir(tmp_path)
    text, expected = BOMBS.get(kind, (TEMPLATE, "would be run by Snakemake"))
    (tmp_path / "c.yaml").write_text(text)
    with bounded(), pytest.raises(ProblemsError, match=expected):
        arguments([Path("c.yaml")])
    assert not (tmp_path / "owned").exists()


def test_snakemake_by_our_profile_refuses_before_it_reads(tmp_path):
    for kind in ("mappings", "template"):
        (tmp_path / f"{kind}.yaml").write_text(BOMBS[kind][0] if kind in BOMBS else TEMPLATE)
        done = snakemake(
            "-n", "--profile", ROOT / "profiles/local", "--configfile", f"{kind}.yaml", cwd=tmp_path, timeout=120
        )
        assert done.returncode == 1
        assert "values, aliases counted out" in done.stderr or "would be run by Snakemake" in done.stderr
        assert not (tmp_path / "owned").exists()


def test_every_profile_names_the_logger_that_looks_first():
    for profile in (ROOT / "profiles").glob("*/config.yaml"):
        assert re.search(r"^logger: volforge\b", profile.read_text(encoding="utf-8"), re.MULTILINE)


def test_what_others_say_of_a_configuration_is_left_to_them(tmp_path):
    (tmp_path / "tabs.yaml").write_text("a:\n\t- b\n")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    look_first([tmp_path / "none.yaml", tmp_path / "tabs.yaml", tmp_path / "latin.yaml", *CONFIGURATIONS])


def test_a_pipe_or_device_in_place_of_the_configuration(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    for path in (tmp_path / "c.yaml", "/dev/zero", tmp_path):
        with bounded(), pytest.raises(ProblemsError, match=r"no plain file|Is a directory"):
            load_run([path])


def test_limits_are_far_above_what_configurations_need():
    for path in CONFIGURATIONS:
        text = path.read_text(encoding="utf-8")
        assert excess_of(text) is None
        assert len(text) < 200_000
        assert sum(1 for _ in text) < MOST_VALUES * 10
    assert excess_of("a: " + "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2)) is None
    one = "a: &a [" + ",".join(["x"] * 300) + "]\n"
    assert excess_of(one + "b: [" + ",".join(["*a"] * 300) + "]\n") is None
    assert excess_of(one + "b: [" + ",".join(["*a"] * 400) + "]\n") is not None


def test_a_configuration_reads_the_same_as_by_yaml_itself():
    import yaml

    for path in CONFIGURATIONS:
        if path.name == "reference.yaml":  # alternatives side by side: keys stand twice
            continue
        loaded = load_configuration([path])
        assert loaded.values == yaml.safe_load(path.read_text(encoding="utf-8"))
        assert not [p for p in loaded.problems if "twice" in p.message]


def test_nothing_unpacks_archives_or_pickles():
    """Archives with paths that lead out, and pickles that run, find nobody who opens them."""
    words = ("import tarfile", "import zipfile", "unpack_archive", "import pickle", "yaml.load(", "allow_pickle=True",
             "weights_only=False", "eval(", "exec(", "shell=True", "os.system")  # fmt: skip
    allowed = {
        ("weights.py", "import pickle"), ("state.py", "import pickle"),  # names of errors alone
    }  # fmt: skip
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in words:
            at = -1
            while (at := text.find(word, at + 1)) >= 0:
                before = text[at - 1] if at else " "
                if not (before.isalnum() or before in "._`"):
                    found.add((path.name, word))
    assert found <= allowed


def test_own_python_in_scan_names_and_columns_stays_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.tsv").write_text("subject\tscan\tmodality\timage\n" + "p\t../../x\tCT\ta.nii\n")
    (tmp_path / "c.yaml").write_text("cohorts: {c: {sheet: s.tsv}}\n")
    problems = resolve([tmp_path / "c.yaml"])[0].problems
    assert any("not a scan name" in p.message for p in problems)
    with pytest.raises(VolforgeError):
        load_run([tmp_path / "c.yaml"])
    assert "owned" not in sys.modules
