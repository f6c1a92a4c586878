"""Class probabilities of a region, by Gaussian sliding windows, flips and ensembles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

OUTSIDE = -1.0  # normalised value beyond a region


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
    look = _once if all(n <= p for n, p in zip(image.shape[2:], patch, strict=True)) else _slide
    turned = [axes for n in range(len(flips) + 1) for axes in combinations([2 + f for f in flips], n)]
    dtype = torch.float16 if precision.startswith("16") else torch.bfloat16
    total: Tensor | None = None
    for one in networks:

        def softmax(x: Tensor, one: nn.Module = one) -> Tensor:
            found: Tensor = one(x).float().softmax(dim=1)
            return found

        for axes in turned:
            seen = image.flip(axes) if axes else image
            with torch.autocast(image.device.type, dtype, enabled=precision.endswith("mixed")):
                found = look(softmax, seen, patch, overlap, batch)
            found = found.flip(axes) if axes else found
            total = found if total is None else total + found
    assert total is not None
    return total / (len(networks) * len(turned))


Predict = Callable[[Tensor], Tensor]


def _once(predict: Predict, image: Tensor, patch: Sequence[int], overlap: float, batch: int) -> Tensor:
    """A region that one window covers: padded about its middle and cropped again, as the inferer does."""
    pads, crop = [], [slice(None), slice(None)]
    for n, p in zip(image.shape[2:], patch, strict=True):
        before = (p - n) // 2
        pads.append((before, p - n - before))
        crop.append(slice(before, before + n))
    flat = [side for pair in reversed(pads) for side in pair]
    return predict(functional.pad(image, flat, value=OUTSIDE))[tuple(crop)]


def _slide(predict: Predict, image: Tensor, patch: Sequence[int], overlap: float, batch: int) -> Tensor:
    from monai.inferers import SlidingWindowInferer  # its import takes seconds

    inferer = SlidingWindowInferer(tuple(patch), sw_batch_size=batch, overlap=overlap, mode="gaussian", cval=OUTSIDE)
    found = inferer(image, predict)
    assert isinstance(found, Tensor)
    return found
