"""The folder of a model whose weights were trained elsewhere, as a training of ours would have left it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volforge.training.trained_files import versions, write_files
from volforge.volume.folders import sha256_of, whole_folder, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn


def write_imported(
    out: Path, file: Path, part: str, state: Mapping[str, Tensor], network: nn.Module, about: Mapping[str, Any]
) -> None:
    """Write weights, an empty history, no cost, and model.json: no step, and no subject that is known.

    Args:
        out: Folder; it appears whole.
        file: The published file, of which name and SHA-256 are kept.
        part: What it holds.
        state: Weights by our names.
        network: Any of its kind, to count its parameters.
        about: Settings that model.json holds besides.
    """
    from safetensors.torch import save

    cost = {"device_hours": 0.0, "seconds": 0.0, "peak_memory_gib": 0.0, "device": "", "threads": 0}
    with whole_folder(out) as folder:
        digest = write_files(folder, save(dict(state)), [], cost)
        content = {
            **about,
            "parameters": sum(p.numel() for p in network.parameters()),
            "step": 0,
            "steps": 0,
            "expected": {},
            "subjects": {},
            "imported": {"file": file.name, "sha256": sha256_of(file), "part": part},
            "sha256": digest,
            "versions": versions(),
        }
        write_json(folder / "model.json", content)
