"""Both joints of a scan opened: sagittal, coronal and axial plane through each negative volume."""

from __future__ import annotations

import numpy as np

from volforge.tasks.negative_volume.ids import IDS
from volforge.tasks.negative_volume.joints import SIDES
from volforge.volume.boxes import bounding_box, holding
from volforge.volume.geometry import Array
from volforge.volume.picture import GAP, RGB, contact_sheet, plane, render

TILE = 220
MARGIN_MM = 6.0
BONE_HU = (-500.0, 1500.0)
JOINT_SPACE: RGB = (0, 158, 115)
REST: RGB = (86, 180, 233)


def joint_picture(image: Array | None, bones: Array, values: Array, spacing: tuple[float, float, float]) -> Array:
    """A sheet with one row per side: bones outlined in orange, joint space green, the rest of the volume blue.

    Args:
        image: (X, Y, Z) HU, or None.
        bones: Above 0 where bone was taken to lie.
        values: Ids of negative volumes, as `IDS`.
        spacing: mm.

    Returns:
        (rows, columns, 3) uint8.
    """
    colours = {ids["joint_space"]: JOINT_SPACE for ids in IDS.values()} | {ids["rest"]: REST for ids in IDS.values()}
    tiles = []
    for side in SIDES:
        own = holding(values, list(IDS[side].values()))
        if not own.any():
            tiles += [np.zeros((TILE, TILE, 3), np.uint8)] * 3
            continue
        margin = tuple(int(np.ceil(MARGIN_MM / s)) for s in spacing)
        box = bounding_box(own, (margin[0], margin[1], margin[2]))
        core = values == IDS[side]["joint_space"]
        middle = np.argwhere(core if core.any() else own).mean(axis=0)
        for axis in (0, 1, 2):
            view = tuple(slice(None) if a == axis else box[a] for a in range(3))
            index = round(float(middle[axis]))
            flat = [
                None if v is None else plane(v[view], axis, index) for v in (image, bones > 0, np.where(own, values, 0))
            ]
            tiles.append(render(flat[0], BONE_HU, (TILE, TILE), flat[1], flat[2], colours, 0.5))
    return contact_sheet(tiles, columns=3, gap=GAP)
