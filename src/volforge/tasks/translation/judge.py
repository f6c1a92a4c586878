"""What chooses the weights of a model of translation while it trains."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from volforge.losses.masked import inside
from volforge.tasks.translation.regression import Painter
from volforge.tasks.translation.settings import TranslationSettings
from volforge.tasks.translation.slices import SliceSet
from volforge.tasks.translation.structure import OF_NAME, structure_term

MOST = 64  # slices that are looked at
BATCH = 8
PAINTED = 2  # contrasts that every slice is painted in


class PairJudge:
    """Judges a generator on pairs of validation subjects.

    By `structure`, the score is minus the mean distance of three structure terms from their level on the true pairs,
    in units of the terms' own spread over slices; their extreme would reward copies of the source. By `pairs` it is
    minus the error.

    Args:
        settings: The model.
        pairs: Sources with their partners, of validation subjects.
        by: `structure` or `pairs`.
    """

    def __init__(self, settings: TranslationSettings, pairs: SliceSet, by: str):
        self.model, self.by = settings, by
        chosen = np.unique(np.linspace(0, len(pairs) - 1, min(MOST, len(pairs))).round().astype(int))
        items = [pairs.item(int(k)) for k in chosen]
        middle = settings.context
        self.images = torch.from_numpy(np.stack([i["image"] for i in items]))
        self.bodies = torch.from_numpy(np.stack([i["body"][middle : middle + 1] for i in items])).float()
        self.targets = torch.from_numpy(np.stack([i["target"] for i in items]))
        self.deep = inside(self.bodies, pairs.pixel_mm)
        self.levels = {t: self._term(t, self.targets) for t in OF_NAME}

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, float]:
        """`score`, `mae` (in HU, or percent, inside the body) and, by structure, the distance of each term."""
        made = passed(generator, self.images, device)
        low, high = self.model.window
        apart = ((made - self.targets).abs() * self.bodies).sum() / self.bodies.sum().clamp(min=1)
        mae = float(apart) / 2 * (high - low)
        if self.by == "pairs":
            return {"score": -mae, "mae": mae}
        found = {}
        for term, level in self.levels.items():
            value = self._term(term, made)
            spread = float(level.std()) if len(level) > 1 else 0.0
            found[f"{term}_distance"] = float((value.mean() - level.mean()).abs()) / max(spread, 0.02)
        return {"score": -float(np.mean(list(found.values()))), "mae": mae, **found}

    def _term(self, term: str, images: Tensor) -> Tensor:
        """A structure term of every slice that is deep enough; one 0 where none is."""
        middle = self.model.context
        sources = self.images[:, middle : middle + 1]
        parts = [slice(k, k + BATCH) for k in range(0, len(images), BATCH)]  # mutual information holds 32 bins a pixel
        found = torch.cat([structure_term(term, images[p], sources[p], self.deep[p]) for p in parts])
        return found if len(found) else torch.zeros(1)


class PaintedJudge:
    """Judges a generator by MR painted from CT of validation subjects: no MR is read.

    Args:
        settings: The model.
        targets: CT of validation subjects.
        seed: Of what is painted; the same at every validation.
    """

    def __init__(self, settings: TranslationSettings, targets: SliceSet, seed: int):
        self.model = settings
        painter = Painter(settings)
        chosen = np.unique(np.linspace(0, len(targets) - 1, min(MOST // PAINTED, len(targets))).round().astype(int))
        items = [
            painter(targets, int(k), np.random.default_rng([seed, 17, int(k), n]), moved=False)
            for k in chosen
            for n in range(PAINTED)
        ]
        self.images, self.targets, self.bodies = (
            torch.from_numpy(np.stack([i[name] for i in items])) for name in ("image", "target", "body")
        )

    def __call__(self, generator: nn.Module, device: torch.device) -> dict[str, float]:
        """`score`, minus `painted_mae`, the error in HU inside the body."""
        made = passed(generator, self.images, device)
        low, high = self.model.window
        apart = ((made - self.targets).abs() * self.bodies).sum() / self.bodies.sum().clamp(min=1)
        mae = float(apart) / 2 * (high - low)
        return {"score": -mae, "painted_mae": mae}


@torch.no_grad()
def passed(generator: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """Images of all slices, on the CPU."""
    was = generator.training
    generator.eval()
    made = torch.cat([generator(images[k : k + BATCH].to(device)).float().cpu() for k in range(0, len(images), BATCH)])
    generator.train(was)
    return made
