"""What every training leaves in its folder beside model.json: weights, history, cost."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from volforge import __version__
from volforge.cohort.collect import as_tsv
from volforge.study.measures import number
from volforge.volume.folders import sha256_of, write_json
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from volforge.training.loop import Trained
    from volforge.training.task import Plan

VERSIONS = ("torch", "monai", "lightning", "numpy")


def versions() -> dict[str, str]:
    """Versions of what a training depends on."""
    return {"volforge": __version__, **{name: version(name) for name in VERSIONS}}  # our own may not be installed


def multiply_adds(network: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one pass, counted without computing anything: network and inputs lie on the device `meta`."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(*inputs)
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

    write_whole(folder / "weights.safetensors", save({k: v.contiguous() for k, v in weights.items()}))
    columns = list(dict.fromkeys(k for row in done.history for k in row))
    lines = [{k: number(row[k]) if k in row else "" for k in columns} for row in done.history]
    write_whole(folder / "history.tsv", as_tsv(columns, lines))
    cost = {
        "device_hours": round(done.seconds * plan.devices / 3600, 6),
        "seconds": round(done.seconds, 3),
        "peak_memory_gib": round(done.peak_memory_gib, 3),
        "device": done.device,
        "threads": plan.threads,
    }
    write_json(folder / "cost.json", cost)
    return sha256_of(folder / "weights.safetensors")
