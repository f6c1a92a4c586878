"""The mesh of a whole skull: to print it beside its implant, and to turn it on a page."""

from __future__ import annotations

import numpy as np

from volforge.shape.mesh import Mesh
from volforge.shape.meshlab import simplified
from volforge.tasks.implant.making.scene import level_surface, occupancy
from volforge.volume.blocks import block_factor, block_means
from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import components, enclosed

COARSE_MM = 1.4
LEAST_MM3 = 300.0


def skull_mesh(skull: Array, grid: Grid, faces: int) -> Mesh:
    """The surface of a skull on voxels of about 1.4 mm, cavities in the bone filled, small pieces left out.

    A skull of a scanner has millions of faces, most of them of the marrow's cavities: a printer wants neither.

    Args:
        skull: (X, Y, Z) bool; not empty.
        grid: Its grid.
        faces: About so many.

    Returns:
        RAS mm, closed, faces outwards.
    """
    box = foreground_box(skull)
    assert box is not None
    part = grid.part(box)
    coarse, own = block_means(skull[box], part, block_factor(part, COARSE_MM))
    field = np.pad(occupancy(coarse, own.spacing_mm), 1)
    solid = field > 0.5
    labels, counts = components(solid, 6)
    small = counts * own.voxel_mm3 < LEAST_MM3
    small[0] = False
    small[1 + int(counts[1:].argmax())] = False
    field[small[labels]] = 0.0
    field[enclosed(solid)] = 1.0
    affine = own.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.ones(3)
    return simplified(level_surface(field, affine), faces, same_topology=True)
