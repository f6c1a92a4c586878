"""A training of segmentation, whole loop, against bare forward and backward passes of the same network on one batch.

The loop loads, augments, keeps mean weights and a log; the bare passes do none of it, and are a limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.training.cohort import cut_cohort, settings

from benchmarks.rows import Peer, Row, Scale, close


def rows(scale: Scale) -> Iterator[Row]:
    import torch

    from volforge.inference.model import make_network
    from volforge.study.jobs import TrainJob
    from volforge.tasks.segmentation.train import regions_of
    from volforge.tasks.segmentation.training import SegmentationTask
    from volforge.training.loop import train
    from volforge.training.stop import Stop
    from volforge.training.task import Plan

    torch.set_num_threads(1)
    steps, edge = scale.of((12, 32), (2, 16))
    own = settings(
        training={"patch": [edge] * 3, "augmentation": "standard", "validation": 0},
        network={"name": "residual_unet", "width": scale.of(12, 4), "levels": 3},
    )
    scans = cut_cohort(scale.folder / "cohort", 4)
    job = TrainJob(scans, 0, 0, Path("unused"), Path("unused"))
    training, _, _ = regions_of(own, job)
    options = own.training

    def task() -> Any:
        return SegmentationTask(own, 0, training, None, {"benchmark": True})

    class Hands:
        progress = 0.0

    def bare() -> tuple[float, float]:
        """Seconds a step, and the first loss."""
        one = task()
        torch.manual_seed(0)
        network = make_network(own).to(memory_format=torch.channels_last_3d).train()
        ((optimizer, _),) = one.optimizers({"network": network}).values()
        batch = one.augmentation(one.collate([one.sample(i) for i in range(options["batch"])]))
        image = batch["image"].float().to(memory_format=torch.channels_last_3d)
        labels = batch["labels"][:, 0].long()
        first, began = 0.0, 0.0
        for k in range(steps + 2):
            began = time.perf_counter() if k == 2 else began
            loss = one.supervised(network(image), labels, None, Hands())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), options["clip"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            first = float(loss.detach()) if k == 0 else first
        return (time.perf_counter() - began) / steps, first

    def whole() -> tuple[float, float]:
        """Seconds a step of the loop, and the first loss."""
        one, times, losses = task(), [], []
        step = one.step

        def timed(*given: Any) -> Any:
            times.append(time.perf_counter())
            logged = step(*given)
            if not losses:
                losses.append(float(next(iter(logged.values()))))
            return logged

        one.step = timed
        plan = Plan(
            steps + 3, options["batch"], ema={"network": options["ema"]}, clip=options["clip"], threads=1,
            channels_last=True, validate_every=10**6, checkpoint_seconds=10**6,
        )  # fmt: skip
        torch.manual_seed(0)
        train(one, plan, 0, scale.folder / f"run-{time.monotonic_ns()}", Stop())
        return (times[-1] - times[2]) / (len(times) - 3), losses[0]

    def first_losses(ours: float, theirs: float) -> str:
        close(1e-3)(ours, theirs)
        return "first losses equal to 0.001"

    yield Row(
        f"a step of two patches of {edge}^3, residual U-Net",
        whole,
        (Peer("bare forward and backward, one batch", bare, first_losses, is_limit=True),),
        turns=5,
        measures_itself=True,
    )
