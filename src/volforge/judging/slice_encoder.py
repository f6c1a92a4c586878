"""Training of the encoder that a study's Fréchet distance looks through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from volforge.networks.slice_encoder import SIDE, SliceEncoder
from volforge.volume.folders import sha256_of, write_json
from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

BATCH = 16
RATE = 2e-3
KINDS = 4  # of slices that it tells apart: real, blurred, smoothed inside its edges, noisy
NOISE = (0.01, 0.06)
RECONSTRUCTION = 10.0  # weight of the mean squared error beside the cross-entropy of the kinds
MOST_SLICES = 4000


def train_slice_encoder(slices: Array, steps: int, seed: int) -> tuple[SliceEncoder, list[float]]:
    """Train the encoder to draw real slices again, also damaged ones, and to tell how they are damaged.

    One thread, so that a seed gives one result.

    Args:
        slices: Real training slices, shape (N, 64, 64), 0 to 1.
        steps: Steps of 16 slices.
        seed: Of weights, drawing and damage.

    Returns:
        The network, and the loss of every step.

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
        kinds = nn.Linear(SliceEncoder.FEATURES, KINDS)
        optimiser = torch.optim.Adam([*network.parameters(), *kinds.parameters()], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps + 1)
        generator = np.random.default_rng(seed)
        images = torch.from_numpy(np.ascontiguousarray(slices, np.float32))[:, None]
        losses = []
        for _ in range(steps):
            batch = images[torch.from_numpy(generator.integers(len(images), size=min(BATCH, len(images))))]
            seen, kind = damaged(batch)
            drawn = functional.mse_loss(network.reconstruct(seen), batch)
            loss = RECONSTRUCTION * drawn + functional.cross_entropy(kinds(network.raw(seen)), kind)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        network.eval().settle(images)
        return network, losses
    finally:
        torch.set_num_threads(threads)


def damaged(images: Tensor) -> tuple[Tensor, Tensor]:
    """Slices of which each is left alone (0), blurred (1), smoothed inside its edges (2) or noisy (3), by chance.

    Args:
        images: (N, 1, H, W), 0 to 1.

    Returns:
        The slices, and the kind of each (N,).
    """
    kind = torch.randint(0, KINDS, (len(images),))
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    around = functional.pad(images, [2] * 4, mode="replicate")
    blurred = functional.conv2d(around, (line[:, None] * line[None])[None, None])
    smooth = functional.unfold(around, 5).view(len(images), 25, *images.shape[2:]).median(dim=1, keepdim=True).values
    low, high = NOISE
    noisy = images + (low + (high - low) * torch.rand(len(images), 1, 1, 1)) * torch.randn_like(images)
    every = torch.stack([images, blurred, smooth, noisy])
    return every[kind, torch.arange(len(images))], kind


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
