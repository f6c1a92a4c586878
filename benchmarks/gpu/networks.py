"""Every network of the registry as a training of one step: its size is that of the first published arm that names it.

A network that comes later joins by being in the registry. What its `forward` takes is known by the names of its
arguments (INPUTS); a network with other ones says so, and a test asks for them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from volforge import components
from volforge.training.task import Task

PAPERS = Path(__file__).parents[2] / "config/papers"
DEFAULT_SIZE = {2: (256, 256), 3: (128, 128, 128)}
DEFAULT_BATCH = {2: 4, 3: 2}
DEFAULT_CLASSES = 4
LATER = ("cranial_implant.yaml",)  # a network that others name keeps the size at which it was measured before
SMALL = {"width": 2, "most": 4, "hidden": 4}  # at most, where a network has such a keyword
SMALL_SIDE = {2: 64, 3: 32}
INHERITED = ("training", "recipe", "structures", "loss")
# what an argument of a network's `forward` is: an image, a label map as one channel per class, or noise
INPUTS = {
    "image": "image", "images": "image", "x": "image", "source": "image", "condition": "image", "given": "labels",
    "labels": "labels", "noise": "noise", "skull": "image", "volume": "image",
}  # fmt: skip


@dataclass(frozen=True)
class Sized:
    """A network at the size that it is trained at.

    Attributes:
        name: Of the registry.
        spec: Name and keywords.
        size: Voxels or pixels of an image.
        batch: Images of a step.
        classes: Of label maps, the background included.
        loss: Name and keywords of the arm's loss, None where the network is no segmenter of its own.
        origin: Which arm says so.
    """

    name: str
    spec: Mapping[str, Any]
    size: tuple[int, ...]
    batch: int
    classes: int
    loss: Mapping[str, Any] | None
    origin: str


def every_network(small: bool = False, papers: Path = PAPERS) -> list[Sized]:
    """Every network of the registry, at paper size or at one that a processor takes in a second.

    Args:
        small: Narrow networks, small images.
        papers: Folder of the published configurations.
    """
    named: dict[str, Sized] = {}
    for path in sorted(papers.glob("*.yaml"), key=lambda p: (p.name in LATER, p.name)):
        for sized in _named_in(path):
            named.setdefault(sized.name, sized)
    found = [named.get(name) or _default(name) for name in components.NAMES["network"]]
    return [_small(s) for s in found] if small else found


def _named_in(path: Path) -> Iterator[Sized]:
    """Networks of a configuration: what arms begin with, the arms, then what they share."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for study_name, study in content.get("studies", {}).items():
        base = _inherit(_inherit({}, study), study.get("defaults", {}))
        base["classes"] = _classes(content["cohorts"][study["cohort"]], path.parent)
        parts = [(study_name, study.get("defaults", {}))]
        parts += [(f"{study_name}/{a}", arm) for a, arm in study.get("arms", {}).items()]
        parts += [(f"{study_name}/shared", study.get("shared", {}))]
        for where, part in parts:
            for key, spec, context in _specs(part, base):
                yield _sized(key, spec, context, content.get("recipes", {}), f"{path.name}: {where}")


