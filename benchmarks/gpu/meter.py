"""Steps that are counted and timed, in our loop and in a plain one."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from volforge.training import loop
from volforge.training.stop import Stop
from volforge.training.task import Plan

WARM = 3  # steps that are not timed


@dataclass(frozen=True)
class Variant:
    """A way to make steps.

    Attributes:
        title: In words.
        in_loop: Whether our loop makes them, else a plain one without anything around it.
        tf32: A plain loop with TF32, which our loop always allows.
        precision, channels_last, compile: As of a training.
        bound: Relative distance from the plain loop's loss within which the first loss must lie.
    """

    title: str
    in_loop: bool = True
    tf32: bool = True
    precision: str = "32-true"
    channels_last: bool = False
    compile: bool = False
    bound: float = 5e-3


VARIANTS = {
    "plain": Variant("plain loop, fp32", in_loop=False, tf32=False, bound=0.0),
    "plain_tf32": Variant("plain loop, TF32", in_loop=False),
    "tf32": Variant("ours, `32-true` (TF32)"),
    "bf16": Variant("ours, `bf16-mixed`", precision="bf16-mixed", bound=0.05),
    "channels_last": Variant("and channels last", precision="bf16-mixed", channels_last=True, bound=0.05),
    "compile": Variant("and compiled", precision="bf16-mixed", channels_last=True, compile=True, bound=0.05),
}


class DoneError(Exception):
    """Enough steps were timed: the loop is left without a checkpoint."""


@dataclass
class Meter:
    """Told of the beginning of every step.

    Attributes:
        device: Where the steps are made.
        seconds: How long to time, about: 0 is one step.
        most: Steps that are timed, at most.
    """

    device: torch.device
    seconds: float
    most: int = 60
    losses: list[dict[str, float]] = field(default_factory=list)
    count: int = 0
    until: int = 0
    began: float = 0.0
    step_s: float = 0.0
    peak_gib: float | None = None

    @property
    def warm(self) -> int:
        """Steps in which kernels are chosen, networks compiled, states of optimisers made."""
        return WARM if self.seconds else 1

    @property
    def steps(self) -> int:
        """Steps that are timed."""
        return self.until - self.warm - 1

    def begin(self) -> None:
        """A step begins.

        Raises:
            DoneError: The one before it was the last.
        """
        if self.count == self.warm:
            self._wait()
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            self.began = time.perf_counter()
        elif self.count == self.warm + 1:  # this one is waited for: it says how many make up the time
            self._wait()
            one = time.perf_counter() - self.began
            self.until = self.count + min(self.most, max(3 if self.seconds else 1, int(self.seconds / one)))
            self.began = time.perf_counter()
        elif self.until and self.count == self.until:
            self._wait()
            self.step_s = (time.perf_counter() - self.began) / self.steps
            if self.device.type == "cuda":
                self.peak_gib = torch.cuda.max_memory_allocated() / 2**30
            raise DoneError
        self.count += 1

    def logged(self, values: Mapping[str, torch.Tensor]) -> None:
        """What a step logged; kept of the first ones, since a look at a value waits for it."""
        if len(self.losses) < self.warm:
            self.losses.append({k: float(v.detach()) for k, v in values.items()})

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class PlainHands:
    """Backward passes and updates with nothing around them."""

    progress, rank = 0.0, 0

    def __init__(self, device: torch.device, optimizers: Mapping[str, tuple[torch.optim.Optimizer, list[str]]]):
        self.device, self.optimizers = device, optimizers

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def bare(self, network: nn.Module) -> nn.Module:
        return network

    def update(self, name: str) -> None:
        self.optimizers[name][0].step()
        self.optimizers[name][0].zero_grad(set_to_none=True)


def measure(task: Any, variant: Variant, device: str, seconds: float) -> dict[str, Any]:
    """Time steps of a training.

    Args:
        task: As `volforge.training.task.Task` has it, with the attributes `batch`, `channels_last`, `clip`, and
            `averaged`: the network whose mean weights are kept.
        variant: How they are made.
        device: `cpu` or `cuda`.
        seconds: How long, about; 0 is one step.

    Returns:
        `step_s`, `steps` that were timed, `peak_gib` (None on CPU), and the `losses` of the first steps.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    meter = Meter(torch.device(device), seconds)
    task.channels_last = variant.channels_last
    try:
        (_in_our_loop if variant.in_loop else _plainly)(task, variant, meter)
    except DoneError:
        pass
    finally:
        torch._dynamo.reset()
    return {
        "step_s": meter.step_s, "steps": meter.steps, "peak_gib": meter.peak_gib, "losses": meter.losses,
    }  # fmt: skip


def _plainly(task: Any, variant: Variant, meter: Meter) -> None:
    """One batch that lies on the device, passes and updates."""
    on_cpu = meter.device.type == "cpu"
    torch.use_deterministic_algorithms(on_cpu)
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = variant.tf32
    torch.set_float32_matmul_precision("high" if variant.tf32 else "highest")
    torch.manual_seed(0)
    networks = {k: n.to(meter.device).train() for k, n in task.networks().items()}
    hands = PlainHands(meter.device, task.optimizers(networks))
    samples = [task.sample(i) for i in range(task.batch)]
    batch = {k: torch.stack([s[k] for s in samples]).to(meter.device) for k in samples[0]}
    step = 0
    while True:
        meter.begin()
        meter.logged(task.step(networks, batch, step, hands))
        step += 1


def _in_our_loop(task: Any, variant: Variant, meter: Meter) -> None:
    """Loading, transfer, precision, clipping, mean weights, logging."""
    torch.backends.cudnn.allow_tf32 = True  # as torch comes; the loop sets the rest
    loop.FIRST_CHECKPOINT_SECONDS = 1e9  # none is written while steps are timed
    own = task.step

    def step(networks: Any, batch: Any, number: int, hands: Any) -> Any:
        meter.begin()
        logged = own(networks, batch, number, hands)
        meter.logged(logged)
        return logged

    task.step = step
    plan = Plan(
        10 * meter.most, task.batch, clip=task.clip, ema={task.averaged: 0.999}, precision=variant.precision,
        accelerator="gpu" if meter.device.type == "cuda" else "cpu", channels_last=variant.channels_last,
        compile=variant.compile, validate_every=10**6, checkpoint_seconds=1e9,
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as folder:
            loop.train(task, plan, 0, Path(folder), Stop())
    finally:
        del task.step
