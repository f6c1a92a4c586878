"""Training of label maps: structures, or where the joints are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from volforge import components
from volforge.errors import VolforgeError
from volforge.inference.model import make_network
from volforge.inference.model_settings import ModelSettings
from volforge.inference.windows import probabilities
from volforge.training.augment import Augmentation
from volforge.training.regions import Region, Regions
from volforge.training.task import Batch, Hands, Task


class SegmentationTask(Task):
    """One network that learns a label map.

    Args:
        settings: The model.
        seed: Of samples and augmentation.
        training, validation: Regions that it learns from, and those that choose the weights (or None).
        settings_plain: What a checkpoint must agree with.
    """

    def __init__(
        self,
        settings: ModelSettings,
        seed: int,
        training: Regions,
        validation: Regions | None,
        settings_plain: Mapping[str, Any],
    ):
        options = settings.training
        self.model, self.seed, self.settings = settings, seed, settings_plain
        self.training, self.validation = training, validation
        self.patch: tuple[int, ...] = tuple(options["patch"] or training.shape)
        self.loss = components.build("loss", settings.loss)
        self.needs_distance = bool(getattr(self.loss, "needs_distance", False))
        keys = ["image", "labels"] + (["distance"] if self.needs_distance else [])
        self.augmentation = Augmentation(options["augmentation"], self.patch, keys, options["flip"], seed)
        if settings.region is not None and any(p > n for p, n in zip(self.patch, training.shape, strict=True)):
            raise VolforgeError(
                f"the patch {list(self.patch)} is larger than the region {list(training.shape)}",
                f"model {settings.model}",
                "make the region larger or the patch smaller",
            )

    def check_patch(self) -> None:
        """Whether the network takes the patch; asked before anything is computed.

        Raises:
            VolforgeError: It does not.
        """
        with torch.device("meta"):
            self.networks()

    def networks(self) -> dict[str, nn.Module]:
        """The network, as the arm names it."""
        network = make_network(self.model)
        divisor = np.broadcast_to(getattr(network, "divisor", 1), 3)
        if not isinstance(network, nn.Module) or any(p % d for p, d in zip(self.patch, divisor, strict=True)):
            raise VolforgeError(
                f"the patch {list(self.patch)} is no multiple of {divisor.tolist()}",
                f"network '{self.model.network['name']}'",
                "set `training.patch` (or the region's size) accordingly",
            )
        return {"network": network}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """One optimiser."""
        options = self.model.training
        given = {"lr": options["rate"], "weight_decay": options["weight_decay"]}
        parameters = networks["network"].parameters()
        made: Optimizer
        if options["optimizer"] == "sgd":
            made = torch.optim.SGD(parameters, momentum=0.99, nesterov=True, **given)
        else:
            kind = torch.optim.AdamW if options["optimizer"] == "adamw" else torch.optim.Adam
            made = kind(parameters, **given)
        return {"network": (made, ["network"])}

    def sample(self, index: int) -> Batch:
        """A patch of a region, both drawn from (seed, index)."""
        rng = np.random.default_rng([self.seed, index])
        region = self.training.regions[int(rng.integers(len(self.training.regions)))]
        start = self._start(region, rng)
        size = np.array(self.augmentation.size)
        start = start - (size - np.array(self.patch)) // 2
        cut = self.training.cut(region, start, size.tolist(), self.needs_distance)
        batch = {k: torch.from_numpy(v) for k, v in cut.items()}
        return {**batch, "index": torch.tensor(index)}

    def _start(self, region: Region, rng: np.random.Generator) -> np.ndarray:
        """First voxel of a patch."""
        options = self.model.training
        patch = np.array(self.patch)
        first, extent = np.zeros(3, int), np.array(region.shape)
        if self.model.region is not None:
            jitter = self.model.region["jitter_mm"] / np.array(region.spacing)
            first = self.training.box_start(region, self.model.region["size"], rng.uniform(-jitter, jitter))
            extent = np.array(self.model.region["size"])
        room = extent - patch
        if options["patches"] == "grid":
            return np.asarray(first + np.where(rng.random(3) < 0.5, 0, room))
        start = first + rng.integers(np.minimum(0, room), np.maximum(0, room) + 1)
        if rng.random() < options["foreground"]:
            places = region.places[int(rng.integers(len(region.places)))]
            centred = places[int(rng.integers(len(places)))] - patch // 2
            start = np.clip(centred, first + np.minimum(0, room), first + np.maximum(0, room))
        return np.asarray(start)

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step of loss and optimiser."""
        with torch.no_grad():
            batch = self.augmentation(batch)
            labels = batch["labels"][:, 0].long()
            image = batch["image"].float()
            if self.model.training["channels_last"]:
                image = image.to(memory_format=torch.channels_last_3d)
        found = networks["network"](image)
        loss = self.supervised(found if isinstance(found, list) else [found], labels, batch.get("distance"), hands)
        hands.backward(loss)
        hands.update("network")
        return {"loss": loss}

    def supervised(self, found: Sequence[Tensor], labels: Tensor, distance: Tensor | None, hands: Hands) -> Tensor:
        """Loss over the resolutions that a network gives, each lower one with half the weight of the one above."""
        self.loss.to(labels.device)
        weights = np.array([0.5**k for k in range(len(found))])
        weights = weights / weights.sum()
        total = torch.zeros((), device=labels.device)
        for logits, weight in zip(found, weights.tolist(), strict=True):
            here, far = labels, distance
            if logits.shape[2:] != labels.shape[1:]:
                here = functional.interpolate(labels[:, None].float(), size=logits.shape[2:])[:, 0].long()
                far = functional.interpolate(distance, size=logits.shape[2:]) if distance is not None else None
            total = total + weight * self.loss(logits.float(), here, far, hands.progress)
        return total

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Mean Dice of the inner validation's regions."""
        if self.validation is None:
            return {}
        chosen = self.validation.regions[: self.model.training["validation_cases"]]
        per_class: dict[int, list[float]] = {}
        for region in chosen:
            size = self.model.region["size"] if self.model.region is not None else region.shape
            start = self.validation.box_start(region, size) if region.centre is not None else np.zeros(3, int)
            cut = self.validation.cut(region, start, size)
            image = torch.from_numpy(cut["image"])[None].to(device)
            precision = self.model.training["precision"]
            found = probabilities(networks["network"], image, self.patch, overlap=0.25, precision=precision)
            predicted = found.argmax(dim=1)
            labels = torch.from_numpy(cut["labels"]).to(device).long()
            for k, value in dice_by_class(predicted, labels, self.model.channels).items():
                per_class.setdefault(k, []).append(value)
        means = {k: float(np.mean(v)) for k, v in sorted(per_class.items())}
        if not means:
            return {}
        names = {k + 1: c.structure + (f"_{c.side}" if c.side else "") for k, c in enumerate(self.model.classes)}
        shown = {} if self.model.kind == "localiser" else {f"dice_{names[k]}": v for k, v in means.items()}
        return {"score": float(np.mean(list(means.values()))), **shown}


def dice_by_class(predicted: Tensor, labels: Tensor, classes: int) -> dict[int, float]:
    """Dice of each class that the labels hold, from one count of pairs."""
    pairs = torch.bincount((labels * classes + predicted).flatten(), minlength=classes**2).reshape(classes, classes)
    total, both = pairs.sum(dim=0) + pairs.sum(dim=1), pairs.diagonal()
    return {k: float(2 * both[k] / total[k]) for k in range(1, classes) if pairs[k].sum() > 0}