def _inherit(context: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """What holds below a node: of `training` key by key, else what it says itself."""
    own = {k: node[k] for k in INHERITED if k in node}
    if "training" in own:
        own["training"] = {**context.get("training", {}), **own["training"]}
    return {**context, **own}


def _specs(node: Any, context: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Key, name with keywords, and context of every network below a node."""
    if not isinstance(node, dict):
        return
    context = _inherit(context, node)
    for key, value in node.items():
        if isinstance(value, dict) and value.get("name") in components.NAMES["network"]:
            yield key, value, context
        elif isinstance(value, str) and key != "name" and value in components.NAMES["network"]:
            yield key, {"name": value}, context
        else:
            yield from _specs(value, context)


def _classes(cohort: Mapping[str, Any], folder: Path) -> int:
    """Classes of a cohort's label maps, by its table of structures."""
    table = folder / cohort.get("structures", str(cohort["sheet"]).removesuffix(".tsv") + ".structures.tsv")
    return len(table.read_text(encoding="utf-8").splitlines()) if table.exists() else DEFAULT_CLASSES


def _sized(
    key: str, spec: Mapping[str, Any], context: Mapping[str, Any], recipes: Mapping[str, Any], origin: str
) -> Sized:
    usual = _default(str(spec["name"]))
    training, recipe = context.get("training", {}), recipes.get(context.get("recipe"), {})
    size = tuple(training.get("patch") or recipe.get("size") or usual.size)
    loss = context.get("loss")
    named = loss if isinstance(loss, str) else (loss or {}).get("name", "")
    is_own = key == "network" and bool(named) and not named.startswith("value_")  # those read no label map
    loss = loss if is_own else None
    return Sized(
        usual.name,
        spec,
        size if len(size) == len(usual.size) else usual.size,
        int(training.get("batch", usual.batch)),
        len(context["structures"]) + 1 if is_own and "structures" in context else int(context["classes"]),
        {"name": loss} if isinstance(loss, str) else loss,
        origin,
    )


@cache
def _default(name: str) -> Sized:
    """A network that no paper names, with a size by the dimensions of its weights."""
    sized = Sized(name, {"name": name}, DEFAULT_SIZE[2], 1, DEFAULT_CLASSES, None, "no published arm")
    with torch.device("meta"):
        dimensions = 3 if any(p.dim() == 5 for p in build(sized).parameters()) else 2
    return replace(sized, size=DEFAULT_SIZE[dimensions], batch=DEFAULT_BATCH[dimensions])


def _small(sized: Sized) -> Sized:
    """The same network, narrow and on a small image."""
    module, name = components.NAMES["network"][sized.name].split(":")
    known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    own = {k: min(n, sized.spec.get(k, n)) for k, n in SMALL.items() if k in known}
    made = replace(sized, spec={**sized.spec, **own}, batch=2, classes=min(sized.classes, DEFAULT_CLASSES))
    side = (SMALL_SIDE[len(sized.size)],) * len(sized.size)
    with torch.device("meta"):
        divisor = getattr(build(replace(made, size=side)), "divisor", 1)
    divisors = divisor if isinstance(divisor, tuple) else (divisor,) * len(side)
    return replace(made, size=tuple(-(-n // d) * d for n, d in zip(side, divisors, strict=True)))


def build(sized: Sized) -> nn.Module:
    """The network with fresh weights, without dropout: what it draws depends on the layout of memory."""
    made: nn.Module = components.build(
        "network", sized.spec, channels=1, classes=sized.classes, spacing_mm=None, size=sized.size[0]
    )
    for part in made.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
    return made


class NetworkTask(Task):
    """One network that learns one batch, as the loop has it.

    Segmenters learn with their arm's loss; of all others the mean square of what they give is made small, which asks
    for the same passes as any loss of theirs.
    """

    averaged, clip = "network", 12.0

    def __init__(self, sized: Sized):
        self.sized, self.settings = sized, {"network": sized.name}
        self.channels_last = False
        self.loss = components.build("loss", sized.loss) if sized.loss is not None else None
        self.batch = sized.batch
        generator = torch.Generator().manual_seed(0)
        self.held = [self._made(generator) for _ in range(sized.batch)]

    def _made(self, generator: torch.Generator) -> dict[str, Tensor]:
        """A sample: every input there may be, a label map, distances to its classes."""
        size, classes = self.sized.size, self.sized.classes
        image = torch.randn((1, *size), generator=generator)
        labels = (image[0] > 1).long() + (image[0] > 1.5).long() * (classes > 2)
        sample = {"image": image, "labels": labels}
        if getattr(self.loss, "needs_distance", False):
            sample["distance"] = 5 * torch.randn((classes - 1, *size), generator=generator)
        with torch.device("meta"):
            values = noise_values(build(self.sized))
        if values is not None:
            by_place, count = values
            sample["noise"] = torch.randn((count, *size) if by_place else (count,), generator=generator)
        return sample

    def networks(self) -> dict[str, nn.Module]:
        """The network."""
        return {"network": build(self.sized)}

    def optimizers(self, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
        """Adam, as most published arms have it."""
        return {"network": (torch.optim.Adam(networks["network"].parameters(), 1e-4), ["network"])}

    def sample(self, index: int) -> dict[str, Tensor]:
        """Of a batch that is always the same."""
        return self.held[index % self.batch]

    def step(self, networks: Mapping[str, nn.Module], batch: dict[str, Tensor], step: int, hands: Any) -> dict:
        """One step of loss and optimiser."""
        inputs = self.inputs(hands.bare(networks["network"]), batch)
        found = networks["network"](*inputs)
        loss = self.loss_of(found if isinstance(found, (list, tuple)) else [found], batch)
        hands.backward(loss)
        hands.update("network")
        return {"loss": loss}

    def inputs(self, network: nn.Module, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """What a network takes, of a batch.

        Raises:
            ValueError: It asks for something that is not known.
        """
        found = []
        for name, parameter in inspect.signature(network.forward).parameters.items():
            kind = INPUTS.get(name)
            if kind == "noise" and "noise" not in batch:
                continue
            if kind is None:
                if parameter.default is not parameter.empty:
                    break
                raise ValueError(f"{self.sized.name} takes '{name}': say what it is in benchmarks/gpu/networks.py")
            if kind == "labels":
                labels = functional.one_hot(batch["labels"], self.sized.classes).movedim(-1, 1).float()
                found.append(self._laid(labels))
            else:
                found.append(self._laid(batch[kind]) if kind == "image" else batch[kind])
        return found

    def _laid(self, image: Tensor) -> Tensor:
        if not self.channels_last:
            return image
        layout = torch.channels_last_3d if image.dim() == 5 else torch.channels_last
        return image.contiguous(memory_format=layout)

    def loss_of(self, found: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Loss of what a network gives, lower resolutions with half the weight of the one above."""
        losses = []
        for k, value in enumerate(found):
            if self.loss is None:
                losses.append(0.5**k * value.float().square().mean())
                continue
            labels, far = batch["labels"], batch.get("distance")
            if value.shape[2:] != labels.shape[1:]:
                labels = functional.interpolate(labels[:, None].float(), size=value.shape[2:])[:, 0].long()
                far = functional.interpolate(far, size=value.shape[2:]) if far is not None else None
            losses.append(0.5**k * self.loss(value.float(), labels, far, 0.5))
        return torch.stack(losses).sum()

    def validate(self, networks: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Nothing."""
        return {}


def noise_values(network: nn.Module) -> tuple[bool, int] | None:
    """Whether noise differs from place to place, and its values; None where a network takes none."""
    z, grain = int(getattr(network, "noise", 0)), int(getattr(network, "grain", 0))
    return (bool(grain), z + grain) if z + grain else None
