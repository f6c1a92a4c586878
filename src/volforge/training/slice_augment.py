"""Augmentation of slices: flips of sides, small turns, scales and shifts, the same for an image and its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from volforge.volume.geometry import Array

DEGREES = np.pi / 180


class SliceAugmentation:
    """Moves a slice.

    Args:
        flip: Flip left and right in half of the cases.
        turn: Largest turn, degrees.
        scale: Largest change of size, as a share.
        shift: Largest shift, as a share of the side.
        mirrored: Class of the other side by class, for structures with sides; None: classes stay.
    """

    def __init__(
        self,
        flip: bool = True,
        turn: float = 10.0,
        scale: float = 0.1,
        shift: float = 0.03,
        mirrored: Sequence[int] | None = None,
    ):
        self.flip, self.turn, self.scale, self.shift = flip, turn, scale, shift
        self.mirrored = np.asarray(mirrored, np.uint8) if mirrored is not None else None

    def __call__(self, item: Mapping[str, Array], seed: int, shows_sides: bool = True) -> dict[str, Tensor]:
        """Move all arrays of a slice alike.

        Args:
            item: (1, H, W) arrays: `image` (linear, -1 beyond its rim), and maps (nearest, 0 beyond it).
            seed: Decides everything that is drawn.
            shows_sides: Columns run from side to side; else nothing is flipped.
        """
        rng = np.random.default_rng(seed)
        flips = bool(rng.random() < 0.5) and self.flip and shows_sides
        angle = rng.uniform(-1, 1) * self.turn * DEGREES
        size = 1 + rng.uniform(-1, 1) * self.scale
        move = rng.uniform(-1, 1, 2) * 2 * self.shift
        values = {k: np.asarray(v) for k, v in item.items()}
        if flips:
            values = {k: v[..., ::-1] for k, v in values.items()}
            if self.mirrored is not None and "labels" in values:
                values["labels"] = self.mirrored[values["labels"]]
        tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in values.items()}
        if not (self.turn or self.scale or self.shift):
            return tensors
        h, w = next(iter(values.values())).shape[-2:]
        c, s = np.cos(angle) / size, np.sin(angle) / size
        matrix = torch.tensor([[[c, -s * h / w, move[0]], [s * w / h, c, move[1]]]], dtype=torch.float32)
        grid = torch.nn.functional.affine_grid(matrix, [1, 1, h, w], align_corners=False)
        return {k: _sampled(v, grid, is_image=k == "image") for k, v in tensors.items()}


def _sampled(values: Tensor, grid: Tensor, is_image: bool) -> Tensor:
    mode = "bilinear" if is_image else "nearest"
    above = values[None].float() + (1 if is_image else 0)  # so that zero is what lies beyond the rim
    found = torch.nn.functional.grid_sample(above, grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    return found - 1 if is_image else found.round().to(values.dtype)
