"""Augmentation by MONAI on the device, drawn from (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from monai.transforms import Compose

WITH_MARGIN = ("light", "standard")
MARGIN = 0.15  # share of the patch that is read beyond it on each side, for what turns into view


class Augmentation:
    """Augments the samples of a batch, each with random numbers of its own.

    Args:
        kind: `none`, `published`, `light` or `standard`.
        patch: Size of what comes out.
        keys: `image`, `labels` and perhaps `distance`.
        flip: Axes, for `light` and `standard`.
        seed: With the sample's index it decides everything that is drawn.
    """

    def __init__(self, kind: str, patch: Sequence[int], keys: Sequence[str], flip: Sequence[str], seed: int):
        self.kind, self.patch, self.seed, self.keys = kind, tuple(patch), seed, list(keys)
        self.transform: Compose | None = None
        if kind != "none":
            from volforge.training.transforms import transform_of  # MONAI, whose import takes seconds

            self.transform = transform_of(kind, self.keys, self.patch, flip)

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels that a sample must have before it is augmented."""
        if self.kind not in WITH_MARGIN:
            return self.patch
        return tuple(n + 2 * int(np.ceil(MARGIN * n)) for n in self.patch)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Augment a batch of (N, C, X, Y, Z) tensors; `index` holds the samples' numbers."""
        if self.transform is None:
            return batch
        made = []
        for n, index in enumerate(batch["index"].tolist()):
            state = np.random.SeedSequence([self.seed, index]).generate_state(1)[0]
            self.transform.set_random_state(seed=int(state))
            one = {k: batch[k][n] for k in self.keys}
            one["labels"] = one["labels"].to(torch.float32)
            made.append(self.transform(one))
        result = {k: torch.stack([torch.as_tensor(m[k]) for m in made]) for k in self.keys}
        return {**batch, **result}
