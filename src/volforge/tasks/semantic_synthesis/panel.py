"""A picture of a case's samples: label map, real image where there is one, and every sample side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from volforge.study.case_picture import PERCENT, TILE, WINDOW_HU
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array
from volforge.volume.picture import GAP, RGB, contact_sheet, plane, render, spread


def sample_panel(
    labels: Array,
    real: Array | None,
    samples: Sequence[Array],
    spacing: Sequence[float],
    colours: Mapping[int, RGB],
    hounsfield: bool,
    rows: int = 3,
) -> Array:
    """A sheet with one row per axial slice, spread over what is labelled.

    Args:
        labels: (X, Y, Z) ids.
        real: (X, Y, Z) image of the same scan, or None.
        samples: (X, Y, Z) images of the label map.
        spacing: mm.
        colours: RGB by id.
        hounsfield: Values are HU, else percent.
        rows: Number of slices.

    Returns:
        (rows, columns, 3) uint8.
    """
    box = bounding_box(labels > 0, (4, 4, 0)) if labels.any() else (slice(None),) * 3
    shape = labels[box].shape
    scale = TILE / max(n * s for n, s in zip(shape[:2], spacing, strict=False))
    size = (max(1, round(shape[1] * spacing[1] * scale)), max(1, round(shape[0] * spacing[0] * scale)))
    window = WINDOW_HU if hounsfield else PERCENT
    images = [v for v in (real, *samples) if v is not None]
    tiles = []
    for z in spread(0, shape[2] - 1, rows):
        tiles.append(render(None, (0, 1), size, None, plane(labels[box], 2, z).astype(np.int64), colours))
        tiles += [render(plane(v[box], 2, z), window, size) for v in images]
    return contact_sheet(tiles, columns=1 + len(images), gap=GAP)
