"""The same joint scanned again: its bones on voxels that lie elsewhere by parts of a voxel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from volforge.shape.field import near_cubic, signed_distance
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import bounding_box
from volforge.volume.resample import resample_to


def rescanned(masks: dict[str, Array], grid: Grid, shifts: int, seed: int) -> Iterator[tuple[dict[str, Array], Grid]]:
    """Masks on shifted grids: what another scan of the same bones, a little moved, would have been labelled as.

    Args:
        masks: (X, Y, Z) bool by name.
        grid: Their grid.
        shifts: How many.
        seed: Of the shifts, uniform over one voxel.

    Yields:
        The masks of one shift and their grid.
    """
    every = np.logical_or.reduce(list(masks.values()))
    box = bounding_box(every, (3, 3, 3))
    corner = np.array([s.start for s in box])
    affine = grid.affine.copy()
    affine[:3, 3] = grid.affine[:3, 3] + grid.affine[:3, :3] @ corner
    x, y, z = every[box].shape
    own = Grid((x, y, z), affine)
    far = float(np.linalg.norm(own.extent_mm))
    fields = {}
    for name, mask in masks.items():
        fine, fine_grid = near_cubic(mask[box], own)
        field = np.clip(signed_distance(fine, fine_grid.spacing_mm), -far, far) if fine.any() else None
        fields[name] = (field, fine_grid)
    generator = np.random.default_rng(seed)
    for _ in range(shifts):
        moved = affine.copy()
        moved[:3, 3] += affine[:3, :3] @ generator.uniform(-0.5, 0.5, 3)
        onto = Grid(own.shape, moved)
        found = {}
        for name, (field, fine_grid) in fields.items():
            if field is None:
                found[name] = np.zeros(own.shape, bool)
            else:
                found[name] = resample_to(field, fine_grid, onto, nearest=False, outside=far) < 0
        yield found, onto
