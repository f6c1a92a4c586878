"""Where results came from: versions, code, configuration, inputs, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from volforge import __version__
from volforge.config.scalars import without_places

PACKAGES = (
    "snakemake", "numpy", "scipy", "nibabel", "SimpleITK", "connected-components-3d", "edt", "blosc2",
    "pillow", "pydantic", "trimesh", "pandas", "matplotlib", "scikit-image", "safetensors", "torch",
    "lightning-fabric", "monai",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Version of this package, of Python, and of the installed libraries that results depend on."""
    found = {"volforge": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any]:
    """Commit of the code and whether it was changed since; empty where it is not a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit, "changed": bool(git("status", "--porcelain", "--untracked-files=no"))}


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and system of the machine that writes the report."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def provenance(configuration: Mapping[str, Any], inputs: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """The content of `provenance.json`.

    Args:
        configuration: The run's configuration without defaults.
        inputs: SHA-256 of every input volume, by cohort.
    """
    cohorts = configuration.get("cohorts", {})
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "code": git_state(Path(__file__).parent),
        "hardware": hardware(),
        "seeds": {name: c.get("seed", 0) for name, c in cohorts.items()},
        "configuration": without_places(dict(configuration)),
        "input_sha256": {name: list(hashes) for name, hashes in inputs.items()},
    }
