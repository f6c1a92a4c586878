"""Training of semantic synthesis: a generator that paints label maps, a segmenter, and a discriminator.

Source: OASIS (Schoenfeld et al., ICLR 2021) where labels and images are pairs; USIS (Eskandar et al., Computers &
Graphics 2023) where they are of different patients: the segmenter then learns with the generator to read its images,
and a discriminator of whole images alone sees real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from volforge import components
from volforge.losses.adversarial import discriminator_loss, generator_loss, gradient_penalty
from volforge.losses.moments import moments_loss, variety_loss
from volforge.losses.outline import OutlineLoss
from volforge.losses.semantic import (
    balanced_cross_entropy,
    class_weights,
    fake_cross_entropy,
    label_mask,
    label_mix_loss,
)
from volforge.networks.spectral import settle_spectral_norms
from volforge.training.frozen import frozen
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.slices import Slices
from volforge.training.task import Batch, Hands, Task

BETAS = (0.0, 0.999)
REFRESH_BATCHES = 50
VARIETY_EVERY = 4  # steps between two that paint every map twice; what they find counts for those between


@dataclass(frozen=True)
class SynthesisPlan:
    """How a generator is taught.

    Attributes:
        mode: `unpaired`, `paired`, or `semi` (unpaired, and some pairs).
        classes: Classes of label maps, background included.
        generator, segmenter, discriminator: Name and keywords; no discriminator: None (`paired` only).
        segment, adversarial, outline, label_mix, match, moments, variety: Weights of the losses; `match` is that of
            `semi`, `moments` of pairs.
        penalty, penalty_every: R1 and how often; it is weighted up for the steps between.
        ignore_background: Class 0 has no say in the segmentation loss, as published.
        edge: Image value at the body's outline, from -1 to 1.
        dark: Classes that may be as dark as air.
        rates: Learning rates of generator, segmenter and discriminator.
    """

    mode: str
    classes: int
    generator: Mapping[str, Any]
    segmenter: Mapping[str, Any]
    discriminator: Mapping[str, Any] | None
    segment: float = 1.0
    adversarial: float = 1.0
    outline: float = 0.5
    label_mix: float = 5.0
    match: float = 10.0
    moments: float = 0.0
    variety: float = 0.0
    penalty: float = 10.0
    penalty_every: int = 4
    ignore_background: bool = False
    edge: float = -0.6
    dark: tuple[int, ...] = ()
    rates: Mapping[str, float] = field(
        default_factory=lambda: {"generator": 4e-4, "segmenter": 4e-4, "discriminator": 2e-3}
    )


class SemanticTask(Task):
    """Teaches a generator.

    Args:
        plan: How.
        seed: Of samples, noise and augmentation.
        labelled: Label maps (`unpaired`, `semi`), or label maps with their images (`paired`).
        images: Images of other subjects; None with `paired`.
        pairs: Label maps with their images, for `semi`.
        batch: Samples of a step, for the refresh of batch norms.
        augmentation: Of labels and images.
        settings_plain: What a checkpoint must agree with.
        judge: Measures of a generator on validation subjects, `score` among them; None: the last weights win.

    Raises:
        ValueError: an unknown mode, or data that it lacks.
    """

    def __init__(
        self,
        plan: SynthesisPlan,
        seed: int,
        labelled: Slices,
        images: Slices | None,
        pairs: Slices | None,
        batch: int,
        augmentation: SliceAugmentation,
        settings_plain: Mapping[str, Any],
        judge: Callable[[nn.Module, torch.device], dict[str, float]] | None = None,
    ):
        needs_images, needs_pairs = plan.mode != "paired", plan.mode == "semi"
        if plan.mode not in ("unpaired", "paired", "semi"):
            raise ValueError(f"'{plan.mode}' is no mode: unpaired, paired or semi")
        if (images is None) == needs_images or (pairs is None) == needs_pairs:
            raise ValueError(f"the mode {plan.mode} lacks data, or has some that it does not use")
        if plan.discriminator is None and plan.mode != "paired":
            raise ValueError(f"the mode {plan.mode} needs a discriminator: nothing else sees real images")
        self.plan, self.seed, self.settings = plan, seed, settings_plain
        self.labelled, self.images, self.pairs = labelled, images, pairs
        self.batch, self.augmentation = batch, augmentation
        self.outline, self.judge = OutlineLoss(plan.edge), judge

    def networks(self) -> dict[str, nn.Module]:
        """Generator, segmenter, and a discriminator where there is one."""
        plan, size = self.plan, self.labelled.size
        made = {
            "generator": components.build("network", plan.generator, classes=plan.classes, channels=1),
            "segmenter": components.build("network", plan.segmenter, classes=plan.classes, channels=1),
        }
        if plan.discriminator is not None:
            made["discriminator"] = components.build("network", plan.discriminator, size=size[0], channels=1)
        return made

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """One Adam each, as published."""
        return {
            name: (torch.optim.Adam(network.parameters(), lr=self.plan.rates[name], betas=BETAS), [name])
            for name, network in networks.items()
        }

    def sample(self, index: int) -> Batch:
        """A label map with noise, and an image, drawn independently of each other unless they are pairs."""
        rng = np.random.default_rng([self.seed, index])
        found: Batch = {"index": torch.tensor(index)}
        for name, source in (("", self.labelled), ("other_", self.images), ("pair_", self.pairs)):
            if source is not None:
                item = source.item(int(rng.integers(len(source))))
                moved = self.augmentation(item, int(rng.integers(2**31)), source.shows_sides)
                found |= {f"{name}{k}": v for k, v in moved.items()}
        z, grain = (int(self.plan.generator.get(k, n)) for k, n in (("noise", 64), ("grain", 0)))
        found["noise"] = torch.from_numpy(rng.standard_normal(z).astype(np.float32))
        if grain:
            found["grain"] = torch.from_numpy(rng.standard_normal((grain, *self.labelled.size), np.float32))
        if self.plan.variety:
            name = "grain" if grain else "noise"
            found[f"again_{name}"] = torch.from_numpy(rng.standard_normal(found[name].shape, np.float32))
        return found

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step of every network, with one pass of the generator.

        The generator's image serves all: in `unpaired` the segmenter's loss on it is the generator's own, so one way
        back gives the gradients of both.
        """
        labels = batch["labels"][:, 0].long()
        given = one_hot(labels, self.plan.classes)
        weights = class_weights(labels, self.plan.classes, self.plan.ignore_background)
        is_pair = self.plan.mode == "paired"
        judge = networks.get("discriminator")
        fake, again = self._painted(networks["generator"], given, batch, step)
        logged: dict[str, Tensor] = {}
        held = [networks["segmenter"]] if is_pair else []
        with frozen([*held, *([] if judge is None else [judge])]):
            logged["segment"] = balanced_cross_entropy(networks["segmenter"](fake), labels, weights)
            total = self.plan.segment * logged["segment"]
            if judge is not None:
                logged["adversarial"] = generator_loss(judge(fake))
                total = total + self.plan.adversarial * logged["adversarial"]
            if self.plan.outline:
                logged["outline"] = self.outline(fake, batch["body"], self._dark(labels))
                total = total + self.plan.outline * logged["outline"]
            if is_pair and self.plan.moments:
                logged["moments"] = moments_loss(fake, batch["image"], given)
                total = total + self.plan.moments * logged["moments"]
            if again is not None:
                logged["variety"] = VARIETY_EVERY * variety_loss(fake, again, given)
                total = total + self.plan.variety * logged["variety"]
            if self.pairs is not None and judge is not None:
                logged["match"] = self._match(networks, judge, batch)
                total = total + self.plan.match * logged["match"]
            hands.backward(total)
        hands.update("generator")
        if not is_pair:
            hands.update("segmenter")
        seen = fake.detach()
        if is_pair:
            logged |= self._judge_by_classes(networks["segmenter"], batch, seen, labels, weights, step, hands)
        if judge is not None:
            real = batch["image"] if is_pair else batch["other_image"]
            logged |= self._judge_whole(judge, real.float(), seen, step, hands)
        return logged

    def _painted(self, generator: nn.Module, given: Tensor, batch: Batch, step: int) -> tuple[Tensor, Tensor | None]:
        """Samples of the maps, and every few steps others of the same maps for their variety; in one pass.

        Where there is grain, the two share their latents: these sway whole images, and to set them apart is cheap.
        """
        if not self.plan.variety or step % VARIETY_EVERY:
            return generator(given, noise_of(batch)).float(), None
        noise = torch.cat([noise_of(batch), noise_of(batch, "again_")])
        one, other = generator(torch.cat([given, given]), noise).float().chunk(2)
        return one, other

    def _dark(self, labels: Tensor) -> Tensor | None:
        if not self.plan.dark:
            return None
        return torch.isin(labels, torch.tensor(self.plan.dark, device=labels.device))[:, None]

    def _match(self, networks: Mapping[str, nn.Module], judge: nn.Module, batch: Batch) -> Tensor:
        """Distance of the discriminator's features of a pair's image and of the one painted from its labels."""
        given = one_hot(batch["pair_labels"][:, 0].long(), self.plan.classes)
        made = networks["generator"](given, noise_of(batch)).float()
        with torch.no_grad():
            wanted = judge.scored(batch["pair_image"].float())[1]  # type: ignore[operator]
        found = judge.scored(made)[1]  # type: ignore[operator]
        parts = [(a.float() - b.float()).square().mean() for a, b in zip(found, wanted, strict=True)]
        return torch.stack(parts).mean()

    def _judge_by_classes(
        self,
        segmenter: nn.Module,
        batch: Batch,
        fake: Tensor,
        labels: Tensor,
        weights: Tensor,
        step: int,
        hands: Hands,
    ) -> dict[str, Tensor]:
        """The segmenter's step with pairs: real pixels are of their class, painted ones `fake`, mixed ones mixed."""
        real = batch["image"].float()
        words = [self.seed, step, hands.rank]  # else every process would mix the same classes
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
        mask = label_mask(labels, self.plan.classes, generator)
        mixed = mask * real + (1 - mask) * fake
        of_real, of_fake, of_mixed = segmenter(torch.cat([real, fake, mixed])).chunk(3)
        found = {
            "segmenter_real": balanced_cross_entropy(of_real, labels, weights),
            "segmenter_fake": fake_cross_entropy(of_fake),
            "label_mix": label_mix_loss(of_mixed, of_real, of_fake, mask),
        }
        hands.backward(found["segmenter_real"] + found["segmenter_fake"] + self.plan.label_mix * found["label_mix"])
        hands.update("segmenter")
        return found

    def _judge_whole(self, judge: nn.Module, real: Tensor, fake: Tensor, step: int, hands: Hands) -> dict[str, Tensor]:
        """The discriminator's step, with the gradient penalty every few steps."""
        # apart: what it sees of the spread of a batch is then that of painted images, or that of real ones
        loss = discriminator_loss(judge(fake).float(), judge(real).float())
        hands.backward(loss)
        if self.plan.penalty and step % self.plan.penalty_every == 0:
            seen, bare = real.detach().requires_grad_(), hands.bare(judge)  # second derivatives in 32 bit
            penalty = gradient_penalty(bare(seen), seen)
            hands.backward(self.plan.penalty / 2 * self.plan.penalty_every * penalty)
        hands.update("discriminator")
        return {"discriminator": loss}

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Settle the norms of the mean weights, and ask the study what its images are worth."""
        settle_spectral_norms(networks["generator"])
        refresh(networks["generator"], self, device)
        return {} if self.judge is None else self.judge(networks["generator"], device)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Ids (N, H, W) as (N, C, H, W) of zeros and ones."""
    return nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def noise_of(batch: Mapping[str, Tensor], prefix: str = "") -> Tensor:
    """Noise of a batch as a generator takes it: the latents, with the grain as a map where there is some.

    With a prefix, what bears it takes the place of what does not.
    """
    noise = batch.get(f"{prefix}noise", batch["noise"])
    grain = batch.get(f"{prefix}grain", batch.get("grain"))
    if grain is None:
        return noise
    return torch.cat([noise[:, :, None, None].expand(-1, -1, *grain.shape[2:]), grain], dim=1)


@torch.no_grad()
def refresh(generator: nn.Module, task: SemanticTask, device: torch.device, batches: int = REFRESH_BATCHES) -> None:
    """Batch norms take the statistics of the weights as they are, from training samples: mean weights have none.

    The mean over `batches` of the first samples; nothing else of the network changes.

    Args:
        generator: With weights whose statistics are not known.
        task: Gives samples.
        device: Where it runs.
        batches: How many.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    before = [m.momentum for m in norms]
    training = generator.training
    generator.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for k in range(batches):
        samples = [task.sample(k * task.batch + i) for i in range(task.batch)]
        labels = torch.stack([s["labels"] for s in samples])[:, 0].long().to(device)
        noise = noise_of({k: torch.stack([s[k] for s in samples]) for k in ("noise", "grain") if k in samples[0]})
        generator(one_hot(labels, task.plan.classes), noise.to(device))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    generator.train(training)
