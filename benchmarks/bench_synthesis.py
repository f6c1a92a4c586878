"""Steps per second of semantic synthesis against a plain implementation of the same step.

Usage: python benchmarks/bench_synthesis.py [--steps 20]

The peer does what the published loop does: a pass of the generator for each of its three networks, a second pass of the
segmenter for its own step, nothing shared, 32 bit, layout as it comes. Both have the same networks, batches, losses and
optimisers; with the same noise the first generator loss is equal, which is checked. Both run in turns, on one and on
all threads; the ratio is that of medians.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import numpy as np
import torch

from volforge.losses.adversarial import discriminator_loss, generator_loss, gradient_penalty
from volforge.losses.semantic import balanced_cross_entropy, class_weights
from volforge.tasks.semantic_synthesis.training import SemanticTask, SynthesisPlan, noise_of, one_hot

SIZE, CLASSES, BATCH = (64, 64), 10, 4
PLAN = SynthesisPlan(
    "unpaired",
    CLASSES,
    {"name": "oasis_generator", "width": 8, "blocks": 4, "hidden": 32},
    {"name": "oasis_segmenter", "width": 8, "levels": 3},
    {"name": "wavelet_discriminator", "width": 16, "most": 32},
)


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    """Discs with noise as batches of a task."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SIZE)
    found = []
    for _ in range(count):
        labels = np.zeros((BATCH, 1, *SIZE), np.uint8)
        for k in range(1, CLASSES):
            for b in range(BATCH):
                centre, radius = rng.uniform(16, 48, 2), rng.uniform(4, 14)
                labels[b, 0][np.hypot(y - centre[0], x - centre[1]) < radius] = k
        image = labels / CLASSES * 2 - 1 + 0.05 * rng.standard_normal(labels.shape)
        found.append(
            {
                "labels": torch.from_numpy(labels),
                "body": torch.from_numpy((labels > 0).astype(np.uint8)),
                "other_image": torch.from_numpy(np.clip(image[::-1].copy(), -1, 1).astype(np.float32)),
                "noise": torch.from_numpy(rng.standard_normal((BATCH, 64)).astype(np.float32)),
            }
        )
    return found


class Hands:
    """Backward passes and updates without a loop around them."""

    progress = 0.0
    device = torch.device("cpu")

    def __init__(self, optimizers):
        self.optimizers = optimizers

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def bare(self, network: torch.nn.Module) -> torch.nn.Module:
        return network

    def update(self, name: str) -> None:
        self.optimizers[name][0].step()
        self.optimizers[name][0].zero_grad(set_to_none=True)


def plain_step(task: SemanticTask, nets, batch, step: int, optimizers) -> float:
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
    size = SIZE

    def __len__(self) -> int:
        return 1


def main() -> None:
    """Run both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    task = SemanticTask(PLAN, 0, _Nothing(), _Nothing(), None, BATCH, None, {})  # type: ignore[arg-type]
    every = batches(steps)
    for threads in dict.fromkeys((1, torch.get_num_threads())):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        ours = task.networks()
        plain = copy.deepcopy(ours)
        for network in ours.values():
            network.to(memory_format=torch.channels_last)
        own, other = task.optimizers(ours), task.optimizers(plain)
        hands = Hands(own)
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        for k, batch in enumerate(every):
            began = time.perf_counter()
            logged = task.step(ours, batch, k, hands)
            middle = time.perf_counter()
            first = plain_step(task, plain, batch, k, other)
            times["ours"].append(middle - began)
            times["plain"].append(time.perf_counter() - middle)
            if k == 0:
                total = (logged["segment"] + logged["adversarial"] + PLAN.outline * logged["outline"]).detach()
                assert abs(float(total) - first) < 1e-3 * abs(first), (float(total), first)
        ours_s, plain_s = (statistics.median(v[2:]) for v in (times["ours"], times["plain"]))
        print(
            f"{threads} thread(s): ours {1 / ours_s:.2f} steps/s, plain {1 / plain_s:.2f} steps/s, "
            f"ratio {plain_s / ours_s:.2f}; first losses equal"
        )


if __name__ == "__main__":
    main()
