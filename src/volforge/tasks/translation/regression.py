"""Training of translation by images whose answer is known: MR painted from CT, or registered pairs.

A painted MR has the CT that it was painted from as its answer, so that no MR is read and no discriminator is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from volforge import components
from volforge.losses.bone import bone_loss
from volforge.losses.least_squares import discriminator_loss, generator_loss
from volforge.losses.masked import inside
from volforge.tasks.translation.generator import begin, make_generator
from volforge.tasks.translation.painting.arms import with_arms
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.paint import paint
from volforge.tasks.translation.painting.warp import warped
from volforge.tasks.translation.settings import TranslationSettings
from volforge.tasks.translation.slices import SliceSet
from volforge.tasks.translation.unpaired import BETA2, Judge
from volforge.training.frozen import frozen
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.task import Batch, Hands, Task
from volforge.volume.geometry import Array

SECOND_STAGE = 2 / 3  # of the steps, before real MR is shown for its consistency


class RegressionTask(Task):
    """Teaches a generator by images whose answer is known.

    Args:
        settings: The model, of the method `painted` or `paired`.
        seed: Of samples and painting.
        targets: CT that MR is painted from; None with `paired`.
        pairs: Sources with their targets; with `painted`, the few that are shown too.
        sources: Real MR without an answer, for consistency.
        augmentation: Of pairs and of real MR.
        settings_plain: What a checkpoint must agree with.
        start: State of the generator that the training starts from.
        judge: Measures of a generator, `score` among them; None: the last weights win.
    """

    def __init__(
        self,
        settings: TranslationSettings,
        seed: int,
        targets: SliceSet | None,
        pairs: SliceSet | None,
        sources: SliceSet | None,
        augmentation: SliceAugmentation,
        settings_plain: Mapping[str, Any],
        start: Mapping[str, Tensor] | None = None,
        judge: Judge | None = None,
    ):
        self.model, self.seed, self.settings = settings, seed, settings_plain
        self.targets, self.pairs, self.sources = targets, pairs, sources
        self.augmentation, self.start, self.judge = augmentation, start, judge
        self.own = settings.translation
        self.painter = Painter(settings) if targets is not None else None
        shown = targets if targets is not None else pairs
        assert shown is not None
        self.pixel_mm = shown.pixel_mm

    @property
    def has_judge(self) -> bool:
        """Whether a discriminator of pairs has a say (pix2pix)."""
        is_paired = self.model.method == "paired"
        return is_paired and self.own["discriminator"] is not None and bool(self.own["adversarial"])

    def networks(self) -> dict[str, nn.Module]:
        """`generator`, and `judge` where there is a discriminator."""
        made = {"generator": begin(make_generator(self.model), self.start)}
        if self.has_judge:
            spec = self.own["discriminator"]
            made["judge"] = components.build("network", spec, channels=self.model.channels + 1)
        return made

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """One Adam each."""
        rate, beta = float(self.model.training["rate"]), float(self.own["beta1"])
        return {
            name: (torch.optim.Adam(network.parameters(), lr=rate, betas=(beta, BETA2)), [name])
            for name, network in networks.items()
        }

    def sample(self, index: int) -> Batch:
        """An image with its answer; with consistency a real MR too.

        With both painted images and pairs, every second sample is a pair.
        """
        rng = np.random.default_rng([self.seed, index])
        is_pair = self.pairs is not None and (self.painter is None or index % 2 == 1)
        found = self._pair(rng) if is_pair else self._painted(rng)
        if self.sources is not None:
            item = self.sources.item(self.sources.draw(rng, self.own["draw"]))
            middle = self.model.context
            given = {"image": item["image"], "body": item["body"][middle : middle + 1]}
            moved = self.augmentation(given, int(rng.integers(2**31)), self.sources.shows_sides)
            found |= {"real": moved["image"].float(), "real_body": moved["body"].float()}
        return {**found, "index": torch.tensor(index)}

    def _pair(self, rng: np.random.Generator) -> Batch:
        assert self.pairs is not None
        item = self.pairs.item(self.pairs.draw(rng, self.own["draw"]))
        middle = self.model.context
        images = np.concatenate([item["image"], item["target"]])
        given = {"image": images, "body": item["body"][middle : middle + 1]}
        moved = self.augmentation(given, int(rng.integers(2**31)), self.pairs.shows_sides)
        image = moved["image"].float()
        return {"image": image[:-1], "target": image[-1:], "body": moved["body"].float()}

    def _painted(self, rng: np.random.Generator) -> Batch:
        assert self.targets is not None
        assert self.painter is not None
        k = self.targets.draw(rng, self.own["draw"])
        found = self.painter(self.targets, k, rng, moved=self.model.training["augmentation"] != "none")
        return {name: torch.from_numpy(v) for name, v in found.items()}

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step; with a discriminator one of it too."""
        x, y, body = batch["image"].float(), batch["target"].float(), batch["body"].float()
        own, generator = self.own, networks["generator"]
        made = generator(x).float()
        deep = inside(body, self.pixel_mm) if own["edges"] else None
        loss = bone_loss(made, y, self.model.window, float(own["bone"]), float(own["edges"]), deep)
        logged, total = {"l1": loss}, loss
        if self.has_judge:
            with frozen([networks["judge"]]):
                logged["adversarial"] = generator_loss(networks["judge"](torch.cat([x, made], dim=1)))
                total = total + float(own["adversarial"]) * logged["adversarial"]
        if self.sources is not None and hands.progress >= SECOND_STAGE:
            logged["consistency"] = self._consistency(generator, batch, step, hands.rank)
            total = total + float(own["consistency"]) * logged["consistency"]
        hands.backward(total)
        hands.update("generator")
        if self.has_judge:
            of_fake = networks["judge"](torch.cat([x, made.detach()], dim=1))
            logged["judge"] = discriminator_loss(of_fake, networks["judge"](torch.cat([x, y], dim=1)))
            hands.backward(logged["judge"])
            hands.update("judge")
        return logged

    def _consistency(self, generator: nn.Module, batch: Batch, step: int, rank: int) -> Tensor:
        """What two sights of one real MR differ by: mirrored, and in another contrast."""
        x, body = batch["real"].float(), batch["real_body"].float()
        rng = np.random.default_rng([self.seed, step, rank, 13])
        share = (x + 1) / 2
        gamma = float(np.exp(rng.uniform(-0.4, 0.4)))
        other = (share.clamp(min=0) ** gamma * float(rng.uniform(0.85, 1.0))) * 2 - 1
        sees_sides = self.sources is not None and self.sources.shows_sides
        other = other.flip(-1) if sees_sides else other
        with torch.no_grad():
            first = generator(x).float()
        second = generator(other).float()
        second = second.flip(-1) if sees_sides else second
        return ((first - second).abs() * body).sum() / body.sum().clamp(min=1)

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """What the judge says."""
        return {} if self.judge is None else self.judge(networks["generator"], device)


