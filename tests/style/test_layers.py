"""Packages import downwards: the order stands in pyproject.toml, under `[tool.importlinter]`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_packages_import_downwards():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "KEPT" in done.stdout
