"""What the parts of `benchmarks/gpu.sh` need of this Python, and what it runs on.

Usage: python -m benchmarks.gpu.ready missing            pinned packages that are not there, for pip
       python -m benchmarks.gpu.ready part NAME          what is missing for a part; exits with 1 if something is
       python -m benchmarks.gpu.ready machine FILE       the machine, as JSON

Only the standard library is imported, and torch for the last.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# modules that each part imports, but for torch and numpy, which are never installed here; and their distributions
NETWORKS = {
    "lightning_fabric": "lightning-fabric", "lightning_utilities": "lightning-utilities",
    "fsspec": "fsspec", "packaging": "packaging", "typing_extensions": "typing_extensions",
    "yaml": "PyYAML", "monai": "monai", "safetensors": "safetensors", "tensorboardX": "tensorboardX",
}  # fmt: skip
SCANS = {
    "nibabel": "nibabel", "isal": "isal", "blosc2": "blosc2", "ndindex": "ndindex", "msgpack": "msgpack",
    "numexpr": "numexpr", "pydantic": "pydantic", "pydantic_core": "pydantic_core",
    "annotated_types": "annotated-types", "typing_inspection": "typing-inspection", "cc3d": "connected-components-3d",
    "edt": "edt", "scipy": "scipy", "skimage": "scikit-image", "PIL": "pillow", "pandas": "pandas",
    "SimpleITK": "simpleitk",
}  # fmt: skip
SHAPES = {
    "numba": "numba", "llvmlite": "llvmlite", "scipy": "scipy", "nibabel": "nibabel", "edt": "edt",
    "SimpleITK": "simpleitk", "cc3d": "connected-components-3d", "packaging": "packaging",
    "typing_extensions": "typing_extensions",
}  # fmt: skip
TESTS = {"pytest": "pytest", "iniconfig": "iniconfig", "pluggy": "pluggy", "pygments": "Pygments"}
PARTS = {
    "tests": {**NETWORKS, **SCANS, **SHAPES, **TESTS},
    "walks": {**SHAPES},
    "steps": {**NETWORKS},
}


def absent(modules: dict[str, str]) -> dict[str, str]:
    """Those that are not there, or not under the name that models note the version of."""
    return {m: d for m, d in modules.items() if importlib.util.find_spec(m) is None or not _is_installed(d)}


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def pinned(distributions: list[str]) -> list[str]:
    """Distributions with the versions of envs/constraints.txt.

    Raises:
        KeyError: One is not in that file.
    """
    lines = (ROOT / "envs/constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.split("==")[0].lower(): line for line in lines if "==" in line}
    return [pins[d.lower()] for d in dict.fromkeys(distributions)]


def machine() -> dict[str, object]:
    """What figures were measured on."""
    import torch

    found: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "gpu": "",
    }
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": torch.cuda.get_device_name(0),
            "gpus": torch.cuda.device_count(),
            "gpu_gib": round(about.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        }
    return found


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _said(*words: str) -> str:
    """First line of what a program says; empty where there is no such program, or it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, cwd=ROOT)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else ""


def main() -> None:
    """Answer."""
    question, *more = sys.argv[1:]
    if question == "missing":
        every = {m: d for part in PARTS.values() for m, d in part.items()}
        print("\n".join(pinned(list(absent(every).values()))))
    elif question == "part":
        lacking = absent(PARTS[more[0]])
        if lacking:
            print(f"this Python has no {', '.join(lacking)}")
            sys.exit(1)
    elif question == "machine":
        Path(more[0]).write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
