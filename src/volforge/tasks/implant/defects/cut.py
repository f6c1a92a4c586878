"""Taking a shape out of a vault, and what makes it a defect: one piece that sits in bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.bone import cut
from volforge.tasks.implant.defects.shapes import Shape
from volforge.tasks.implant.defects.vault import Vault
from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Array
from volforge.volume.morphology import components, face


@dataclass(frozen=True)
class Cut:
    """What a shape takes out of a vault.

    Attributes:
        index: (N, 3) voxels of `Vault.bone`.
        taken: A box of those, (X, Y, Z) bool, one voxel of room around them.
        bone: The bone in that box.
        one_piece: Share, 0 to 1, of what the shape met that was one piece; only that piece was taken.
    """

    index: Array
    taken: Array
    bone: Array
    one_piece: float

    def on_grid(self, skull: Array) -> Array:
        """The taken voxels as a mask on the grid of the skull that the vault was found in."""
        box = foreground_box(skull)
        assert box is not None  # the vault was found in it
        index = self.index[:, ::-1] if skull[box].strides[0] < skull[box].strides[-1] else self.index
        mask = np.zeros_like(skull, bool)
        mask[tuple(index[:, a] + box[a].start for a in range(3))] = True
        return mask


def frame_about(normal: Array, turn: float) -> Array:
    """Axes of a place: rows are two of the surface and the normal.

    Args:
        normal: (3,) unit vector, RAS.
        turn: Radians that the first axis is turned about the normal, from the one that points up (on the vertex,
            forward).
    """
    helper = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) < 0.8 else np.array([0.0, 1.0, 0.0])
    up = helper - (helper @ normal) * normal
    up /= np.linalg.norm(up)
    aside = np.cross(normal, up)
    first = np.cos(turn) * up + np.sin(turn) * aside
    return np.stack([first, np.cross(normal, first), normal])


def cut_out(vault: Vault, shape: Shape, place: Array, axes: Array) -> Cut:
    """Take a shape out of a vault: its bone and no other, neither the skull base nor the far side.

    Args:
        vault: Of the skull.
        shape: In mm about the place.
        place: (3,) RAS mm.
        axes: (3, 3), rows, RAS: the shape's axes.

    Returns:
        The cut: the largest piece (26 neighbours) of what the shape meets, and crumbs that would hang on nothing.
    """
    index, local, _ = vault.near(place, axes, shape.reach_mm)
    index = index[shape.contains(local)]
    if not len(index):
        empty = np.zeros((1, 1, 1), bool)
        return Cut(index, empty, empty, 0.0)
    low, high = index.min(axis=0) - 1, index.max(axis=0) + 2
    met = np.zeros(high - low, bool)
    met[tuple((index - low).T)] = True
    labels, counts = components(met, 26)
    taken = labels == 1 + int(counts[1:].argmax())
    bone = cut(vault.bone, tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
    taken |= _cut_loose(bone, taken)
    return Cut((np.argwhere(taken) + low).astype(np.int32), taken, bone, float(counts[1:].max() / counts[1:].sum()))


def _cut_loose(bone: Array, taken: Array) -> Array:
    """What of the remaining bone was one piece with the taken and now hangs on nothing."""
    labels, counts = components(bone & ~taken, 26)
    loose = np.ones(len(counts), bool)
    loose[0] = False
    for axis in range(3):
        for end in (0, -1):
            loose[np.unique(face(labels, axis, end))] = False  # goes on beyond the box
    if not loose.any():
        return np.zeros_like(taken)
    before, _ = components(bone, 26)
    return loose[labels] & np.isin(before, np.unique(before[taken]))


def contact_mm2(drawn: Cut, spacing_mm: Array) -> float:
    """Area of the voxel faces that taken and remaining bone share, mm2."""
    left = drawn.bone & ~drawn.taken
    area = 0.0
    for axis in range(3):
        face = float(np.prod(spacing_mm) / spacing_mm[axis])
        before = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        after = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        shared = (drawn.taken[before] & left[after]) | (left[before] & drawn.taken[after])
        area += face * np.count_nonzero(shared)
    return area
