"""A training in two processes, started as a program since Fabric starts the second one by the same words.

Usage: python -m tests.training.two_ranks FOLDER MODE PRECISION
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

from tests.tasks.semantic_synthesis.test_training import task
from volforge.training.loop import train
from volforge.training.stop import Stop
from volforge.training.task import Plan


def main(folder: Path, mode: str, precision: str) -> None:
    one = task(mode)
    inner = one.step
    weights: list[str] = []

    def step(networks, batch, number, hands):
        logged = inner(networks, batch, number, hands)
        parts = [p.detach().reshape(-1) for n in networks.values() for p in n.parameters()]
        weights.append(hashlib.sha256(torch.cat(parts).numpy().tobytes()).hexdigest())
        return logged

    one.step = step
    plan = Plan(5, 4, ema={"generator": 0.5}, validate_every=5, devices=2, precision=precision)
    done = train(one, plan, 0, folder, Stop())
    rank = 0 if done.is_first_rank else 1
    (folder / f"rank{rank}.json").write_text(json.dumps({"weights": weights, "steps": done.steps}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
