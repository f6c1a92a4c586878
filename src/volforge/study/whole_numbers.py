"""Ids of label maps that other programs made."""

from __future__ import annotations

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.geometry import Array


def whole_numbers(values: Array, file: str) -> Array:
    """Ids of a predicted label map, which other programs often save as decimal numbers.

    Raises:
        VolforgeError: Values that are no ids.
    """
    if values.dtype.kind in "iub" and (values.size == 0 or values.min() >= 0):
        return values
    if not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise VolforgeError(
            f"not a label map: {count} values are not finite (NaN or infinity)", file, "save ids as whole numbers"
        )
    rounded = np.rint(values)
    if not np.array_equal(rounded, values) or values.min() < 0 or values.max() > 65535:
        raise VolforgeError(
            f"not a label map: values from {values.min():g} to {values.max():g}", file, "save ids as whole numbers"
        )
    return rounded.astype(np.uint16)
