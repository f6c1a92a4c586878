"""PatchNCE: a patch of a made image is to be told from all others as the one at its own place in the source.

Source: Park et al., ECCV 2020 (CUT), equations 3 and 4: temperature 0.07, other patches of the same image as negatives,
keys without a gradient. Keys are of the source, queries of what was made from it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.07


def patch_nce(query: Tensor, key: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of finding a query's place among the keys of its image, mean over patches and images.

    Args:
        query: (N, P, C), of length 1: embedded patches of made images.
        key: (N, P, C), of length 1: those of the sources at the same places; no gradient flows to them.
        temperature: What similarities are divided by.

    Returns:
        Nats, at least 0; log P where all patches look alike.

    Raises:
        ValueError: Shapes that differ, or a temperature that is not above 0.
    """
    if query.shape != key.shape or query.dim() != 3 or temperature <= 0:
        raise ValueError(
            f"queries {tuple(query.shape)} and keys {tuple(key.shape)} must be (N, P, C), the temperature above 0"
        )
    n, p, _ = query.shape
    logits = torch.bmm(query.float(), key.detach().float().transpose(1, 2)) / temperature
    places = torch.arange(p, device=query.device).expand(n, p)
    return functional.cross_entropy(logits.flatten(0, 1), places.flatten())
