"""Steps of semantic synthesis against a plain implementation of the same step.

The peer does what the published loop does: a pass of the generator for each of its three networks, a second pass of the
segmenter for its own step, nothing shared, 32 bit, layout as it comes. Both have the same networks, batches, losses and
optimisers; with the same noise the first generator loss is equal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.rows import Peer, Row, Scale, close
from volforge.losses.adversarial import discriminator_loss, generator_loss, gradient_penalty
from volforge.losses.semantic import balanced_cross_entropy, class_weights
from volforge.tasks.semantic_synthesis.training import SemanticTask, SynthesisPlan, noise_of, one_hot

CLASSES, BATCH = 10, 4
PLAN = SynthesisPlan(
    "unpaired",
    CLASSES,
    {"name": "oasis_generator", "width": 8, "blocks": 4, "hidden": 32},
    {"name": "oasis_segmenter", "width": 8, "levels": 3},
    {"name": "wavelet_discriminator", "width": 16, "most": 32},
)


def batch_of(side: int) -> dict[str, torch.Tensor]:
    """Discs with noise as a batch of a task."""
    rng = np.random.default_rng(0)
    y, x = np.indices((side, side))
    labels = np.zeros((BATCH, 1, side, side), np.uint8)
    for k in range(1, CLASSES):
        for b in range(BATCH):
            centre, radius = rng.uniform(side / 4, side * 3 / 4, 2), rng.uniform(side / 16, side / 5)
            labels[b, 0][np.hypot(y - centre[0], x - centre[1]) < radius] = k
    image = labels / CLASSES * 2 - 1 + 0.05 * rng.standard_normal(labels.shape)
    return {
        "labels": torch.from_numpy(labels),
        "body": torch.from_numpy((labels > 0).astype(np.uint8)),
        "other_image": torch.from_numpy(np.clip(image[::-1].copy(), -1, 1).astype(np.float32)),
        "noise": torch.from_numpy(rng.standard_normal((BATCH, 64)).astype(np.float32)),
    }


class Hands:
    """Backward passes and updates without a loop around them."""

    progress = 0.0
    rank = 0
    device = torch.device("cpu")

    def __init__(self, optimizers: Any):
        self.optimizers = optimizers

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def bare(self, network: torch.nn.Module) -> torch.nn.Module:
        return network

    def update(self, name: str) -> None:
        self.optimizers[name][0].step()
        self.optimizers[name][0].zero_grad(set_to_none=True)


def plain_step(task: SemanticTask, nets: Any, batch: Any, step: int, optimizers: Any) -> float:
    """The published order: generator, segmenter, discriminator, each with a pass of its own. Returns the first loss."""
    labels = batch["labels"][:, 0].long()
    given, weights = one_hot(labels, CLASSES), class_weights(labels, CLASSES, False)
    g, s, d = nets["generator"], nets["segmenter"], nets["discriminator"]
    fake = g(given, noise_of(batch))
    loss = balanced_cross_entropy(s(fake), labels, weights) + generator_loss(d(fake))
    loss = loss + task.plan.outline * task.outline(fake, batch["body"], None)
    loss.backward()
    first = float(loss.detach())
    optimizers["generator"][0].step()
    for optimizer, _ in optimizers.values():
        optimizer.zero_grad()
    fake = g(given, torch.randn_like(batch["noise"])).detach()
    balanced_cross_entropy(s(fake), labels, weights).backward()
    optimizers["segmenter"][0].step()
    optimizers["segmenter"][0].zero_grad()
    fake = g(given, torch.randn_like(batch["noise"])).detach()
    discriminator_loss(d(fake), d(batch["other_image"])).backward()
    optimizers["discriminator"][0].step()
    optimizers["discriminator"][0].zero_grad()
    if step % task.plan.penalty_every == 0:
        seen = batch["other_image"].detach().requires_grad_()
        (task.plan.penalty / 2 * task.plan.penalty_every * gradient_penalty(d(seen), seen)).backward()
        optimizers["discriminator"][0].step()
        optimizers["discriminator"][0].zero_grad()
    return first


class _Nothing:
    def __init__(self, side: int):
        self.size = (side, side)

    def __len__(self) -> int:
        return 1


def rows(scale: Scale) -> Iterator[Row]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    side = scale.of(64, 32)
    nothing: Any = _Nothing(side)
    task = SemanticTask(PLAN, 0, nothing, nothing, None, BATCH, None, {})
    batch = batch_of(side)
    ours = task.networks()
    plain = copy.deepcopy(ours)
    for network in ours.values():
        network.to(memory_format=torch.channels_last)
    own, other = task.optimizers(ours), task.optimizers(plain)
    hands, counts = Hands(own), {"ours": 0, "plain": 0}

    def step() -> float:
        logged = task.step(ours, batch, counts["ours"], hands)
        counts["ours"] += 1
        return float((logged["segment"] + logged["adversarial"] + PLAN.outline * logged["outline"]).detach())

    def published() -> float:
        counts["plain"] += 1
        return plain_step(task, plain, batch, counts["plain"] - 1, other)

    def first_losses(mine: float, theirs: float) -> str:
        close(1e-3)(mine, theirs)
        return "first losses equal to 0.001"

    yield Row(
        f"a step of generator, segmenter and discriminator, {BATCH} images of {side}x{side}, {CLASSES} classes",
        step,
        (Peer("plain torch, in the published order", published, first_losses),),
    )
