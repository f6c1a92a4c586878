"""The outline that an extractor reads off a made slice, against the body mask of what it was made from.

Source: Ge et al., SPIE 2019: the mean absolute difference, times 10.
"""

from __future__ import annotations

from torch import Tensor


def shape_l1(logits: Tensor, body: Tensor) -> Tensor:
    """mean |sigmoid(logits) - body| over all pixels.

    Args:
        logits: (N, 1, H, W) of the extractor for made images.
        body: (N, 1, H, W), 0 to 1: mask of the source.

    Returns:
        0 to 1.
    """
    return (logits.float().sigmoid() - body.float()).abs().mean()
