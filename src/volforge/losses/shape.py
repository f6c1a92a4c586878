"""The outline that an extractor reads off a made slice, against the body mask of what it was made from.

Source: Ge et al., SPIE 2019: the mean absolute difference, times 10. The Dice form is ours; it lets lungs and air be
left out, which an extractor may read as body or not.
"""

from __future__ import annotations

from torch import Tensor

SMALL = 1.0  # pixels: keeps empty slices finite


def shape_l1(logits: Tensor, body: Tensor) -> Tensor:
    """mean |sigmoid(logits) - body| over all pixels.

    Args:
        logits: (N, 1, H, W) of the extractor for made images.
        body: (N, 1, H, W), 0 to 1: mask of the source.

    Returns:
        0 to 1.
    """
    return (logits.float().sigmoid() - body.float()).abs().mean()


def shape_dice(logits: Tensor, body: Tensor, counted: Tensor | None = None) -> Tensor:
    """1 - soft Dice of the extractor's outline and a body, mean over the samples.

    Args:
        logits: (N, 1, H, W) of the extractor for made images.
        body: (N, 1, H, W), 0 to 1: mask of the source.
        counted: (N, 1, H, W), 0 or 1: pixels that count, without lungs and air inside; None: all.

    Returns:
        0 to 1; one pixel is added to both parts of the fraction, so that an empty slice that is read as empty costs 0.
    """
    found, wanted = logits.float().sigmoid(), body.float()
    if counted is not None:
        found, wanted = found * counted.float(), wanted * counted.float()
    overlap = (found * wanted).flatten(1).sum(dim=1)
    total = (found + wanted).flatten(1).sum(dim=1)
    return (1 - (2 * overlap + SMALL) / (total + SMALL)).mean()
