"""Training of implants: one network that fills the hole, or completes the skull; with a discriminator, or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from volforge import components
from volforge.errors import VolforgeError
from volforge.tasks.implant.apply import Answer, make_network
from volforge.tasks.implant.judge import Judge
from volforge.tasks.implant.progress import Progress
from volforge.tasks.implant.samples import Samples
from volforge.tasks.implant.settings import ImplantSettings
from volforge.training.task import Batch, Hands, Task


class ImplantTask(Task):
    """Teaches a network of implants.

    Args:
        settings: The model.
        samples: What it is shown.
        settings_plain: What a checkpoint must agree with.
        judge: Measures of a network on validation skulls, `score` among them; None: the last weights win.
        coarse: The coarse model's answer, for windows with its channel.
        progress: Keeps pictures of the validations, or None.
    """

    def __init__(
        self,
        settings: ImplantSettings,
        samples: Samples,
        settings_plain: Mapping[str, Any],
        judge: Judge | None = None,
        coarse: Answer | None = None,
        progress: Progress | None = None,
    ):
        self.model, self.samples, self.settings = settings, samples, settings_plain
        self.judge, self.coarse, self.progress = judge, coarse, progress
        self.made = 0  # steps
        self.loss = samples.loss
        self.adversary: Mapping[str, Any] | None = settings.implant["adversary"]
        self.of_values = str(settings.loss["name"]).startswith("value_")

    def check(self) -> None:
        """Whether network, loss and grid fit together; asked before anything is computed.

        Raises:
            VolforgeError: They do not.
        """
        with torch.device("meta"):
            network = self.networks()["network"]
            image = torch.zeros((int(self.model.training["batch"]), self.model.channels, *self.model.patch))
            try:
                found = network(image)
            except ValueError as error:
                raise VolforgeError(
                    str(error), f"network '{self.model.network['name']}' of {self.model.place}", "change grid or patch"
                ) from error
        given = (found[0] if isinstance(found, list) else found).shape[1]
        if self.of_values != (given == 1):
            kinds = ("values", "`value_...`") if given == 1 else ("logits", "such as `dice_ce`")
            text = f"the network gives {kinds[0]}, which the loss '{self.model.loss['name']}' does not read"
            raise VolforgeError(text, self.model.place, f"use a loss of {kinds[0]}, {kinds[1]}")

    def networks(self) -> dict[str, nn.Module]:
        """The network, and the discriminator where there is one."""
        made = {"network": make_network(self.model)}
        if self.adversary is not None:
            spec = self.adversary["network"]
            made["discriminator"] = components.build("network", spec, channels=1, size=list(self.model.patch))
        return made

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """One optimiser each, of the same kind and rate."""
        options = self.model.training
        found: dict[str, tuple[Optimizer, list[str]]] = {}
        for name, network in networks.items():
            given = {"lr": options["rate"], "weight_decay": options["weight_decay"]}
            made: Optimizer
            if options["optimizer"] == "sgd":
                made = torch.optim.SGD(network.parameters(), momentum=0.99, nesterov=True, **given)
            else:
                kind = torch.optim.AdamW if options["optimizer"] == "adamw" else torch.optim.Adam
                made = kind(network.parameters(), betas=(self.model.implant["beta1"], 0.999), **given)
            found[name] = (made, [name])
        return found

    def sample(self, index: int) -> Batch:
        """Sample of this number."""
        found = self.samples.sample(index)
        return {**{k: torch.from_numpy(v) for k, v in found.items()}, "index": torch.tensor(index)}

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step; with a discriminator, one of it on true implants, one on answers, and one of the network."""
        self.made = step + 1
        with torch.no_grad():
            batch = self._filled(batch, hands.device)
            image = batch["image"].float()
            if self.model.training["channels_last"]:
                image = image.to(memory_format=torch.channels_last_3d)
        logged: dict[str, Tensor] = {}
        if self.adversary is not None:
            logged |= discriminator_steps(networks, image, batch["target"].float(), hands)
        found = networks["network"](image)
        every = found if isinstance(found, list) else [found]
        loss = self._supervised(every, batch, hands)
        logged["loss"] = loss
        if self.adversary is not None:
            judge, weight = networks["discriminator"], float(self.adversary["weight"])
            judge.eval()  # as its layers are in the published network of both, whose weights do not move
            judge.requires_grad_(False)
            score = judge(found).float()
            logged["adversarial"] = functional.binary_cross_entropy_with_logits(score, torch.ones_like(score))
            loss = (1 - weight) * loss + weight * logged["adversarial"]
            hands.backward(loss)
            judge.requires_grad_(True)
            judge.train()
        else:
            hands.backward(loss)
        hands.update("network")
        return logged

    def _filled(self, batch: Batch, device: torch.device) -> Batch:
        """The batch with the coarse model's channel in its place, and flipped where that is said."""
        if "flipped" not in batch:
            return batch
        image = batch["image"].float().clone()
        if self.coarse is not None and "whole" in batch:
            p = self.coarse(batch["whole"].float())
            grid = functional.affine_grid(batch["place"].float(), list(image[:, :1].shape), align_corners=False)
            k = 1 + self.model.wants.index("coarse")
            image[:, k : k + 1] = functional.grid_sample(p, grid, align_corners=False)
        found = {**batch, "image": image}
        for name in ("image", "target", "distance"):
            if name in found:
                where = batch["flipped"].reshape(-1, 1, 1, 1, 1)
                found[name] = torch.where(where, found[name].flip(2), found[name])
        return found

    def _supervised(self, every: list[Tensor], batch: Batch, hands: Hands) -> Tensor:
        """Loss over the resolutions that a network gives, each lower one with half the weight of the one above."""
        target, far = batch["target"].float(), batch.get("distance")
        total, weights = torch.zeros((), device=target.device), [0.5**k for k in range(len(every))]
        for found, weight in zip(every, weights, strict=True):
            here, there = target, far
            if found.shape[2:] != target.shape[2:]:
                here = functional.interpolate(target, size=found.shape[2:])
                there = functional.interpolate(far, size=found.shape[2:]) if far is not None else None
            wanted = here if self.of_values else here[:, 0].long()
            total = total + weight / sum(weights) * self.loss(found.float(), wanted, there, hands.progress)
        return total

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Mean Dice of implants of the inner validation's skulls, on the grid that the network sees."""
        if self.judge is None:
            return {}
        found = self.judge(networks["network"], device)
        if self.progress is not None and self.judge.first is not None:
            self.progress.keep(self.made, *self.judge.first)
        return found


def discriminator_steps(
    networks: Mapping[str, nn.Module], image: Tensor, target: Tensor, hands: Hands
) -> dict[str, Tensor]:
    """Two steps of the discriminator, as published: true volumes are 1, answers of the network in inference are 0."""
    network, judge = networks["network"], networks["discriminator"]
    network.eval()
    with torch.no_grad():
        fake = network(image).float()
    network.train()
    found = {}
    for name, volume, wanted in (("true", target, 1.0), ("fake", fake, 0.0)):
        score = judge(volume).float()
        loss = functional.binary_cross_entropy_with_logits(score, torch.full_like(score, wanted))
        hands.backward(loss)
        hands.update("discriminator")
        found[f"discriminator_{name}"] = loss
    return found
