"""The learning rate as a function of the step alone, so that nothing of it needs to be kept."""

from __future__ import annotations

import math

EPOCHS = 200  # of the published CycleGANs


def factor(schedule: str, step: int, steps: int, warmup: int = 0, step_every: int = 1) -> float:
    """What the learning rate is multiplied by at a step (from 0).

    Args:
        schedule: `constant`, `cosine`, `poly` ((1 - t)^0.9) or `step` (a tenth every `step_every`),
            `late_linear` (1 to the half, then to 0), `late_epochs` (the same in 200 equal parts, as the published
            CycleGANs had it: 1 in the first 99, then 1/101 less in each, so 0 in the last).
        step, steps: This step and how many there are.
        warmup: Steps of linear rise before.
        step_every: Of `step`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "poly":
        return float((1 - done) ** 0.9)
    if schedule == "step":
        return float(0.1 ** (step // step_every))
    if schedule == "late_linear":
        return min(1.0, 2 * (1 - done))
    if schedule == "late_epochs":
        epoch = EPOCHS * (step - warmup) // max(1, steps - warmup) + 1
        return 1 - max(0, epoch + 1 - EPOCHS // 2) / (EPOCHS // 2 + 1)
    return 1.0
