"""The cavities of a body: enclosed, or open through nostrils, mouth or the cut of the field of view."""

from __future__ import annotations

import numpy as np

from volforge.volume.geometry import Array
from volforge.volume.morphology import Spacing, closing, components, dilate, enclosed, erode, face

SEAL_MM = 5.0  # closes nostrils, ear canals and a trachea cut by the field of view
DEEP_MM = 8.0  # air this far from the outside is a cavity, not a fold of the skin
POCKET_EXIT = 0.5  # share of its largest section with which a pocket of thick slices leads out
COARSE_MM = 2.0


def fill_cavities(mask: Array, spacing: Spacing, seal_mm: float = SEAL_MM) -> Array:
    """Add the cavities of a body: enclosed ones, and those open through a narrow mouth.

    Outside is the air that a ball of `seal_mm` reaches from the open faces of the grid. Air further than
    `DEEP_MM` from it lies in a cavity (nose, trachea, ear canal), and so does what joins that to the outside,
    up to the mouth; shallow folds of the skin and the ground behind the ears stay outside. A cavity cut by a
    face of the grid counts as inside where body encloses it within that face. What stays outside is joined
    (6-neighbours) to the air beyond the faces so closed: no air is enclosed.
    """
    filled = mask | enclosed(mask)
    step = tuple(max(1, int(COARSE_MM / s)) for s in spacing)  # cavities are found on a grid of 2 mm
    coarse = filled[:: step[0], :: step[1], :: step[2]]
    coarse_spacing = (spacing[0] * step[0], spacing[1] * step[1], spacing[2] * step[2])
    cavity = _cavities(coarse, coarse_spacing, seal_mm)
    if cavity.any():
        near = cavity
        for axis in range(3):
            near = np.repeat(near, step[axis], axis=axis)
        near = near[: mask.shape[0], : mask.shape[1], : mask.shape[2]]
        filled |= near
    cuts = cut_faces(filled)
    for axis, low, high in cuts:
        for index, is_cut in ((0, low), (-1, high)):
            if is_cut:
                plane = face(filled, axis, index)
                plane |= _enclosed_in_face(plane, axis, cuts)
    return filled | enclosed(filled)  # rims that only the open face joined to the outside


def _cavities(mask: Array, spacing: Spacing, seal_mm: float) -> Array:
    """The air of deep cavities, up to their mouths, on a coarse grid."""
    pad = [int(np.ceil(2 * seal_mm / s)) + 1 for s in spacing]
    padded = mask
    cuts = cut_faces(mask)
    for axis, low, high in cuts:  # beyond a face that cuts the body the body goes on
        for before, is_cut in ((True, low), (False, high)):
            width = [(0, 0)] * 3
            width[axis] = (pad[axis], 0) if before else (0, pad[axis])
            if is_cut:
                padded = np.pad(padded, width, mode="edge")
                plane = face(padded, axis, 0 if before else -1)
                sealed = closing(plane[:, :, None], seal_mm, _without(spacing, axis))[:, :, 0]
                plane |= _enclosed_in_face(sealed, axis, cuts)
            else:
                padded = np.pad(padded, width, mode="constant")
    air = ~padded
    reached = dilate(erode(air, seal_mm, spacing), seal_mm, spacing) & air
    reached &= ~_pockets(reached, spacing, seal_mm)
    reached &= ~enclosed(~reached)
    if not reached.any():
        return np.zeros_like(mask)
    deep = air & erode(~reached, DEEP_MM, spacing)
    deep = dilate(deep, DEEP_MM, spacing) & air & ~reached
    return deep[tuple(slice(p, p + n) for p, n in zip(pad, mask.shape, strict=True))]


def _pockets(reached: Array, spacing: Spacing, seal_mm: float) -> Array:
    """What of the reached air is closed within its slice, where slices are thicker than the seal.

    No ball seals the steps between such slices: a chest wall that is oblique, or thinner than a slice, moves by more
    than its own width, so that lung lies on outer air. Pockets that join across slices are one; it leads out if it
    lies on outer air with `POCKET_EXIT` of its largest section or more, as the gap between an arm and the trunk does.
    """
    axis = int(np.argmax(spacing))
    if spacing[axis] <= seal_mm or spacing[axis] < 1.5 * sorted(spacing)[1]:
        return np.zeros_like(reached)
    slices = np.moveaxis(reached, axis, 2)
    count = slices.shape[2]
    apart = np.ones((*slices.shape[:2], 2 * count - 1), dtype=bool)  # closed layers keep the slices apart
    apart[:, :, ::2] = ~slices
    pocket = enclosed(apart, ((True, True), (True, True), (False, False)))[:, :, ::2]
    labels, counts = components(pocket, 6)
    per_slice = np.zeros((len(counts), count))
    exits = np.zeros(len(counts))
    outer = slices & ~pocket
    for k in range(count):
        per_slice[:, k] = np.bincount(labels[:, :, k].ravel(), minlength=len(counts))
        for beside in (k - 1, k + 1):
            if 0 <= beside < count:
                area = np.bincount(labels[:, :, k][outer[:, :, beside]], minlength=len(counts))
                exits = np.maximum(exits, area)
    keep = exits < POCKET_EXIT * per_slice.max(axis=1)
    keep[0] = False
    return np.moveaxis(keep[labels], 2, axis)


def cut_faces(mask: Array) -> list[tuple[int, bool, bool]]:
    """Per axis, whether the body reaches the low and the high face of the grid."""
    return [(a, bool(face(mask, a, 0).any()), bool(face(mask, a, -1).any())) for a in range(3)]


def _without(spacing: Spacing, axis: int) -> Spacing:
    rest = [s for a, s in enumerate(spacing) if a != axis]
    return rest[0], rest[1], 1.0


def _enclosed_in_face(plane: Array, axis: int, cuts: list[tuple[int, bool, bool]]) -> Array:
    """The air of a face that body encloses, (rows, columns) as `plane`.

    A side of the face along which the next face is cut as well leads out at its corners only: a lung that the
    field of view cuts on two sides lies at the edge between them.
    """
    sides = [(low, high) for a, low, high in cuts if a != axis]
    closed = np.pad(plane, 1)
    for across, (low, high) in enumerate(sides):
        for index, is_cut in ((0, low), (-1, high)):
            if is_cut:
                key: list[int | slice] = [slice(2, -2)] * 2
                key[across] = index
                closed[tuple(key)] = True
    return enclosed(closed[:, :, None], ((True, True), (True, True), (False, False)))[1:-1, 1:-1, 0] & ~plane
