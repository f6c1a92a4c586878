"""What code made results: the commit of a clone, else a hash of the installed package."""

import subprocess

import pytest

from tests.conftest import ROOT
from volforge.report.provenance import code_state


def package(folder, text="x = 1\n"):
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(text)
    (folder / "__pycache__").mkdir()
    return folder


def test_a_clone_is_told_by_its_commit():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert code_state(ROOT / "src/volforge")["commit"] == head.stdout.strip()


def test_an_installed_package_is_told_by_its_files(tmp_path):
    found = [
        code_state(package(tmp_path / name / "volforge", t))
        for name, t in (("a", "x = 1\n"), ("b", "x = 1\n"), ("c", "x = 2\n"))
    ]
    assert set(found[0]) == {"sha256"}
    assert found[0] == found[1] != found[2]
    (tmp_path / "a/volforge/__pycache__/m.pyc").write_bytes(b"compiled")
    assert code_state(tmp_path / "a/volforge") == found[0]
    (tmp_path / "a/volforge/other.smk").touch()
    assert code_state(tmp_path / "a/volforge") != found[0]


def test_the_repository_around_an_environment_is_not_the_code(tmp_path):
    """A wheel installed into `.venv` of a project that is under git itself."""
    (tmp_path / "notes").write_text("mine")
    for words in (
        ["init", "-q"],
        ["add", "notes"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert set(code_state(package(tmp_path / ".venv/site-packages/volforge"))) == {"sha256"}
