"""Format, lint and types; and house rules that no linter knows."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CHECKS = {
    "ruff format": ["ruff", "format", "--check", "."],
    "ruff check": ["ruff", "check", "."],
    "mypy": ["mypy"],
    "snakefmt": ["snakefmt", "--check", "Snakefile", "rules"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_tool_is_clean(name):
    tool, *arguments = CHECKS[name]
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def tracked(*patterns: str) -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def test_modules_can_be_read_in_one_sitting():
    long = {n: len((ROOT / n).read_text().splitlines()) for n in tracked("*.py", "*.smk", "Snakefile")}
    assert {n: lines for n, lines in long.items() if lines > 420} == {}


def test_no_stub_no_swallowed_error_no_utils():
    for name in tracked("src", "rules"):
        if name.endswith((".py", ".smk")):
            text = (ROOT / name).read_text()
            assert not re.search(r"NotImplementedError|TODO|FIXME|except Exception:\s*pass", text), name
    assert not [n for n in tracked("src") if n.endswith("utils.py")]


def test_snakefile_is_a_table_of_contents():
    text = (ROOT / "Snakefile").read_text()
    assert len(text.splitlines()) <= 80
    assert "def " not in text


def test_own_code_names_no_machine():
    for name in tracked():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".smk", ".toml", ".tsv", ""):
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not re.search(r"(^|[^\w.~}])/(root|home/\w+)/", text), name
