"""Models that are fitted instead of trained: no networks and no steps, but a template, maps or a covariance.

They leave the folder that a trained one leaves. torch is not imported.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from volforge.training.trained_files import versions, write_files
from volforge.volume.folders import whole_folder, write_json
from volforge.volume.geometry import Array

VERSIONS = ("numpy",)


def write_fitted(
    out: Path,
    tensors: Mapping[str, Array],
    about: Mapping[str, Any],
    seconds: float,
    threads: int = 1,
    packages: Sequence[str] = VERSIONS,
) -> str:
    """Write the folder of a fitted model: weights.safetensors, model.json, history.tsv, cost.json. It appears whole.

    Args:
        out: The folder.
        tensors: What was fitted, by name; any shapes, of numbers or booleans.
        about: What model.json says of it beside the keys that all models have: settings, subjects, and what a
            prediction must know.
        seconds: What the fitting took, on one CPU or several.
        threads: That it ran on.
        packages: Distributions that the values depend on, for `versions`.

    Returns:
        SHA-256 of the weights.

    Raises:
        VolforgeError: The folder cannot be written, or holds files that were not made this way.
    """
    from safetensors.numpy import save

    plain = {k: np.asarray(v, order="C") for k, v in tensors.items()}
    cost = {
        "device_hours": round(seconds / 3600, 6),
        "seconds": round(seconds, 3),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "device": "CPU",
        "threads": threads,
    }
    with whole_folder(out) as folder:
        digest = write_files(folder, save(plain), [], cost)
        content = {
            **about,
            "fitted": True,
            "parameters": sum(v.size for v in plain.values()),
            "multiply_adds": 0,
            "step": 0,
            "steps": 0,
            "sha256": digest,
            "versions": versions(packages),
        }
        write_json(folder / "model.json", content)
    return digest
