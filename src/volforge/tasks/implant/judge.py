"""What a network of implants is worth on validation skulls while it trains: the Dice of its implants."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from volforge.tasks.implant.apply import Answer, answer_of
from volforge.tasks.implant.grids import cut
from volforge.tasks.implant.held import Held, Skulls
from volforge.tasks.implant.samples import BoxSamples, Samples, WindowSamples
from volforge.tasks.implant.settings import ImplantSettings
from volforge.tasks.implant.tiles import hard_tiles
from volforge.tasks.implant.values import implant_dice, implant_of
from volforge.tasks.implant.windows import Context, windowed
from volforge.volume.geometry import Array

OVERLAP = 0.25


class Judge:
    """Judges a network by skulls whose defects are the same at every call.

    Args:
        settings: The model.
        skulls: Of the validation.
        samples: How the model sees them; its skulls are these.
        coarse: The coarse model's answer, for windows with its channel.

    Attributes:
        first: Probability, defective skull, true implant and voxel size of the first skull, when it was last judged.
    """

    def __init__(self, settings: ImplantSettings, skulls: Skulls, samples: Samples, coarse: Answer | None = None):
        self.settings, self.skulls, self.samples, self.coarse = settings, skulls, samples, coarse
        self.first: tuple[Array, Array, Array, tuple[float, float, float]] | None = None
        self.count = min(len(skulls.skulls), int(settings.training["validation_cases"]))

    def __call__(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """`score`: mean Dice."""
        answer = answer_of(network, self.settings)
        found = []
        for k in range(self.count):
            held, complete, implant = self.skulls.fixed(k)
            p, defective, wanted = self._answered(answer, str(device), held, complete, implant)
            if k == 0:
                self.first = (p, defective, wanted, held.grid.spacing_mm)
            found.append(implant_dice(implant_of(p, defective), wanted))
        return {"score": float(np.mean(found))}

    def _answered(
        self, answer: Answer, device: str, held: Held, complete: Array, implant: Array
    ) -> tuple[Array, Array, Array]:
        """Probability, defective skull and true implant of one skull."""
        is_binary = complete.dtype == bool
        defective = complete & ~implant if is_binary else complete - implant
        wanted = implant if is_binary else implant >= 0.5
        if isinstance(self.samples, BoxSamples):
            frame = self.samples.boxes[held.scan][0]
            image = self.samples.of(held, complete, implant, False)["image"]
            seen = cut(defective, frame.first, frame.shape)
            return _once(answer, image, device), seen, cut(wanted, frame.first, frame.shape)
        if isinstance(self.samples, WindowSamples):
            coarse = np.zeros(complete.shape, np.float32)
            if self.coarse is not None:
                frame = self.samples.frames[held.scan]
                coarse = frame.back(_once(self.coarse, frame.average(defective)[None], device), complete.shape)
            kriged = self.samples.kriged_of(held, defective)
            context = Context(defective, coarse, self.samples.planes.get(held.scan), held.grid, kriged)
            return windowed(answer, self.settings, context, OVERLAP, device), defective, wanted
        if self.settings.sees == "patches":
            return hard_tiles(answer, defective, self.settings.patch, device=device), defective, wanted
        return _once(answer, defective[None], device), defective, wanted


def _once(answer: Answer, image: Array, device: str) -> Array:
    """The answer to an image (C, X, Y, Z)."""
    found = answer(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None].to(device))
    return np.asarray(found[0, 0].float().cpu().numpy())