class Painter:
    """Paints MR from slices of a set, as the network is to see them.

    Args:
        settings: The model.
    """

    def __init__(self, settings: TranslationSettings):
        self.model = settings
        given = dict(settings.translation["painting"])
        self.from_labels = bool(given.pop("from_labels"))
        window = settings.recipe_settings["mr_window"]
        self.options = Painting(**given, window=(float(window["low"]), float(window["high"])))

    def __call__(self, targets: SliceSet, k: int, rng: np.random.Generator, *, moved: bool = True) -> dict[str, Array]:
        """Slice k of a set: `image` (channels, H, W), `target` and `body` (1, H, W), float32.

        Args:
            targets: CT with as many neighbours as the model sees.
            k: Which.
            rng: Decides everything that is drawn.
            moved: Turned, scaled, shifted, bent and mirrored at random.
        """
        item = targets.item(k)
        low, high = self.model.window
        lengths = {"pixel_mm": targets.pixel_mm, "between_mm": targets.between_of(k)}
        labels = {"labels": item["labels"]} if self.from_labels and "labels" in item else {}
        hu: Array = (item["image"] + 1) / 2 * np.float32(high - low) + np.float32(low)
        body: Array = item["body"] > 0
        if self.model.view == "axial" and not labels:  # arms lie beside a trunk in axial slices, and have no label
            hu, body = with_arms(hu, body, rng, options=self.options, **lengths)
        slab = {"hu": hu.astype(np.float32), "body": body} | labels
        if moved:
            flips = targets.shows_sides and "x" in self.model.training["flip"]
            options = replace(self.options, flip=flips)
            slab = warped(slab, rng, options=options, pixel_mm=targets.pixel_mm, air=low)
        hu, body, middle = slab["hu"], slab["body"], self.model.context
        contrasts, labels_of = 1 + len(self.model.also), slab.get("labels")
        painted = paint(hu, body, rng, options=self.options, labels=labels_of, contrasts=contrasts, **lengths)
        here = body[middle : middle + 1]
        unit = (hu[middle : middle + 1] - np.float32(low)) * np.float32(2 / (high - low)) - 1
        target = np.where(here, unit, np.float32(-1)).astype(np.float32)
        return {"image": painted, "target": target, "body": here.astype(np.float32)}
