"""The published 2-D background rule, as its paper's code has it (methods: semantic synthesis, 2.1 and 2.2).

Each slice is stretched from its own minimum and maximum to 0..255; pixels above 45 form components of
4-connectivity; components of more than 1000 pixels keep their values, all else becomes 0. Lungs and bowel gas
are lost and the couch may stay: kept for comparison only.
"""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array

THRESHOLD = 45
MIN_AREA = 1000


def stretch_slice(values: Array) -> Array:
    """A slice as uint8: floor(255 * (x - min) / (max - min)); a constant slice becomes 0."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if high == low:
        return np.zeros(values.shape, np.uint8)
    return np.floor(255 * (values - low) / (high - low)).astype(np.uint8)


def remove_background(image: Array) -> Array:
    """Keep the pixels of a uint8 slice that lie in a large bright component, set the others to 0."""
    import cc3d

    bright = image > THRESHOLD
    labels = cc3d.connected_components(np.ascontiguousarray(bright), connectivity=4)
    large = np.bincount(labels.ravel()) > MIN_AREA
    large[0] = False
    return np.where(large[labels], image, np.uint8(0))
