"""The published resampling of caps: quadratic splines, without a filter before, of binary volumes."""

from __future__ import annotations

import numpy as np

from volforge.tasks.implant.grids import Frame, cut
from volforge.volume.geometry import Array

ORDER = 2


def spline_down(volume: Array, frame: Frame) -> Array:
    """A cap on a grid by quadratic splines; values leave 0 to 1 a little, as published.

    Args:
        volume: (X, Y, Z) of the scan, boolean.
        frame: Of whole voxels at its faces.

    Returns:
        Shape of the frame, float32.
    """
    from scipy.ndimage import zoom

    first, size = _native(frame)
    cap = cut(volume, first, size).astype(np.float32)
    factors = [n / m for n, m in zip(frame.shape, size, strict=True)]
    return np.asarray(zoom(cap, factors, order=ORDER, mode="constant"), np.float32)


def spline_up(answer: Array, frame: Frame, shape: tuple[int, ...]) -> Array:
    """A binary answer on the scan's grid by quadratic splines, where 0.5 is its threshold again.

    Args:
        answer: Shape of the frame, boolean.
        frame: As in `spline_down`.
        shape: Of the scan.
    """
    from scipy.ndimage import zoom

    from volforge.tasks.implant.grids import native_frame

    first, size = _native(frame)
    factors = [m / n for n, m in zip(frame.shape, size, strict=True)]
    cap = zoom(answer.astype(np.float32), factors, order=ORDER, mode="constant")
    return native_frame(first.tolist(), size).back(np.clip(cap, 0, 1), shape)


def _native(frame: Frame) -> tuple[Array, list[int]]:
    """First voxel and number of voxels of the cap that a frame is stretched over."""
    return frame.first, [round(n * s) for n, s in zip(frame.shape, frame.step, strict=True)]
