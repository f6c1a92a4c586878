"""What the loop asks of a kind of training, and the plan that it runs by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import default_collate

Batch = dict[str, Tensor]


class Hands(Protocol):
    """What a step may do to networks: backward and update, with precision, clipping and rate taken care of.

    Attributes:
        device: Where the step runs.
        progress: Share of the plan's steps that are done.
        rank: Number of this process; what a step draws for its own part of a batch depends on it.
    """

    device: torch.device
    progress: float
    rank: int

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss."""

    def bare(self, network: nn.Module) -> nn.Module:
        """The network itself: in 32 bit whatever the precision, and a gradient may be taken within the step."""
        ...

    def update(self, name: str) -> None:
        """One step of the optimiser of this name; its gradients are then cleared.

        Where one is asked for twice in a step of the training, the scale of 16-bit losses may change in between: no
        other network may have gradients then.
        """


class Task(Protocol):
    """What a kind of training says of itself. `settings` are all values that its result depends on.

    A class that inherits from this one has no state of its own, and its samples become a batch as torch stacks them;
    it says otherwise by `extra_state` with `load_extra`, and by `collate`.
    """

    settings: Mapping[str, Any]

    def networks(self) -> dict[str, nn.Module]:
        """The networks, made with the seed that is set; first the one whose weights are the model's."""

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """Optimisers by name, each with the networks that it moves."""

    def sample(self, index: int) -> Batch:
        """Sample of this number; depends on (seed, index) alone."""

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step; returns what is logged."""

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Measures of the inner validation; `score` chooses the weights, the larger the better. Empty: none."""

    def collate(self, samples: Sequence[Batch]) -> Batch:
        """Samples as the batch of a step; also called in loader processes."""
        found: Batch = default_collate(list(samples))
        return found

    def extra_state(self) -> Mapping[str, Any]:
        """What the task remembers from step to step beside networks and optimisers: a pool of fakes, say.

        Tensors, numbers, texts, and lists and dicts of them, as `torch.load(weights_only=True)` takes them; on any
        device, of any size (a view is kept with all that it is a view of: clone it). Each of several processes is
        asked for its own, and gets its own back.
        """
        return {}

    def load_extra(self, state: Mapping[str, Any]) -> None:
        """Take up what `extra_state` gave when the checkpoint was kept, its tensors on the CPU; before the first step.

        Not called where the training begins, or goes on from a checkpoint of a version that kept none.

        Raises:
            TypeError: There is some, and this class does not say how it is taken up.
        """
        if state:
            raise TypeError(f"{type(self).__name__} has extra_state, and no load_extra")


@dataclass(frozen=True)
class Plan:
    """How long and on what a training runs.

    Attributes:
        steps, batch: Steps, and samples per step and device.
        schedule, step_every, warmup: Of the learning rate.
        clip: Largest gradient norm; 0: no limit.
        ema: Decay of mean weights by network; networks that are not named have none.
        precision, accelerator, devices: As Fabric has them.
        channels_last, compile, threads: Of networks; threads on CPU.
        which: Weights that are kept: `best` by validation, `latest`, or those of a step that is validated.
        validate_every, patience: Steps between validations; validations without gain that end it, 0: never.
        tolerance: What a score must gain to be better, in its own unit.
        workers: Loader processes.
        checkpoint_seconds: Time between checkpoints.
    """

    steps: int
    batch: int
    schedule: str = "constant"
    step_every: int = 1
    warmup: int = 0
    clip: float = 0.0
    ema: Mapping[str, float] = field(default_factory=dict)
    precision: str = "32-true"
    accelerator: str = "cpu"
    devices: int = 1
    channels_last: bool = False
    compile: bool = False
    threads: int = 1
    validate_every: int = 250
    patience: int = 0
    tolerance: float = 0.0
    which: str | int = "best"
    workers: int = 0
    checkpoint_seconds: float = 120.0

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any],
        network: str,
        workers: int,
        checkpoint_seconds: float,
        without: Sequence[str] = (),
    ) -> Plan:
        """Of the settings `training` of a model.

        Args:
            options: As in the configuration.
            network: The one whose weights have a mean.
            workers: Loader processes.
            checkpoint_seconds: Time between checkpoints.
            without: Keys that this training does not follow.
        """
        same = (
            "steps", "batch", "schedule", "step_every", "warmup", "clip", "precision", "accelerator", "devices",
            "channels_last", "compile", "threads", "validate_every", "patience", "tolerance", "which",
        )  # fmt: skip
        read = {key: options[key] for key in same if key not in without}
        return cls(**read, ema={network: options["ema"]}, workers=workers, checkpoint_seconds=checkpoint_seconds)
