"""The wheel of this tree, unpacked into a folder: what somebody has who installs it and has no clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PARTS = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "Snakefile",
    "rules",
    "envs",
    "config",
    "profiles",
    "docs",
)


def unpacked_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the tree, and install it without its dependencies into `folder/site`."""
    tree, site = folder / "tree", folder / "site"
    tree.mkdir(parents=True)
    without = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PARTS, "src"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=without)
        else:
            shutil.copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _do([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(tree)])
    (built,) = folder.glob("*.whl")
    _do([*pip, "install", "--no-deps", "--target", str(site), str(built)])
    shutil.rmtree(tree)
    return site


def volforge_of(site: Path, *arguments: str | Path, cwd: Path, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    """Run the command line of an unpacked wheel; libraries come from this environment."""
    return subprocess.run(
        [sys.executable, "-m", "volforge", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
    )  # fmt: skip


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
