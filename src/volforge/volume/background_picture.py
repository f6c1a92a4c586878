"""What the removal of the background takes away: axial slices as they came, and with air outside of the body."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array
from volforge.volume.intensity import values_in
from volforge.volume.picture import GAP, grey_range, plane, render, spread

FILE = "background.png"
ROWS = 3
WIDTH = 240  # pixels of a slice
WINDOW_HU = (-1000.0, 400.0)  # couches and holders are faint
BRIGHT_HU = 200.0  # above air
BRIGHT_SHARE = 0.1  # of the body's 95th percentile, where values have no unit
LEAST = 1e-4  # share of the volume that must be bright outside of the body, for a picture to show something


def takes_much(image: Array, body: Array, air: float, modality: str) -> bool:
    """Whether so much is bright outside of the body that a picture shows it.

    Args:
        image: (X, Y, Z) as it came.
        body: (X, Y, Z) bool.
        air: Value that is put outside.
        modality: `CT`, or `MR` for values without a unit.
    """
    if modality == "CT":
        level = air + BRIGHT_HU
    else:
        inside = values_in(image, body)[:: max(1, int(np.count_nonzero(body)) // 200_000)]
        level = air + BRIGHT_SHARE * float(np.percentile(inside, 95) - air) if inside.size else np.inf
    return bool(np.count_nonzero((image > level) & ~body) > LEAST * image.size)


def background_columns(
    before: Array, after: Array, body: Array | None, spacing: tuple[float, float, float], grey: tuple[float, float],
    grey_after: tuple[float, float] | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Two columns of the same axial slices.

    Args:
        before: (X, Y, Z), the body outlined where it is known.
        after: (X, Y, Z) on the same grid.
        body: (X, Y, Z) bool, or None: the slices are spread over the whole volume.
        spacing: mm.
        grey: Values that are black and white.
        grey_after: The same of `after`, where that has another scale.

    Returns:
        Both (rows, WIDTH, 3) uint8.
    """
    nx, ny, nz = before.shape
    size = (max(1, round(ny * spacing[1] * WIDTH / (nx * spacing[0]))), WIDTH)
    box = bounding_box(body)[2] if body is not None and body.any() else slice(0, nz)
    chosen = spread(box.start, box.stop - 1, ROWS)
    left = [render(plane(before, 2, z), grey, size, plane(body, 2, z) if body is not None else None) for z in chosen]
    right = [render(plane(after, 2, z), grey_after or grey, size) for z in chosen]
    return _stacked(left), _stacked(right)


def write_background(
    path: Path, before: Array, body: Array, air: float, spacing: tuple[float, float, float], modality: str
) -> None:
    """Write the picture of a scan, both columns side by side; nothing where nothing is to be seen."""
    from PIL import Image

    if not takes_much(before, body, air, modality):
        return
    grey = WINDOW_HU if modality == "CT" else grey_range(before, modality, body)
    after = np.where(body, before, np.asarray(air, before.dtype))
    Image.fromarray(np.concatenate(background_columns(before, after, body, spacing, grey), axis=1)).save(path)


def read_background(path: Path) -> tuple[Array, Array] | None:
    """The two columns of `write_background`; None where there is no picture."""
    from PIL import Image

    if not path.exists():
        return None
    both = np.asarray(Image.open(path).convert("RGB"))
    return both[:, :WIDTH], both[:, WIDTH:]


def _stacked(tiles: list[Array]) -> Array:
    gap = np.zeros((GAP, WIDTH, 3), np.uint8)
    return np.concatenate([part for tile in tiles for part in (gap, tile)][1:])
