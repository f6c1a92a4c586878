"""Training of the encoder that a study's Fréchet distance looks through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional

from volforge.networks.slice_encoder import SIDE, SliceEncoder
from volforge.volume.folders import sha256_of, write_json
from volforge.volume.geometry import Array
from volforge.volume.write import write_whole

BATCH = 16
RATE = 2e-3
NOISE = 0.05
MOST_SLICES = 4000


def train_slice_encoder(slices: Array, steps: int, seed: int) -> tuple[SliceEncoder, list[float]]:
    """Train the autoencoder to take noise out of real slices; one thread, so that a seed gives one result.

    Args:
        slices: Real training slices, shape (N, 64, 64), 0 to 1.
        steps: Steps of 16 slices.
        seed: Of weights, drawing and noise.

    Returns:
        The network, and the mean squared error of every step.

    Raises:
        ValueError: No slices, or of another size.
    """
    if slices.ndim != 3 or slices.shape[1:] != (SIDE, SIDE) or not len(slices):
        raise ValueError(f"slices must have the shape (N, {SIDE}, {SIDE}), not {slices.shape}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(seed)
        network = SliceEncoder().train()
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps + 1)
        generator = np.random.default_rng(seed)
        images = torch.from_numpy(np.ascontiguousarray(slices, np.float32))[:, None]
        losses = []
        for _ in range(steps):
            batch = images[torch.from_numpy(generator.integers(len(images), size=min(BATCH, len(images))))]
            loss = functional.mse_loss(network.reconstruct(batch + NOISE * torch.randn_like(batch)), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        return network.eval(), losses
    finally:
        torch.set_num_threads(threads)


def write_slice_encoder(folder: Path, network: SliceEncoder, origin: dict[str, object], losses: list[float]) -> str:
    """Write weights.safetensors and model.json; returns the weights' SHA-256."""
    weights = folder / "weights.safetensors"
    write_whole(weights, save({k: v.contiguous() for k, v in network.state_dict().items()}))
    content = {
        "network": "slice_encoder",
        "parameters": sum(p.numel() for p in network.parameters()),
        "features": SliceEncoder.FEATURES,
        "sha256": sha256_of(weights),
        "first_loss": losses[0],
        "last_loss": float(np.mean(losses[-20:])),
        **origin,
    }
    write_json(folder / "model.json", content)
    return str(content["sha256"])
