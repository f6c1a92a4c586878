"""`volforge run`: the line of Snakemake that it stands for, and what it says where there is nothing to run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, volforge
from volforge.errors import VolforgeError
from volforge.workflow import shipped
from volforge.workflow.start import arguments

SLURM = "--volforge-slurm-partition-config"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_line_names_the_files_of_the_package(here):
    (here / "config.yaml").write_text("{}")
    assert arguments([]) == [
        "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--profile", str(ROOT / "profiles/local"),
    ]  # fmt: skip


def test_a_configuration_is_looked_for_in_two_places_and_named_ones_win(here):
    (here / "config").mkdir()
    (here / "config/config.yaml").write_text("{}")
    assert arguments([])[3] == "config/config.yaml"
    (here / "config.yaml").write_text("{}")
    assert arguments([])[3] == "config.yaml"
    for name in ("a.yaml", "b.yaml"):
        (here / name).write_text("{}")
    assert arguments([Path("a.yaml"), Path("b.yaml")])[2:5] == ["--configfile", "a.yaml", "b.yaml"]


@pytest.mark.parametrize("files", [[], [Path("none.yaml")]])
def test_without_a_configuration_the_remedy_names_the_command(here, files):
    with pytest.raises(VolforgeError, match="volforge new FOLDER"):
        arguments(files)


def test_arguments_of_snakemake_come_last_and_targets_are_no_configurations(here):
    (here / "config.yaml").write_text("{}")
    words = arguments([], dry_run=True, others=["tables", "--cores", "3"])
    assert words[-4:] == ["--dry-run", "tables", "--cores", "3"]
    assert words[words.index("--configfile") + 2].startswith("--")


def test_slurm_takes_the_partitions_of_the_project_before_those_of_the_package(here):
    (here / "config.yaml").write_text("{}")
    assert arguments([], slurm=True)[-3:] == [
        str(ROOT / "profiles/slurm"), SLURM, str(ROOT / "profiles/slurm/partitions.yaml"),
    ]  # fmt: skip
    (here / "profiles/slurm").mkdir(parents=True)
    (here / "profiles/slurm/partitions.yaml").write_text("partitions: {}")  # by `volforge cluster check --write`
    assert arguments([], slurm=True)[-3:] == [str(ROOT / "profiles/slurm"), SLURM, "profiles/slurm/partitions.yaml"]
    (here / "profiles/slurm/config.yaml").write_text("executor: volforge-slurm")
    assert arguments([], slurm=True)[-2:] == ["--profile", "profiles/slurm"]


def test_a_package_without_its_workflow_is_named(tmp_path):
    with pytest.raises(VolforgeError, match="has no Snakefile"):
        shipped.folder(tmp_path / "site/volforge")


def test_other_environments_see_the_package_and_nothing_beside_it(here):
    assert shipped.importable() == ROOT / "src"
    package = here / "site/volforge"
    (package / "shipped/rules").mkdir(parents=True)
    (package / "shipped/Snakefile").touch()
    (package / "__init__.py").write_text("name = 'of the wheel'")
    (here / "site/numpy.py").touch()
    for _ in range(2):  # every job of a cluster does so again
        found = shipped.importable(package)
        assert [p.name for p in found.iterdir()] == ["volforge"]
    program = "import volforge; print(volforge.name)"
    environment = {**os.environ, "PYTHONPATH": str(found)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "of the wheel\n"


def test_the_exit_code_and_the_words_are_those_of_snakemake(tmp_path):
    (tmp_path / "config.yaml").write_text(
        (ROOT / "config/config.yaml")
        .read_text()
        .replace("sheet: ", f"sheet: {ROOT}/config/")
        .replace("papers/", f"{ROOT}/config/papers/")
    )
    done = volforge("run", "-n", "--", "cohorts", "--quiet", "rules", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = done.stderr.splitlines()[0]
    assert shlex.split(line)[0] == "snakemake"
    assert shlex.split(line)[-4:] == ["--dry-run", "cohorts", "--quiet", "rules"]
    assert not (tmp_path / "results").exists()
    wrong = volforge("run", "--", "--no-such-option", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--no-such-option" in wrong.stderr
    unknown = volforge("run", "--no-such-option", cwd=tmp_path)
    assert unknown.returncode == 2


def test_a_missing_configuration_has_words(tmp_path):
    for words in ((), ("mine.yaml",)):
        done = volforge("run", *words, cwd=tmp_path)
        assert done.returncode == 1
        assert "volforge new FOLDER" in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("version", "is_right"), [("3.10", False), ("3.11", True), ("3.13", True), ("3.14", False)])
def test_make_asks_for_a_python_that_all_packages_have_wheels_for(tmp_path, version, is_right):
    """A stand-in for python3 that says its version, answers the Makefile's question by it, and makes nothing."""
    major, minor = version.split(".")
    fake = tmp_path / "python"
    fake.write_text(
        f'#!/bin/sh\ncase "$1" in\n-V) echo "Python {version}.1";;\n'
        f'-c) exec {sys.executable} -c "import sys; sys.version_info = ({major}, {minor}, 1); $2";;\n'
        '*) echo "made: $*"; exit 1;;\nesac\n'
    )
    fake.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("pyproject.toml", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(["make", "run", f"PYTHON={fake}"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert ("made: -m venv" in done.stdout) == is_right
    assert (f"Python 3.11, 3.12 or 3.13 is needed, and {fake} is Python {version}.1" in done.stdout) != is_right


def test_the_versions_of_python_are_the_same_everywhere():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    named = [c.rsplit(" ", 1)[1] for c in project["classifiers"] if "Python :: 3." in c]
    assert named == ["3.11", "3.12", "3.13"]
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text()
