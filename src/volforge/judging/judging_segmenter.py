"""Training of the segmenter that judges synthetic images: it learns from real images alone, and is then frozen.

It is never one of the networks that a generator is trained with, which reads its generator's mistakes as well as its
images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from volforge.volume.folders import sha256_of, write_json
from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

CHANNELS = (16, 32, 64, 64)
DIVISOR = 8  # of its slices' sides
BATCH = 8
RATE = 4e-3
NOISE = 0.03
BRIGHTER = 0.1  # largest change of brightness and contrast, as a share of the window


def judging_segmenter(classes: int) -> nn.Module:
    """The network: a residual U-Net of slices (MONAI), one image channel, logits of `classes` (background first)."""
    from monai.networks.nets import UNet

    return UNet(2, 1, classes, CHANNELS, (2, 2, 2), num_res_units=1, norm="batch")


def train_judging_segmenter(
    images: Sequence[Array], labels: Sequence[Array], classes: int, steps: int, seed: int
) -> tuple[nn.Module, list[float]]:
    """Train on real slices; one thread, so that a seed gives one result.

    Dice and cross-entropy, Adam under a one-cycle rate; noise and small changes of brightness and contrast, so that it
    looks at shapes as well as at values.

    Args:
        images: Slices (H, W) float32, 0 to 1, sides multiples of `DIVISOR`; sides may differ from slice to slice.
        labels: Classes (H, W) uint8 of the same slices.
        classes: Number of classes, background included.
        steps: Steps of 8 slices.
        seed: Of weights and everything drawn.

    Returns:
        The network in evaluation mode, and the loss of every step.

    Raises:
        ValueError: No slices.
    """
    from monai.losses import DiceCELoss

    if not images:
        raise ValueError("no slices to learn from")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(seed)
        network = judging_segmenter(classes).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE / 10)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps + 1)
        loss_of = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
        rng, losses = np.random.default_rng(seed), []
        size = tuple(max(i.shape[a] for i in images) for a in (0, 1))
        for _ in range(steps):
            chosen = rng.integers(len(images), size=BATCH)
            x = torch.from_numpy(np.stack([padded(images[k], size) for k in chosen]))[:, None]
            y = torch.from_numpy(np.stack([padded(labels[k], size) for k in chosen]).astype(np.int64))[:, None]
            gain, level = (torch.from_numpy(rng.uniform(-BRIGHTER, BRIGHTER, (BATCH, 1, 1, 1))).float() for _ in "ab")
            x = x * (1 + gain) + level + NOISE * torch.randn_like(x)
            loss = loss_of(network(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        return network.eval(), losses
    finally:
        torch.set_num_threads(threads)


def padded(values: Array, size: Sequence[int]) -> Array:
    """A slice with zeros behind its rows and columns up to a size."""
    return np.pad(values, [(0, n - m) for n, m in zip(size, values.shape, strict=True)])


@torch.inference_mode()
def read_slices(network: nn.Module, images: Array, batch: int = 16) -> Array:
    """Classes of slices.

    Args:
        network: In evaluation mode.
        images: (N, H, W) float32, 0 to 1, sides multiples of `DIVISOR`.
        batch: Slices at a time.

    Returns:
        (N, H, W) uint8.
    """
    found: list[Tensor] = []
    for start in range(0, len(images), batch):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + batch], np.float32))[:, None]
        found.append(network(part).argmax(dim=1).to(torch.uint8))
    return np.asarray(torch.cat(found).numpy()) if found else np.zeros(images.shape, np.uint8)


def write_judging_segmenter(
    folder: Path, network: nn.Module, origin: dict[str, object], losses: Sequence[float]
) -> str:
    """Write weights.safetensors and model.json; returns the weights' SHA-256."""
    weights = folder / "weights.safetensors"
    write_whole(weights, save({k: v.contiguous() for k, v in network.state_dict().items()}))
    content = {
        "network": "judging_segmenter",
        "parameters": sum(p.numel() for p in network.parameters()),
        "sha256": sha256_of(weights),
        "first_loss": losses[0],
        "last_loss": float(np.mean(losses[-20:])),
        **origin,
    }
    write_json(folder / "model.json", content)
    return str(content["sha256"])
