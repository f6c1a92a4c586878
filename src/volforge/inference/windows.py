"""Class probabilities of a region, by Gaussian sliding windows, flips and ensembles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn


def probabilities(
    network: nn.Module | Sequence[nn.Module],
    image: Tensor,
    patch: Sequence[int],
    *,
    overlap: float = 0.5,
    flips: Sequence[int] = (),
    batch: int = 1,
    precision: str = "32-true",
) -> Tensor:
    """Softmax of a whole region: mean over windows (Gaussian weights), flips and networks.

    Args:
        network: One, or several of an ensemble, in evaluation mode.
        image: (N, 1, X, Y, Z), any size; smaller ones than the patch are padded and cropped again.
        patch: Window of the network.
        overlap: Of windows, as a share of them.
        flips: Axes (0 to 2); every combination of them is averaged.
        batch: Windows at a time.
        precision: `32-true`, `bf16-mixed` or `16-mixed`; the softmax is 32 bit.

    Returns:
        (N, C, X, Y, Z), 32 bit.
    """
    networks = [network] if isinstance(network, nn.Module) else list(network)
    inferer = SlidingWindowInferer(
        roi_size=tuple(patch), sw_batch_size=batch, overlap=overlap, mode="gaussian", cval=-1.0
    )
    turned = [axes for n in range(len(flips) + 1) for axes in combinations([2 + f for f in flips], n)]
    dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
    total: Tensor | None = None
    for one in networks:
        for axes in turned:
            seen = image.flip(axes) if axes else image
            with torch.autocast(image.device.type, dtype, enabled=precision.endswith("mixed")):
                found = inferer(seen, lambda x, n=one: n(x).float().softmax(dim=1))
            assert isinstance(found, Tensor)
            found = found.flip(axes) if axes else found
            total = found if total is None else total + found
    assert total is not None
    return total / (len(networks) * len(turned))
