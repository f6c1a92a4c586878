"""The structure terms that tie an image to its source, by their names in the configuration."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from volforge.losses.structure import gradient_correlation, mind_distance, mutual_information

OF_NAME: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gradient": gradient_correlation,
    "mind": mind_distance,
    "information": mutual_information,
}
LEVELS = {"gradient": 0.43, "mind": 0.266, "information": 1.072}
"""Means over true pairs of middle slices of 20 heads that tune (SynthRAD2023), 2 mm, -1000 to 1800 HU, 8 mm inside."""


def structure_term(name: str, image: Tensor, source: Tensor, deep: Tensor) -> Tensor:
    """A term of each image that has pixels in `deep`.

    Args:
        name: `gradient` (correlation of gradients), `mind` (distance), `information` (normalised, mutual).
        image, source: (N, 1, H, W), values -1 to 1.
        deep: (N, 1, H, W), 0 or 1: the body without its rim.
    """
    return OF_NAME[name](image, source, deep)
