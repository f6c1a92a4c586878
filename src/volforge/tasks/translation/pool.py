"""A pool of earlier fakes: discriminators see old ones too, so that a generator cannot go round in circles.

Source: Shrivastava et al., CVPR 2017, section 2.3; with CycleGAN's numbers (Zhu et al., ICCV 2017): 50 images, half of
the time an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 50
SHARE = 0.5


def pool_generator(seed: int, step: int, rank: int = 0, pool: int = 0) -> np.random.Generator:
    """What a pool draws from in a step: the same on a resumed training, another on every process and for every pool.

    Args:
        seed: Of the training.
        step: Its step.
        rank: Number of the process.
        pool: Number of the pool, where there are several.
    """
    return np.random.default_rng([seed, step, rank, pool])


class FakePool:
    """Fakes of one domain.

    Args:
        most: Images that are kept; 0: none, and what comes in goes out.
        share: How often an earlier one is shown, once the pool is full.

    Raises:
        ValueError: A number below 0, or a share beyond 0 to 1.
    """

    def __init__(self, most: int = MOST, share: float = SHARE):
        if most < 0 or not 0 <= share <= 1:
            raise ValueError("a pool keeps 0 images or more, and shows earlier ones with a share from 0 to 1")
        self.most, self.share = most, share
        self.fakes: list[Tensor] = []

    def exchange(self, fakes: Tensor, rng: np.random.Generator) -> Tensor:
        """What a discriminator is shown in the place of fakes: each itself, or an earlier one whose place it takes.

        The first `most` are shown and kept. Images of one batch may come back for others of the same batch.

        Args:
            fakes: (N, C, H, W), the generator's.
            rng: Of this step (`pool_generator`); it is drawn from as often as the pool is full.

        Returns:
            (N, C, H, W) on the same device, without gradients, in memory of their own.
        """
        shown = fakes.detach().clone()
        for k in range(len(shown) if self.most else 0):
            if len(self.fakes) < self.most:
                self.fakes.append(shown[k].clone())
            elif rng.random() < self.share:
                place = int(rng.integers(self.most))
                earlier = self.fakes[place].to(shown.device)
                self.fakes[place] = shown[k].clone()
                shown[k] = earlier
        return shown

    def state(self) -> dict[str, Any]:
        """The pool for a checkpoint, as `Task.extra_state` asks: tensors that share no memory with it."""
        return {"fakes": [fake.clone() for fake in self.fakes]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: More images than this pool keeps.
        """
        fakes = list(state["fakes"])
        if len(fakes) > self.most:
            raise ValueError(f"{len(fakes)} images for a pool of {self.most}")
        self.fakes = [torch.as_tensor(fake) for fake in fakes]
