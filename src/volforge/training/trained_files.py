"""What every training leaves in its folder beside model.json: weights, history, cost."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from volforge import __version__
from volforge.cohort.collect import as_tsv
from volforge.metrics.measure import number
from volforge.volume.folders import sha256_of, write_json
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volforge.training.loop import Trained
    from volforge.training.task import Plan

VERSIONS = ("torch", "monai", "lightning-fabric", "numpy")


def versions(names: Sequence[str] = VERSIONS) -> dict[str, str]:
    """Versions of what a training depends on."""
    own = {"volforge": __version__}  # it may not be installed
    return own | {name: version(name) for name in names}


def multiply_adds(network: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one pass, counted without computing anything: network and inputs lie on the device `meta`.

    Returns:
        0, with a line that says so, of a network whose pass depends on values (`float(x.max())`, `x[x > 0]`): the
        training is over when this is asked, and must not be lost to it.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            network(*inputs)
    except RuntimeError as error:
        print(f"multiply-adds are not counted: {str(error).splitlines()[0]}", file=sys.stderr)
        return 0
    return int(counter.get_total_flops()) // 2


def write_trained(folder: Path, weights: Mapping[str, Tensor], done: Trained, plan: Plan) -> str:
    """Write weights.safetensors, history.tsv and cost.json.

    Args:
        folder: The model's.
        weights: Of the network that is kept.
        done: The training.
        plan: Its plan.

    Returns:
        SHA-256 of the weights.
    """
    from safetensors.torch import save

    cost = {
        "device_hours": round(done.seconds * plan.devices / 3600, 6),
        "seconds": round(done.seconds, 3),
        "peak_memory_gib": round(done.peak_memory_gib, 3),
        "device": done.device,
        "threads": plan.threads,
    }
    return write_files(folder, save({k: v.contiguous() for k, v in weights.items()}), done.history, cost)


def write_files(
    folder: Path, weights: bytes, history: Sequence[Mapping[str, float]], cost: Mapping[str, object]
) -> str:
    """Write weights.safetensors, history.tsv (its header alone where no step was made) and cost.json.

    Args:
        folder: The model's.
        weights: Content of the safetensors file.
        history: One row per validation, with `step`.
        cost: `device_hours`, `seconds`, `peak_memory_gib`, `device`, `threads`.

    Returns:
        SHA-256 of the weights.
    """
    write_whole(folder / "weights.safetensors", weights)
    columns = list(dict.fromkeys(["step", *(k for row in history for k in row)]))
    lines = [{k: number(row[k]) if k in row else "" for k in columns} for row in history]
    write_whole(folder / "history.tsv", as_tsv(columns, lines))
    write_json(folder / "cost.json", cost)
    return sha256_of(folder / "weights.safetensors")
