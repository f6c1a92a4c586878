"""Where a training stands: all that a checkpoint holds, and the weights that the inner validation prefers."""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from volforge.errors import VolforgeError
from volforge.training.checkpoint import best_name, write_checkpoint
from volforge.training.ema import Ema

if TYPE_CHECKING:
    from volforge.training.task import Plan, Task


def seed_of_rank(seed: int, rank: int) -> int:
    """Seed of one of several processes; the first has the seed itself."""
    return seed + 1_000_003 * rank


def rng_of_all(fabric: Fabric) -> list[list[Tensor]]:
    """States of the generators of every process: CPU, and its GPU where it has one. All processes must call it."""
    states = [torch.get_rng_state()]
    if fabric.device.type == "cuda":
        states.append(torch.cuda.get_rng_state(fabric.device))
    if fabric.world_size == 1:
        return [states]
    gathered: list[Any] = [fabric.all_gather(s.to(fabric.device)) for s in states]
    return [[g[rank].cpu().clone() for g in gathered] for rank in range(fabric.world_size)]


def extra_of_all(task: Task, fabric: Fabric) -> list[dict[str, Any]]:
    """What the task of every process remembers, in the order of ranks. All processes must call it.

    Raises:
        VolforgeError: It holds what a checkpoint cannot give back.
    """
    own = _packed(task)
    if fabric.world_size == 1:
        return [_unpacked(own)]
    # the states of processes differ in size: they travel as bytes, filled up to the longest
    sizes = fabric.all_gather(torch.tensor(len(own), device=fabric.device))
    assert isinstance(sizes, Tensor)
    lengths = [int(n) for n in sizes.flatten()]
    filled = torch.zeros(max(lengths), dtype=torch.uint8)
    filled[: len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8)
    every = fabric.all_gather(filled.to(fabric.device))
    assert isinstance(every, Tensor)
    return [_unpacked(part[:n].cpu().numpy().tobytes()) for part, n in zip(every, lengths, strict=True)]


def _packed(task: Task) -> bytes:
    """A task's own state as a file's bytes, proven to be readable now and not on the day of a resume."""
    buffer = io.BytesIO()
    try:
        torch.save(dict(task.extra_state()), buffer)
        _unpacked(buffer.getvalue())
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise VolforgeError(
            f"the state of its own cannot be kept in a checkpoint: {error}",
            f"{type(task).__name__}.extra_state",
            "give tensors, numbers, texts, and lists and dicts of them",
        ) from error
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, Any]:
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


