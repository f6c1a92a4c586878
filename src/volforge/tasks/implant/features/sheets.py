"""Feature maps as pictures: one tile a channel, framed by what it does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from volforge.volume.geometry import Array
from volforge.volume.picture import RGB, contact_sheet

FRAMES: dict[str, RGB] = {"shape": (86, 180, 233), "hole": (230, 159, 0), "": (90, 90, 90)}  # Okabe and Ito
FRAME = 2
TILE = 64
LEGEND = "Blue frame: follows the bone that stands; orange: the missing piece; grey: neither."


def viridis(flat: Array) -> Array:
    """(rows, columns) values from 0 to 1 as (rows, columns, 3) uint8."""
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](np.clip(flat, 0, 1), bytes=True))[..., :3]


def tile(flat: Array, kind: str, longest: int = TILE) -> Array:
    """One channel.

    Args:
        flat: (a, b) values from 0 to 1, patient axes; shown as `volforge.volume.picture.plane` shows planes.
        kind: `shape`, `hole` or empty: the colour of the frame.
        longest: Pixels of the longer side, without the frame; voxels stay squares, whole maps are not blurred.
    """
    from PIL import Image

    seen = flat.T[::-1, ::-1]
    scale = longest / max(seen.shape)
    size = (max(1, round(seen.shape[1] * scale)), max(1, round(seen.shape[0] * scale)))
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    picture = np.asarray(Image.fromarray(viridis(seen)).resize(size, way))
    return np.stack([np.pad(picture[..., k], FRAME, constant_values=c) for k, c in enumerate(FRAMES[kind])], axis=-1)


def sheet(flat: Array, classes: Sequence[str], longest: int = TILE) -> Array:
    """All channels of a stage, row by row in their order.

    Args:
        flat: (channels, a, b) values from 0 to 1.
        classes: Of each channel.
        longest: Pixels of the longer side of a tile.

    Returns:
        (rows, columns, 3) uint8.
    """
    tiles = [tile(f, c, longest) for f, c in zip(flat, classes, strict=True)]
    height, width = tiles[0].shape[:2]
    columns = min(len(tiles), math.ceil(math.sqrt(len(tiles) * 1.8 * height / width)))
    return contact_sheet(tiles, columns)
