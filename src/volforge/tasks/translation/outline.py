"""Training of the shape extractor: a U-Net that finds the body in slices of the target, air in lungs included.

Source: Ge et al., ISBI 2019. Theirs saw images of 0 to 255 in batch statistics; here it sees what generators make, and
is used in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from volforge.tasks.translation.generator import make_generator
from volforge.tasks.translation.settings import TranslationSettings
from volforge.tasks.translation.slices import SliceSet
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.task import Batch, Hands, Task

MOST = 128
BATCH = 8


class OutlineTask(Task):
    """Teaches a network to find bodies.

    Args:
        settings: The model.
        seed: Of samples.
        targets: Slices with their body masks.
        augmentation: Of slices.
        settings_plain: What a checkpoint must agree with.
        judged: Slices of validation subjects; None: the last weights win.
    """

    def __init__(
        self,
        settings: TranslationSettings,
        seed: int,
        targets: SliceSet,
        augmentation: SliceAugmentation,
        settings_plain: Mapping[str, Any],
        judged: SliceSet | None = None,
    ):
        self.model, self.seed, self.settings = settings, seed, settings_plain
        self.targets, self.augmentation, self.judged = targets, augmentation, judged

    def networks(self) -> dict[str, nn.Module]:
        """The extractor."""
        return {"generator": make_generator(self.model)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """One Adam."""
        rate = float(self.model.training["rate"])
        return {"generator": (torch.optim.Adam(networks["generator"].parameters(), lr=rate), ["generator"])}

    def sample(self, index: int) -> Batch:
        """A slice with its body."""
        rng = np.random.default_rng([self.seed, index])
        item = self.targets.item(self.targets.draw(rng, "scans"))
        moved = self.augmentation(item, int(rng.integers(2**31)), self.targets.shows_sides)
        return {"image": moved["image"].float(), "body": moved["body"], "index": torch.tensor(index)}

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step of binary cross-entropy."""
        found = networks["generator"](batch["image"].float()).float()
        loss = functional.binary_cross_entropy_with_logits(found, batch["body"].float())
        hands.backward(loss)
        hands.update("generator")
        return {"cross_entropy": loss}

    @torch.no_grad()
    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Dice of the body over validation slices."""
        if self.judged is None:
            return {}
        network = networks["generator"]
        was = network.training
        network.eval()
        both = total = 0.0
        chosen = np.unique(np.linspace(0, len(self.judged) - 1, min(MOST, len(self.judged))).round().astype(int))
        for start in range(0, len(chosen), BATCH):
            items = [self.judged.item(int(k)) for k in chosen[start : start + BATCH]]
            image = torch.from_numpy(np.stack([i["image"] for i in items])).to(device)
            body = torch.from_numpy(np.stack([i["body"] for i in items])).to(device) > 0
            found = network(image) > 0
            both += float((found & body).sum())
            total += float(found.sum() + body.sum())
        network.train(was)
        dice = 2 * both / total if total else 1.0
        return {"score": dice, "dice": dice}