class State:
    """Where a training stands: all that a checkpoint holds, but for networks and optimisers.

    Args:
        which: Weights that are kept: `best`, `latest`, or those of a step.
        tolerance: What a score must gain to be better, in its own unit.
    """

    def __init__(self, which: str | int = "best", tolerance: float = 0.0) -> None:
        self.which, self.tolerance = which, tolerance
        self.step = 0
        self.best_step = 0
        self.since_best = 0
        self.best: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, Any] = {}
        self.counted = 0
        self.seconds_before = 0.0
        self.began = time.monotonic()
        self.rng: list[Any] = []

    def add(self, logged: Mapping[str, Tensor]) -> None:
        """Sum up what a step logged; on the device, since a look at a value waits for it."""
        self.counted += 1
        for name, value in logged.items():
            self.sums[name] = value.detach() + self.sums.get(name, 0.0)

    def means(self) -> dict[str, float]:
        """Means of what was logged since the last validation.

        Raises:
            VolforgeError: One is not a number: the training has come apart.
        """
        means = {k: float(v) / self.counted for k, v in self.sums.items()} if self.counted else {}
        if any(not math.isfinite(v) for v in means.values()):
            raise VolforgeError(
                f"the loss is not finite, before step {self.step}", "", "lower the rate, or use precision 32-true"
            )
        return means

    def validated(
        self,
        task: Task,
        networks: Mapping[str, nn.Module],
        made: Mapping[str, nn.Module],
        emas: Mapping[str, Ema],
        fabric: Fabric,
        folder: Path,
        settings: Mapping[str, Any],
    ) -> None:
        """Measure on the inner validation, with the mean weights where there are some, and keep the best."""
        row: dict[str, float] = {"step": float(self.step)}
        row |= self.means()
        self.sums, self.counted = {}, 0
        for name, ema in emas.items():
            ema.swap(made[name])
        rng = torch.get_rng_state()
        for network in networks.values():
            network.eval()
        found: dict[str, float] = {}
        if fabric.is_global_zero:
            with torch.inference_mode():
                found = task.validate(made, fabric.device)
        found = fabric.broadcast(found) if fabric.world_size > 1 else found
        for network in networks.values():
            network.train()
        torch.set_rng_state(rng)
        row |= {f"validation_{k}": v for k, v in found.items()}
        self.history.append(row)
        is_better = bool(found) and self.is_gain(found["score"])
        self.since_best = 0 if is_better or not found else self.since_best + 1
        if is_better if self.which == "best" else self.step == self.which:
            self.best, self.best_step = found, self.step
            if fabric.is_global_zero:
                content = {n: {k: v.cpu().clone() for k, v in m.state_dict().items()} for n, m in made.items()}
                path = folder / best_name(self.step)
                write_checkpoint(path, {"settings": settings, "step": self.step, "networks": content})
        for name, ema in emas.items():
            ema.swap(made[name])

    def is_gain(self, score: float) -> bool:
        """Whether a score is better than the best so far: one rule for the weights that are kept and for patience.

        What is no finite number never is.
        """
        return math.isfinite(score) and (not self.best or score > self.best["score"] + self.tolerance)

    def chosen(
        self, made: Mapping[str, nn.Module], emas: Mapping[str, Ema], folder: Path
    ) -> dict[str, dict[str, Tensor]]:
        """The weights that are kept: by default the best, or the last ones where nothing was validated."""
        if self.best_step:
            best = torch.load(folder / best_name(self.best_step), map_location="cpu", weights_only=True)
            return dict(best["networks"])
        for name, ema in emas.items():
            ema.swap(made[name])
        return {n: {k: v.detach().cpu().clone() for k, v in m.state_dict().items()} for n, m in made.items()}

    def save(
        self,
        task: Task,
        made: Mapping[str, nn.Module],
        optimizers: Mapping[str, Any],
        emas: Mapping[str, Ema],
        fabric: Fabric,
        settings: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Content of a checkpoint."""
        self.means()  # weights that have come apart are not worth keeping
        return {
            "settings": settings,
            "networks": {n: m.state_dict() for n, m in made.items()},
            "optimizers": {n: o.state_dict() for n, (o, _) in optimizers.items()},
            "ema": {n: e.state() for n, e in emas.items()},
            "precision": dict(fabric.strategy.precision.state_dict()),
            "rng": rng_of_all(fabric),
            "extra": extra_of_all(task, fabric),
            "step": self.step,
            "best_step": self.best_step,
            "since_best": self.since_best,
            "best": self.best,
            "history": self.history,
            "sums": {k: float(v) for k, v in self.sums.items()},
            "counted": self.counted,
            "seconds": self.seconds_before + time.monotonic() - self.began,
        }

    def load(
        self,
        content: Mapping[str, Any],
        task: Task,
        made: Mapping[str, nn.Module],
        optimizers: Mapping[str, Any],
        emas: Mapping[str, Ema],
        fabric: Fabric,
    ) -> None:
        """Take up a checkpoint.

        Raises:
            VolforgeError: It was kept by another number of processes, each of which has a part of it.
        """
        if len(content["rng"]) != fabric.world_size:
            raise VolforgeError(
                f"the checkpoint was kept by {len(content['rng'])} processes, not by {fabric.world_size}",
                "training.devices",
                "resume with as many, or start anew",
            )
        for name, module in made.items():
            module.load_state_dict(content["networks"][name])
        for name, (optimizer, _) in optimizers.items():
            optimizer.load_state_dict(content["optimizers"][name])
        for name, ema in emas.items():
            ema.load(content["ema"][name], fabric.device)
        if content["precision"]:
            fabric.strategy.precision.load_state_dict(content["precision"])
        if content.get("extra"):  # older checkpoints have none
            task.load_extra(content["extra"][fabric.global_rank])
        self.rng = content["rng"]
        self.step, self.best_step = content["step"], content["best_step"]
        self.since_best, self.best = content["since_best"], content["best"]
        self.history, self.sums, self.counted = content["history"], content["sums"], content["counted"]
        self.seconds_before = content["seconds"]

    def restore_rng(self, fabric: Fabric) -> None:
        """Go on drawing where the checkpoint stopped; every process has its own state in it."""
        states = self.rng[fabric.global_rank]
        torch.set_rng_state(states[0])
        if len(states) > 1 and fabric.device.type == "cuda":
            torch.cuda.set_rng_state(states[1], fabric.device)

    def is_last(self, plan: Plan) -> bool:
        """Whether no step is left: all were made, or validations have not gained for too long."""
        return self.step >= plan.steps or bool(plan.patience and self.since_best >= plan.patience)

    def tidy(self, folder: Path) -> None:
        """Remove best weights that no checkpoint speaks of any more."""
        for path in folder.glob("best-*.pt"):
            if path.name != best_name(self.best_step):
                path.unlink()
