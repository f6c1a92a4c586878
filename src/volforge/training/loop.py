"""The step loop of all trainings, on Lightning Fabric: counted in steps, resumed exactly, stopped at any of them.

The loop is ours because Lightning's Trainer was seen not to resume exactly; devices, precision and DDP are Fabric's.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from volforge.errors import VolforgeError
from volforge.training.attempt import note_step
from volforge.training.checkpoint import LAST, best_name, read_checkpoint, write_checkpoint
from volforge.training.ema import Ema
from volforge.training.one_scale import OneScale
from volforge.training.progress import Progress
from volforge.training.schedule import factor
from volforge.training.start import Start, begin_with, read_start
from volforge.training.state import State, seed_of_rank
from volforge.training.stop import Stop
from volforge.training.task import Batch, Plan, Task

FIRST_CHECKPOINT_SECONDS = 10.0


@dataclass
class Trained:
    """What a training leaves.

    Attributes:
        weights: State of every network: the best by validation, or the last.
        history: One row per validation and logged step: `step` and measures.
        step, steps: The step that the weights are of, and the steps that were made.
        score: Validation measures at that step.
        stopped: Why it ended early, else empty; then it is not finished.
        seconds: Time of this process, with validation.
        peak_memory_gib: Of the device, or of the process on CPU.
        device: In words.
        is_first_rank: Whether this process is the one that writes.
        began: `started_from` where it began with weights of another model, for model.json; else empty.
    """

    weights: dict[str, dict[str, Tensor]]
    history: list[dict[str, float]]
    step: int
    steps: int
    score: dict[str, float]
    stopped: str
    seconds: float
    peak_memory_gib: float
    device: str
    is_first_rank: bool
    began: Mapping[str, Any] = field(default_factory=dict)


class _Samples(Dataset[Batch]):
    def __init__(self, task: Task):
        self.task = task

    def __getitem__(self, index: int) -> Batch:
        return self.task.sample(index)


class _Hands:
    def __init__(self, fabric: Fabric, plan: Plan, optimizers: Mapping[str, tuple[Any, list[Any]]]):
        self.fabric, self.plan, self.optimizers = fabric, plan, optimizers
        self.device = fabric.device
        self.progress = 0.0
        self.rank = fabric.global_rank
        # DDP joins gradients on the way back, once for every pass of a network, of all weights. Networks that judge
        # each other are passed several times, some frozen, and a gradient penalty reaches some weights only: their
        # gradients are joined when the weights are moved.
        self.joins = fabric.world_size > 1 and len(optimizers) > 1
        self.updated: set[str] = set()

    @contextmanager
    def apart(self, networks: Mapping[str, Any]) -> Iterator[None]:
        """A step in which DDP joins nothing, where `update` does."""
        with ExitStack() as stack:
            for network in networks.values() if self.joins else ():
                stack.enter_context(self.fabric.no_backward_sync(network))
            yield

    def backward(self, loss: Tensor) -> None:
        self.fabric.backward(loss)

    def bare(self, network: Any) -> nn.Module:
        own: nn.Module = network.module
        return own

    def update(self, name: str) -> None:
        optimizer, modules = self.optimizers[name]
        if name in self.updated:  # a scale serves one update of an optimiser; what it found must be taken up first
            self.moved()
        self.updated.add(name)
        if self.joins:
            self._join([p.grad for m in modules for p in m.parameters() if p.grad is not None])
        if self.plan.clip:
            for module in modules:
                self.fabric.clip_gradients(module, optimizer, max_norm=self.plan.clip, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def moved(self) -> None:
        """The step is over: the scale of 16-bit losses may change."""
        self.updated.clear()
        precision = self.fabric.strategy.precision
        if isinstance(precision, OneScale):
            precision.step_done()

    def _join(self, gradients: list[Tensor]) -> None:
        """Put the mean over all processes into gradients, by one message."""
        joined = self.fabric.all_reduce(torch.cat([g.reshape(-1) for g in gradients]), reduce_op="mean")
        assert isinstance(joined, Tensor)
        for gradient, part in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def train(
    task: Task,
    plan: Plan,
    seed: int,
    folder: Path,
    stop: Stop,
    resume: Path | None = None,
    start: Path | None = None,
) -> Trained:
    """Train, or go on where a checkpoint of the same settings in `folder` stands.

    Args:
        task: What is trained.
        plan: How long and on what.
        seed: Of weights, samples and everything that is drawn.
        folder: Folder of checkpoints, `last.pt` and `best-<step>.pt`.
        stop: Asked after every step.
        resume: A checkpoint to go on from instead.
        start: Folder of a trained model whose weights the first network of the task begins with.

    Raises:
        VolforgeError: The checkpoint or the start does not fit; no device; the loss is not finite.
    """
    began = time.monotonic()
    origin = read_start(start) if start is not None else None
    done = _train(task, plan, seed, folder, stop, resume, origin, began)
    return done if origin is None else replace(done, began={"started_from": origin.record})


def _train(
    task: Task,
    plan: Plan,
    seed: int,
    folder: Path,
    stop: Stop,
    resume: Path | None,
    start: Start | None,
    began: float,
) -> Trained:
    fabric = _fabric(plan)
    torch.manual_seed(seed)
    made = task.networks()
    if start is not None:
        begin_with(start, next(iter(made.values())))
    if plan.channels_last:
        for network in made.values():
            is_volume = any(p.dim() == 5 for p in network.parameters())
            layout = torch.channels_last_3d if is_volume else torch.channels_last
            network.to(memory_format=layout)  # type: ignore[call-overload]
    own = task.optimizers(made)
    rates = {name: [g["lr"] for g in optimizer.param_groups] for name, (optimizer, _) in own.items()}
    of_network = {n: name for name, (_, networks) in own.items() for n in networks}
    networks: dict[str, Any] = {}
    optimizers: dict[str, Any] = {name: (fabric.setup_optimizers(o), []) for name, (o, _) in own.items()}
    for name, network in made.items():
        module = torch.compile(network) if plan.compile else network
        networks[name] = fabric.setup_module(module)  # type: ignore[arg-type]
        for method in getattr(network, "forward_methods", ()):
            networks[name].mark_forward_method(method)
        if name in of_network:
            optimizers[of_network[name]][1].append(networks[name])
    emas = {name: Ema(made[name], decay) for name, decay in plan.ema.items() if decay}
    state = State(plan.which, plan.tolerance)
    settings = json.loads(json.dumps(task.settings))
    found = _checkpoint(folder, resume, settings, fabric)
    if found is not None:
        state.load(found, task, made, optimizers, emas, fabric)
        print(f"going on from step {state.step}", file=sys.stderr)
        state.restore_rng(fabric)
    else:
        torch.manual_seed(seed_of_rank(seed, fabric.global_rank))
    hands = _Hands(fabric, plan, optimizers)
    keep = _Keeper(folder, plan, began)
    say = Progress(plan, state.step, fabric.is_global_zero, folder / "tensorboard")
    for batch in [] if state.is_last(plan) else _batches(task, plan, state.step, fabric):
        step = state.step
        for name, (optimizer, _) in optimizers.items():
            scale = factor(plan.schedule, step, plan.steps, plan.warmup, plan.step_every)
            for group, rate in zip(optimizer.param_groups, rates[name], strict=True):
                group["lr"] = rate * scale
        hands.progress = step / plan.steps
        with hands.apart(networks):
            logged = task.step(networks, fabric.to_device(batch), step, hands)
        hands.moved()
        for ema_name, ema in emas.items():
            ema.update(made[ema_name])
        state.step = step + 1
        state.add(logged)
        say.step(state)
        if state.step % plan.validate_every == 0 or state.step == plan.steps:
            state.validated(task, networks, made, emas, fabric, folder, settings)
            say.validated(state)
        is_last = state.is_last(plan)
        asked, due = _anyone(stop.asked(), fabric), _anyone(keep.due(), fabric)  # clocks of processes differ
        if asked or is_last or due:
            content = state.save(task, made, optimizers, emas, fabric, settings)
            if fabric.is_global_zero:
                write_checkpoint(folder / LAST, content)
                note_step(folder, state.step)
                state.tidy(folder)
            keep.kept()
        if asked and not is_last:
            return _result(state, {}, stop.reason or "another process was told to", began, fabric)
        if is_last:
            break
    return _result(state, state.chosen(made, emas, folder), "", began, fabric)


def _checkpoint(folder: Path, resume: Path | None, settings: dict[str, Any], fabric: Fabric) -> dict[str, Any] | None:
    """The checkpoint to go on from. One of other settings, data or code is refused if it was asked for by name, else
    set aside: the training starts afresh."""
    if resume is not None:
        found = read_checkpoint(resume, settings)
        if fabric.is_global_zero and found["best_step"] and resume.parent != folder:
            folder.mkdir(parents=True, exist_ok=True)
            name = best_name(found["best_step"])
            shutil.copyfile(resume.parent / name, folder / name)
        return found
    if not (folder / LAST).exists():
        return None
    try:
        return read_checkpoint(folder / LAST, settings)
    except VolforgeError as error:
        fabric.barrier()  # all have read it
        if fabric.is_global_zero:
            print(f"the checkpoint is set aside, the training starts afresh: {error.message}", file=sys.stderr)
            (folder / LAST).replace(folder / "other.pt")
            note_step(folder, 0)
        fabric.barrier()
        return None


def _fabric(plan: Plan) -> Fabric:
    if plan.accelerator == "gpu" and not torch.cuda.is_available():
        raise VolforgeError(
            "no GPU is visible to this process",
            "training.accelerator",
            "run it on a GPU node, or set `cpu`",
            may_pass=True,  # of a cluster, one node's driver may be at fault
        )
    torch.set_num_threads(plan.threads)
    if plan.accelerator == "cpu":
        torch.use_deterministic_algorithms(True)
    else:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    # on CPU Fabric takes bfloat16 instead, which needs no scale, and says so
    scaled = [OneScale("cuda")] if plan.precision == "16-mixed" and plan.accelerator == "gpu" else []
    fabric = Fabric(
        accelerator="cuda" if plan.accelerator == "gpu" else "cpu",
        devices=plan.devices,
        precision=None if scaled else plan.precision,  # type: ignore[arg-type]
        strategy="ddp" if plan.devices > 1 else "auto",
        # one job, one node: Fabric starts the other processes itself, inside a SLURM job too
        plugins=[LightningEnvironment(), *scaled],
    )
    fabric.launch()
    torch.set_num_threads(plan.threads)
    return fabric


def _batches(task: Task, plan: Plan, first: int, fabric: Fabric) -> Iterator[Batch]:
    """Batches from a step on; sample k of step s on rank r is (s * batch + k) * ranks + r, whoever loads it."""
    ranks, rank = fabric.world_size, fabric.global_rank
    numbers = [[(s * plan.batch + k) * ranks + rank for k in range(plan.batch)] for s in range(first, plan.steps)]
    loader: DataLoader[Batch] = DataLoader(
        _Samples(task),
        batch_sampler=numbers,
        collate_fn=task.collate,
        num_workers=plan.workers,
        pin_memory=plan.accelerator == "gpu",
        persistent_workers=False,
        prefetch_factor=4 if plan.workers else None,
        generator=torch.Generator().manual_seed(0),  # else it draws from the generator that the training draws from
    )
    return iter(loader)


def _anyone(asked: bool, fabric: Fabric) -> bool:
    if fabric.world_size == 1:
        return asked
    return bool(fabric.strategy.reduce_boolean_decision(asked, all=False))


def _result(state: State, weights: dict[str, dict[str, Tensor]], stopped: str, began: float, fabric: Fabric) -> Trained:
    import resource

    if fabric.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(fabric.device) / 2**30
        device = f"{fabric.world_size} x {torch.cuda.get_device_name(fabric.device)}"
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        device = "CPU"
    seconds = state.seconds_before + time.monotonic() - began
    step = state.best_step if weights and state.best_step else state.step
    return Trained(
        weights, state.history, step, state.step, state.best, stopped, seconds, peak, device, fabric.is_global_zero
    )


class _Keeper:
    """When a checkpoint is due: soon after the start, then at even times."""

    def __init__(self, folder: Path, plan: Plan, began: float):
        self.every = plan.checkpoint_seconds
        self.next = began + min(FIRST_CHECKPOINT_SECONDS, self.every)

    def due(self) -> bool:
        return time.monotonic() >= self.next

    def kept(self) -> None:
        self.next = time.monotonic() + self.every
