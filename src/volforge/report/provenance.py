"""Where results came from: versions, code, configuration, inputs, machine."""

from __future__ import annotations

import hashlib
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


def code_state(package: Path = Path(__file__).parents[1]) -> dict[str, Any]:
    """What code this is: the commit of a clone and whether it was changed since; else a hash of the installed package.

    Args:
        package: The folder of `volforge/__init__.py`.

    Returns:
        `commit` and `changed`; or `sha256` of all its files, whose names count too.
    """

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *words], capture_output=True, text=True, check=False, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # a wheel may lie in an environment inside of a repository that is another one
    is_clone = git("ls-files", "--error-unmatch", "__init__.py") is not None
    commit = git("rev-parse", "HEAD") if is_clone else None
    if commit is None:
        return {"sha256": _hash_of(package)}
    return {"commit": commit, "changed": bool(git("status", "--porcelain", "--untracked-files=no"))}


def _hash_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


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
        "code": code_state(),
        "hardware": hardware(),
        "seeds": {name: c.get("seed", 0) for name, c in cohorts.items()},
        "configuration": without_places(dict(configuration)),
        "input_sha256": {name: list(hashes) for name, hashes in inputs.items()},
    }
