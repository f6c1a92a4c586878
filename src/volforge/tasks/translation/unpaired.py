"""Training of translation without pairs and with discriminators: CycleGAN, one generator alone, and CUT.

Source: Zhu et al., ICCV 2017 (cycles, pool of fakes, least squares); Ge et al., SPIE Medical Imaging 2019 (correlation,
outline); Park et al., ECCV 2020 (contrast of patches).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from volforge import components
from volforge.errors import VolforgeError
from volforge.losses.contrast import patch_nce
from volforge.losses.correlation import correlation_loss
from volforge.losses.least_squares import discriminator_loss, generator_loss
from volforge.losses.masked import inside
from volforge.losses.shape import shape_l1
from volforge.losses.structure import hinged
from volforge.tasks.translation.generator import begin, make_generator
from volforge.tasks.translation.patches import PatchHeads, patch_places, sizes_of
from volforge.tasks.translation.pool import FakePool, pool_generator
from volforge.tasks.translation.settings import TranslationSettings
from volforge.tasks.translation.slices import SliceSet
from volforge.tasks.translation.structure import LEVELS, structure_term
from volforge.training.frozen import frozen
from volforge.training.slice_augment import SliceAugmentation
from volforge.training.task import Batch, Hands, Task

BETA2 = 0.999
POOLS = ("target", "source", "outline")
Judge = Callable[[nn.Module, torch.device], dict[str, float]]


class UnpairedTask(Task):
    """Teaches a generator by two domains without a subject in common.

    Args:
        settings: The model.
        seed: Of samples, pools and patches.
        sources, targets: Slices of the two domains.
        augmentation: Of single slices.
        settings_plain: What a checkpoint must agree with.
        extractor: The frozen network that finds outlines in targets, for the losses of shape.
        start: State of the generators that the training starts from.
        judge: Measures of a generator on validation subjects, `score` among them; None: the last weights win.
    """

    def __init__(
        self,
        settings: TranslationSettings,
        seed: int,
        sources: SliceSet,
        targets: SliceSet,
        augmentation: SliceAugmentation,
        settings_plain: Mapping[str, Any],
        extractor: nn.Module | None = None,
        start: Mapping[str, Tensor] | None = None,
        judge: Judge | None = None,
    ):
        self.model, self.seed, self.settings = settings, seed, settings_plain
        self.sources, self.targets, self.augmentation = sources, targets, augmentation
        self.extractor, self.start, self.judge = extractor, start, judge
        self.own = settings.translation
        self.pools = {n: FakePool(int(self.own["pool"])) for n in POOLS}

    @property
    def has_cycle(self) -> bool:
        """Whether a second generator undoes the first."""
        return self.model.method == "cycle"

    def networks(self) -> dict[str, nn.Module]:
        """`generator` and `target_judge`; with cycles `back` and `source_judge`; with patches `heads`."""
        spec, channels = self.own["discriminator"], self.model.channels
        made: dict[str, nn.Module] = {"generator": begin(make_generator(self.model), self.start)}
        made["target_judge"] = components.build("network", spec, channels=1)
        if self.has_cycle:
            made["back"] = components.build("network", self.model.network, channels=1, outputs=channels)
            made["source_judge"] = components.build("network", spec, channels=channels)
        if self.model.method == "contrast":
            made["heads"] = self._heads(made["generator"])
        if self.own["shape_adversarial"]:
            made["outline_judge"] = components.build("network", spec, channels=1)
        return made

    def _heads(self, generator: Any) -> nn.Module:
        if not hasattr(generator, "contrast_taps"):
            name = self.model.network["name"]
            raise VolforgeError(
                f"the network '{name}' has no features to contrast", self.model.place, "use resnet_generator"
            )
        return PatchHeads(generator.channels_of(generator.contrast_taps))

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, tuple[Optimizer, list[str]]]:
        """One Adam for generators (and heads), one for all discriminators, as published."""
        makers = [n for n in ("generator", "back", "heads") if n in networks]
        judges = [n for n in ("target_judge", "source_judge", "outline_judge") if n in networks]
        return {
            name: (
                torch.optim.Adam(
                    [p for n in members for p in networks[n].parameters()],
                    lr=float(self.model.training["rate"]),
                    betas=(float(self.own["beta1"]), BETA2),
                ),
                members,
            )
            for name, members in (("generators", makers), ("judges", judges))
        }

    def sample(self, index: int) -> Batch:
        """A source and a target, drawn independently of each other but for their height in the body."""
        rng = np.random.default_rng([self.seed, index])
        a = self.sources.draw(rng, self.own["draw"])
        tolerance = float(self.own["position"])
        if tolerance:
            near = self.targets.near(self.sources.places[a].height, tolerance)
            b = self.targets.draw_of(rng, near) if self.own["draw"] == "scans" else int(rng.choice(near))
        else:
            b = self.targets.draw(rng, self.own["draw"])
        found: Batch = {"index": torch.tensor(index), "source_slice": torch.tensor(a), "target_slice": torch.tensor(b)}
        middle = self.model.context
        for name, domain, k in (("source", self.sources, a), ("target", self.targets, b)):
            item = domain.item(k)
            here = middle if name == "source" else 0  # targets are read without their neighbours
            given = {"image": item["image"], "body": item["body"][here : here + 1]}
            moved = self.augmentation(given, int(rng.integers(2**31)), domain.shows_sides)
            found |= {name: moved["image"].float(), f"{name}_body": moved["body"]}
        return found

    def step(self, networks: Mapping[str, nn.Module], batch: Batch, step: int, hands: Hands) -> dict[str, Tensor]:
        """One step of the generators, with the discriminators' weights at rest, and one of the discriminators."""
        x, y = batch["source"].float(), batch["target"].float()
        body, own_body = batch["source_body"].float(), batch["target_body"].float()
        draw = np.random.default_rng([self.seed, step, hands.rank, 7])
        flips = bool(self.own["flip_equivariance"]) and self.sources.shows_sides and bool(draw.random() < 0.5)
        unflipped = x
        if flips:  # the generator alone sees it mirrored: keys of patches are those of the source as it is
            x, body = x.flip(-1), body.flip(-1)
        judges = [n for n in networks if n.endswith("judge")]
        logged: dict[str, Tensor] = {}
        with frozen([networks[n] for n in judges]):
            fake = networks["generator"](x).float()
            logged["adversarial"] = generator_loss(networks["target_judge"](fake))
            total = float(self.own["adversarial"]) * logged["adversarial"]
            made = None
            if self.has_cycle:
                made = networks["back"](y).float()
                total = total + self._cycled(networks, x, y, fake, made, logged)
            if self.model.method == "contrast":
                total = total + self._contrasted(
                    networks, unflipped, y, fake.flip(-1) if flips else fake, step, hands, logged
                )
            outline = self._outline(fake)
            total = total + self._tied(networks, x, y, fake, made, (body, own_body), outline, logged)
            hands.backward(total)
        hands.update("generators")
        logged |= self._judged(networks, x, y, fake, made, body, outline, step, hands)
        return logged

    def _cycled(
        self,
        networks: Mapping[str, nn.Module],
        x: Tensor,
        y: Tensor,
        fake: Tensor,
        made: Tensor,
        logged: dict[str, Tensor],
    ) -> Tensor:
        """What the second generator adds: its discriminator, both ways there and back, and identities."""
        logged["adversarial_back"] = generator_loss(networks["source_judge"](made))
        logged["cycle"] = (networks["back"](fake) - x).abs().mean() + (networks["generator"](made) - y).abs().mean()
        total = float(self.own["adversarial"]) * logged["adversarial_back"] + float(self.own["cycle"]) * logged["cycle"]
        if self.own["identity"]:
            as_source = y.expand(-1, x.shape[1], -1, -1)
            middle = self._middle(x)
            logged["identity"] = (networks["generator"](as_source) - y).abs().mean() + (
                networks["back"](middle) - x
            ).abs().mean()
            total = total + float(self.own["identity"]) * logged["identity"]
        return total

    def _contrasted(
        self,
        networks: Mapping[str, nn.Module],
        x: Tensor,
        y: Tensor,
        fake: Tensor,
        step: int,
        hands: Hands,
        logged: dict[str, Tensor],
    ) -> Tensor:
        """Patches of an image against those of its source: the same place is alike, others are not."""
        generator: Any = networks["generator"]
        rng = np.random.default_rng([self.seed, step, hands.rank, 11])
        pairs = [(x, fake)]
        if self.own["contrast_identity"]:
            as_source = y.expand(-1, x.shape[1], -1, -1)
            pairs.append((as_source, generator(as_source).float()))
        bare: Any = hands.bare(generator)
        taps = bare.contrast_taps
        terms = []
        for source, image in pairs:
            keys = generator.features(source, taps)
            queries = generator.features(image.expand(-1, x.shape[1], -1, -1), taps)
            where = patch_places(sizes_of(keys), rng)
            for key, query in zip(networks["heads"](keys, where), networks["heads"](queries, where), strict=True):
                terms.append(patch_nce(query.float(), key.float()))
        logged["contrast"] = torch.stack(terms).mean()
        return float(self.own["contrast"]) * logged["contrast"]

    def _outline(self, fake: Tensor) -> Tensor | None:
        """Logits of the outline that the extractor finds in an image."""
        if self.extractor is None:
            return None
        self.extractor.to(fake.device)
        found: Tensor = self.extractor(fake)
        return found

    def _tied(
        self,
        networks: Mapping[str, nn.Module],
        x: Tensor,
        y: Tensor,
        fake: Tensor,
        made: Tensor | None,
        bodies: tuple[Tensor, Tensor],
        outline: Tensor | None,
        logged: dict[str, Tensor],
    ) -> Tensor:
        """Losses that tie an image to its source: correlation, outline, structure."""
        total, own = torch.zeros((), device=x.device), self.own
        middle, (body, own_body) = self._middle(x), bodies
        if own["correlation"]:
            whole = own["correlation_in"] == "slice"
            logged["correlation"] = correlation_loss(fake, middle, None if whole else body)
            if made is not None:
                logged["correlation"] = logged["correlation"] + correlation_loss(
                    self._middle(made), y, None if whole else own_body
                )
            total = total + float(own["correlation"]) * logged["correlation"]
        if outline is not None and own["shape"]:
            logged["shape"] = shape_l1(outline, body)
            total = total + float(own["shape"]) * logged["shape"]
        if outline is not None and own["shape_adversarial"]:
            logged["shape_adversarial"] = generator_loss(networks["outline_judge"](torch.sigmoid(outline)))
            total = total + float(own["shape_adversarial"]) * logged["shape_adversarial"]
        if own["structure"]:
            chosen = own["structure"]
            level = chosen["level"] if chosen["level"] is not None else LEVELS[chosen["term"]]
            deep = inside(body, self.sources.pixel_mm)
            found = structure_term(chosen["term"], fake, middle, deep)
            logged["structure"] = hinged(found, float(level))
            total = total + float(chosen["weight"]) * logged["structure"]
        return total

    def _judged(
        self,
        networks: Mapping[str, nn.Module],
        x: Tensor,
        y: Tensor,
        fake: Tensor,
        made: Tensor | None,
        body: Tensor,
        outline: Tensor | None,
        step: int,
        hands: Hands,
    ) -> dict[str, Tensor]:
        """The discriminators' step, on earlier fakes too."""
        seen = [("target", "target_judge", y, fake)]
        if made is not None:
            seen.append(("source", "source_judge", x, made))
        if outline is not None and "outline_judge" in networks:
            seen.append(("outline", "outline_judge", body, torch.sigmoid(outline)))
        logged, total = {}, torch.zeros((), device=x.device)
        for pool, judge, real, image in seen:
            draw = pool_generator(self.seed, step, hands.rank, POOLS.index(pool))
            old = self.pools[pool].exchange(image, draw)
            loss = discriminator_loss(networks[judge](old), networks[judge](real))
            logged[judge] = loss
            total = total + loss
        hands.backward(total)
        hands.update("judges")
        return logged

    def _middle(self, x: Tensor) -> Tensor:
        """The slice itself, of the first contrast, without its neighbours."""
        return x[:, self.model.context : self.model.context + 1]

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """What the judge says."""
        return {} if self.judge is None else self.judge(networks["generator"], device)

    def extra_state(self) -> Mapping[str, Any]:
        """The pools of fakes."""
        return {name: pool.state() for name, pool in self.pools.items()}

    def load_extra(self, state: Mapping[str, Any]) -> None:
        """Take up the pools."""
        for name, pool in self.pools.items():
            pool.load(state[name])
