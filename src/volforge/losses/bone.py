"""L1 to a CT in which bone weighs more, and the edges inside of the body.

Ours. Painted pairs with the plain L1 gave bone that was too soft by 274 HU: it is a small part of a slice, and where it
lies is not sure, so that its mean with soft tissue is cheap.
"""

from __future__ import annotations

from torch import Tensor

from volforge.losses.structure import gradient_magnitude

BONE_HU = 150.0
FULL_HU = 750.0
EDGE_HU = 400.0


def pixel_weights(
    target: Tensor,
    window: tuple[float, float],
    bone: float = 2.0,
    edge: float = 0.0,
    inner: Tensor | None = None,
    full_hu: float = FULL_HU,
) -> Tensor:
    """1 + bone clip((HU - 150) / (full_hu - 150), 0, 1) + edge clip(|gradient| / 400 HU, 0, 1), the last inside only.

    Args:
        target: (N, 1, H, W), the CT, values -1 to 1.
        window: HU that -1 and 1 stand for.
        bone: Weight that full bone has on top.
        edge: Weight that a steep edge (400 HU over two pixels) has on top.
        inner: (N, 1, H, W), 0 or 1: where edges count, `masked.inside` of the body; None: everywhere.
        full_hu: HU from which bone has its full weight.

    Returns:
        (N, 1, H, W), from 1 to 1 + bone + edge; no gradient.

    Raises:
        ValueError: A window without width, a weight below 0, or `full_hu` not above 150.
    """
    low, high = window
    if high <= low or bone < 0 or edge < 0 or full_hu <= BONE_HU:
        raise ValueError("a window rises, weights are not below 0, full bone lies above 150 HU")
    per_unit = (high - low) / 2
    hu = low + per_unit * (target.detach().float() + 1)
    weights = 1 + bone * ((hu - BONE_HU) / (full_hu - BONE_HU)).clamp(0, 1)
    if edge:
        steep = (gradient_magnitude(hu) / EDGE_HU).clamp(0, 1)
        weights = weights + edge * (steep if inner is None else steep * inner.float())
    return weights


def bone_loss(
    fake: Tensor,
    target: Tensor,
    window: tuple[float, float],
    bone: float = 2.0,
    edge: float = 0.0,
    inner: Tensor | None = None,
    full_hu: float = FULL_HU,
) -> Tensor:
    """mean of weight |fake - target|; plain L1 where no weight is given.

    Args:
        fake: (N, 1, H, W), what was made, values -1 to 1.
        target, window, bone, edge, inner, full_hu: As `pixel_weights`.
    """
    apart = (fake.float() - target.float()).abs()
    return (pixel_weights(target, window, bone, edge, inner, full_hu) * apart).mean()
