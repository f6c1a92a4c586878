"""A cap in patches: cut in a fixed order, pasted as they are, or blended where they overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from volforge.tasks.implant.grids import cut
from volforge.volume.geometry import Array

Three = tuple[int, int, int]


def tile_starts(shape: Sequence[int], patch: Sequence[int]) -> list[Three]:
    """First voxels of the patches that cover a cap without overlap, x-major; the last ones may reach beyond it."""
    counts = [max(1, -(-n // p)) for n, p in zip(shape, patch, strict=True)]
    a, b, c = patch
    return [(i * a, j * b, k * c) for i in range(counts[0]) for j in range(counts[1]) for k in range(counts[2])]


def hard_tiles(
    answer: Callable[[Tensor], Tensor], cap: Array, patch: Sequence[int], overlap: float = 0.0, device: str = "cpu"
) -> Array:
    """What a network answers to the patches of a cap, pasted side by side.

    Args:
        answer: (1, 1, X, Y, Z) to as much.
        cap: (X, Y, Z).
        patch: Voxels of a patch.
        overlap: Has no meaning here.
        device: Where it runs.

    Returns:
        (X, Y, Z), float32.
    """
    del overlap
    found = np.zeros(cap.shape, np.float32)
    for start in tile_starts(cap.shape, patch):
        image = torch.from_numpy(cut(cap, np.array(start), patch).astype(np.float32))[None, None]
        tile = answer(image.to(device))[0, 0].float().cpu().numpy()
        here = tuple(slice(s, min(s + p, n)) for s, p, n in zip(start, patch, cap.shape, strict=True))
        found[here] = tile[tuple(slice(0, h.stop - h.start) for h in here)]
    return found


def gaussian_tiles(
    answer: Callable[[Tensor], Tensor], cap: Array, patch: Sequence[int], overlap: float = 0.5, device: str = "cpu"
) -> Array:
    """What a network answers to overlapping patches: means with Gaussian weights; see `hard_tiles`."""
    from monai.inferers import sliding_window_inference

    image = torch.from_numpy(np.ascontiguousarray(cap, np.float32))[None, None].to(device)
    found = sliding_window_inference(image, tuple(patch), 1, answer, overlap=overlap, mode="gaussian")
    assert isinstance(found, Tensor)
    return np.asarray(found[0, 0].float().cpu().numpy())
