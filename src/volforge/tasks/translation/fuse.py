"""Images of several views as one: the median or the mean of what they say of a voxel.

Source: multi-view learning of Ge et al., SPIE 2019, as its abstract has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array


def check_fusion(how: str) -> None:
    """Refuse another word than `median` or `mean`.

    Raises:
        VolforgeError: It is another one.
    """
    if how not in ("median", "mean"):
        raise VolforgeError(f"no way '{how}' to join views", "fuse", "one of median, mean")


def fused(images: Sequence[Array], how: str = "median") -> Array:
    """Voxel by voxel one value of several images.

    Args:
        images: One or more of one shape, (X, Y, Z).
        how: `median`, or `mean`; of two images both are the same.

    Returns:
        In the dtype of the images; integers are rounded, halves to even.

    Raises:
        VolforgeError: Another word, or shapes that differ.
    """
    check_fusion(how)
    if len({i.shape for i in images}) != 1:
        shown = ", ".join(sorted({str(i.shape) for i in images}))
        raise VolforgeError(f"images of several shapes: {shown}", "", "join images of one grid")
    first = images[0]
    if len(images) == 1:
        return first
    joined = np.median if how == "median" else np.mean
    found = np.empty(first.shape, first.dtype, order="F")
    for z in range(first.shape[2]):
        values = joined(np.stack([i[:, :, z] for i in images]).astype(np.float32), axis=0)
        found[:, :, z] = np.rint(values) if first.dtype.kind in "iu" else values
    return found
