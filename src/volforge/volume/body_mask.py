"""The body in a volume: couch, holder and clothing cut off; lungs, gas, arms, ears and nose kept.

The scheme, for CT and MR alike (only the threshold differs):

1. tissue: voxels above a threshold;
2. core: what a ball of `opening_mm` reaches inside the tissue, of that the largest component and every other
   one that looks like a part of a body (an arm lying free in the field of view);
3. pieces that the opening cut off (ears, nasal walls, fingers) return if they sit on the core with a large
   share of their surface, are shallow, and are no lighter than fat: a holder post or a couch touches with a
   few per cent of its surface only, foam and cloth are light;
4. a board that touches the body so broadly that the opening leaves it on is cut off;
5. cavities: airways open through nostrils, mouth or the cut of the field of view are sealed, and what is then
   enclosed is body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from volforge.config.models import BodyMask
from volforge.volume.boxes import bounding_box
from volforge.volume.cavities import COARSE_MM, cut_faces, fill_cavities
from volforge.volume.geometry import Array
from volforge.volume.intensity import values_in
from volforge.volume.local_noise import tissue_above
from volforge.volume.morphology import (
    Spacing,
    closing,
    component_boxes,
    components,
    dilate,
    distance_inside,
    enclosed,
    erode,
    largest_component,
    opening,
)
from volforge.volume.signal_threshold import signal_threshold

MIN_PIECE_MM3 = 20.0
MIN_MR_PIECE_MM3 = 300.0
EAR_CONTACT = 0.04
BOARD_MM = 10.0  # half the thickness of the thickest board that is recognised
BOARD_EXTENT_MM = 100.0
BOARD_CONTACT = 0.2
BOARD_DEPTH_MM = 30.0
FACES = ("left", "right", "posterior", "anterior", "inferior", "superior")
EAR_EXTENT_MM = 80.0
BONE_HU = 250
BONE_OUTSIDE = 0.2  # share of the bone outside from which on the body was not found, or not all of it
MIN_BONE_MM3 = 1000.0
VOID_MM = 4.0  # half the width of the voids (cortical bone) that part scalp and brain in MR


@dataclass
class BodyResult:
    """A body mask and what was decided on the way.

    Attributes:
        mask: Boolean array.
        threshold: Value above which a voxel is tissue.
        removed_mm3: Tissue voxels that are not body (couch, holder, noise).
        returned_pieces: Pieces put back after the opening.
        flags: What a reader of the picture should check.
    """

    mask: Array
    threshold: float
    removed_mm3: float = 0.0
    returned_pieces: int = 0
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Flesh:
    """Values that tell flesh: a sitting piece is at least `light`, a pinna lies in [`low`, `high`]."""

    light: float
    low: float
    high: float


def find_body(image: Array, spacing: Spacing, hounsfield: bool, settings: BodyMask | None = None) -> BodyResult:
    """The body mask of a canonical volume.

    Args:
        image: (X, Y, Z) in RAS order; HU for CT (and CBCT where calibrated), any positive scale else.
        spacing: Voxel size in mm.
        hounsfield: Whether the values are HU.
        settings: Thresholds and radii.

    Returns:
        The mask with its flags; `whole_grid_is_body` where no background is in view.
    """
    settings = settings or BodyMask()
    if settings.method == "none":
        return BodyResult(np.ones_like(image, dtype=bool), float("-inf"), flags=["body_mask_none"])
    if hounsfield:
        threshold = settings.threshold_hu
        flesh = Flesh(settings.piece_median_hu, -120.0, 150.0)
    else:
        found = signal_threshold(image, settings.threshold_fraction)
        if found is None:
            return BodyResult(np.ones_like(image, dtype=bool), float("-inf"), flags=["whole_grid_is_body"])
        threshold = found
        flesh = Flesh(1.2 * found, 2.0 * found, float("inf"))
    tissue = image > threshold if hounsfield else tissue_above(image, spacing, threshold)
    if not hounsfield:
        tissue = _without_specks(tissue, spacing)
    if not tissue.any():
        return BodyResult(tissue, threshold, flags=["no_body_found"])
    box = bounding_box(tissue, (2, 2, 2))
    part = _body_in_box(image[box], tissue[box], spacing, threshold, flesh, settings, hounsfield)
    mask = np.zeros_like(tissue)
    mask[box] = part.mask
    part.mask = mask
    faces = [cut for _, low, high in cut_faces(mask) for cut in (low, high)]
    if not hounsfield and all(faces) and _on_edges(mask) > 0.5:
        # a crop inside a body (dark fluid is not air): with air in view some face, or the grid's edges, lie in air
        part.mask = np.ones_like(image, dtype=bool)
        part.removed_mm3 = 0.0
    if part.mask.mean() > 0.995:
        part.flags.append("whole_grid_is_body")
    else:
        part.flags += [f"body_cut_{name}" for name, cut in zip(FACES, faces, strict=True) if cut]
    return part


def _body_in_box(
    image: Array,
    tissue: Array,
    spacing: Spacing,
    threshold: float,
    flesh: Flesh,
    settings: BodyMask,
    hounsfield: bool,
) -> BodyResult:
    voxel_mm3 = float(np.prod(spacing))
    if not hounsfield:  # bone is as dark as air: close it, or the scalp is parted from the brain
        tissue = fill_cavities(tissue | (closing(tissue, VOID_MM, spacing) & _deep(tissue, spacing)), spacing)
    core = _core(image, tissue, spacing, settings.opening_mm, hounsfield)
    flags = []
    if not core.any():
        core = _core(image, tissue, spacing, 0.0, hounsfield)
        flags = ["thin_body"]
    mask, returned, more = _body_on(core, image, tissue, spacing, flesh, settings)
    if hounsfield:
        bone = image > BONE_HU
        if float(bone.sum()) * voxel_mm3 >= MIN_BONE_MM3:
            if _outside(bone, mask) >= BONE_OUTSIDE and _is_no_patient(image, tissue & mask, bone):
                # a dry skull or inserts: thinner than the opening, in pieces, nothing that a board is thinner than
                core, flags = _bony_components(tissue, bone), ["thin_body"]
                mask, returned, more = fill_cavities(core, spacing), 0, []
            if _outside(bone, mask) >= BONE_OUTSIDE:
                flags.append("bone_outside_body")
    removed = int((tissue & ~mask).sum())
    if removed > int((tissue & mask).sum()):
        flags.append("more_removed_than_kept")
    return BodyResult(mask, threshold, removed * voxel_mm3, returned, flags + more)


def _body_on(
    core: Array, image: Array, tissue: Array, spacing: Spacing, flesh: Flesh, settings: BodyMask
) -> tuple[Array, int, list[str]]:
    """The body about a core: its pieces, cavities filled, boards cut off; how many pieces returned, and flags."""
    kept, returned = _return_pieces(image, tissue, core, spacing, flesh, settings)
    mask = fill_cavities(kept, spacing)
    board = _boards(mask, spacing)
    if not board.any():
        return mask, returned, []
    mask = fill_cavities(kept & ~board, spacing) & ~board
    return mask | enclosed(mask), returned, ["board_cut_off"]


def _outside(bone: Array, mask: Array) -> float:
    """Share of the bone that is not in a mask."""
    return float((bone & ~mask).sum() / bone.sum())


def _is_no_patient(image: Array, found: Array, bone: Array) -> bool:
    """Whether what was found is not mostly soft tissue, or is a solid thing without bone beside much bone."""
    values = values_in(image, found)
    if not values.size or ((values >= -150) & (values <= 150)).mean() < 0.5:
        return True
    return _outside(bone, found) > 0.9 and int(bone.sum()) >= 0.2 * values.size


def _bony_components(tissue: Array, bone: Array) -> Array:
    """The components of the tissue that hold a twentieth of the bone or more."""
    labels, counts = components(tissue, 6)
    held = np.bincount(labels[bone], minlength=len(counts))
    keep = held >= 0.05 * bone.sum()
    keep[0] = False
    return keep[labels]


def _without_specks(tissue: Array, spacing: Spacing) -> Array:
    """Tissue without components of noise and ghosts that are smaller than `MIN_MR_PIECE_MM3`."""
    labels, counts = components(tissue, 6)
    keep = counts * float(np.prod(spacing)) >= MIN_MR_PIECE_MM3
    if len(counts):
        keep[0] = False
    return keep[labels]


def _deep(tissue: Array, spacing: Spacing) -> Array:
    """What lies behind tissue: voxels that are not outside once gaps of twice `VOID_MM` are shut."""
    shut = closing(tissue, VOID_MM, spacing)
    return shut | enclosed(shut)


def _core(image: Array, tissue: Array, spacing: Spacing, radius_mm: float, hounsfield: bool) -> Array:
    """What the opening leaves: the largest component, and others that look like a part of a body."""
    solid = erode(tissue, radius_mm, spacing)
    labels, counts = components(solid, 6)
    if len(counts) < 2:
        return np.zeros_like(tissue)
    largest = 1 + int(np.argmax(counts[1:]))
    keep = np.zeros(len(counts), dtype=bool)
    keep[largest] = True
    order = np.argsort(counts[1:])[::-1] + 1
    for label in order[:40]:
        if label != largest and counts[label] >= 0.002 * counts[largest]:
            keep[label] = _looks_like_body(image[labels == label], hounsfield)
    return dilate(keep[labels], radius_mm, spacing) & tissue


def _looks_like_body(values: Array, hounsfield: bool) -> bool:
    """Whether a free component is flesh: soft tissue mostly, and in CT with bone in it as an arm has."""
    if not hounsfield:
        return len(values) > 0
    low, middle, high = np.percentile(values, [25, 50, 97])
    return bool(-150 <= middle <= 150 and low >= -200 and high >= 150)


def _boards(mask: Array, spacing: Spacing) -> Array:
    """Plates that touch the body so broadly that the first opening could not part them.

    On the filled mask (the chest wall is no plate there) a ball of `BOARD_MM` reaches the body but not a plate;
    of what it leaves over, pieces that are wide in two directions, reach far and touch with a small share of
    their surface are boards. A hand is too narrow, a fold of skin too shallow.
    """
    step = tuple(max(1, int(COARSE_MM / s)) for s in spacing)
    coarse = mask[:: step[0], :: step[1], :: step[2]]
    mm = (spacing[0] * step[0], spacing[1] * step[1], spacing[2] * step[2])
    thick = largest_component(opening(coarse, BOARD_MM, mm))
    none = np.zeros_like(mask)
    if not thick.any():
        return none
    pieces, counts = components(coarse & ~thick, 6)
    if len(counts) < 2:
        return none
    contact, surface = _contact_area(pieces, thick, mm, len(counts))
    boxes = component_boxes(pieces)
    found = np.zeros(len(counts), dtype=bool)
    for label in range(1, len(counts)):
        extents = sorted((s.stop - s.start) * d for s, d in zip(boxes[label], mm, strict=True))
        if extents[1] < BOARD_EXTENT_MM or contact[label] > BOARD_CONTACT * surface[label]:
            continue
        piece = pieces[boxes[label]] == label
        found[label] = _depth_mm(piece, boxes[label], thick, mm, BOARD_EXTENT_MM) > BOARD_DEPTH_MM
    if not found.any():
        return none
    board = dilate(found[pieces], 1.5 * max(mm), mm) & ~thick
    for axis in range(3):
        board = np.repeat(board, step[axis], axis=axis)
    return board[: mask.shape[0], : mask.shape[1], : mask.shape[2]] & mask


def _return_pieces(
    image: Array, tissue: Array, core: Array, spacing: Spacing, flesh: Flesh, settings: BodyMask
) -> tuple[Array, int]:
    """Put back the pieces that the opening cut off and that sit on the core.

    A first pass takes the pieces as they are; a second one takes the rest without its light voxels, which
    frees an ear that lies against a holder.
    """
    kept, count = _fitting_pieces(image, tissue & ~core, core, spacing, flesh, settings)
    rest = tissue & ~kept & (image >= flesh.light)
    freed, more = _fitting_pieces(image, rest, kept, spacing, flesh, settings)
    if more:  # the rim of a freed piece is light by partial volume only
        kept |= dilate(freed & ~kept, 1.5 * min(spacing), spacing) & tissue
    return kept, count + more


def _fitting_pieces(
    image: Array, rest: Array, core: Array, spacing: Spacing, flesh: Flesh, settings: BodyMask
) -> tuple[Array, int]:
    """The core with those components of `rest` that sit on it, and how many of more than a few voxels."""
    pieces, counts = components(rest, 6)
    if len(counts) < 2:
        return core.copy(), 0
    contact, surface = _contact_area(pieces, core, spacing, len(counts))
    share = contact / np.maximum(surface, 1e-9)
    volumes = counts * float(np.prod(spacing))
    keep = (share >= settings.piece_contact) & (volumes < MIN_PIECE_MM3)
    looked = (volumes >= MIN_PIECE_MM3) & (share >= EAR_CONTACT)
    looked[0] = False
    boxes = component_boxes(pieces) if looked.any() else []
    for label in np.flatnonzero(looked):
        box = boxes[label]
        piece = pieces[box] == label
        middle = float(np.median(image[box][piece]))
        extent = max((s.stop - s.start) * d for s, d in zip(box, spacing, strict=True))
        sits = share[label] >= settings.piece_contact and middle >= flesh.light
        # a pinna stands off the head on a narrow stalk, but it is small and as dense as skin
        is_ear = extent <= EAR_EXTENT_MM and flesh.low <= middle <= flesh.high
        if sits or is_ear:
            keep[label] = _depth_mm(piece, box, core, spacing, settings.piece_depth_mm) <= settings.piece_depth_mm
    keep[0] = False
    return core | keep[pieces], int((keep & (volumes >= MIN_PIECE_MM3)).sum())


def _contact_area(pieces: Array, core: Array, spacing: Spacing, count: int) -> tuple[Array, Array]:
    """Area in mm2 of every piece's surface that lies on the core, and of its whole surface."""
    order: Literal["C", "F"] = "F" if pieces.flags.f_contiguous else "C"
    labels, touches = pieces.ravel(order), core.ravel(order)
    places = np.flatnonzero(labels)  # pieces are few voxels of the grid
    own = labels[places]
    contact, surface = np.zeros(count), np.zeros(count)
    for axis, n in enumerate(pieces.shape):
        area = float(np.prod(spacing)) / spacing[axis]
        before = int(np.prod(pieces.shape[:axis] if order == "F" else pieces.shape[axis + 1 :]))
        along = places // before % n
        for move, inside in ((before, along < n - 1), (-before, along > 0)):
            here, there = own[inside], places[inside] + move
            edge = labels[there] != here
            hit = here[edge]
            surface += area * np.bincount(hit, minlength=count)
            contact += area * np.bincount(hit[touches[there[edge]]], minlength=count)
    return contact, surface


def _depth_mm(piece: Array, box: tuple[slice, slice, slice], core: Array, spacing: Spacing, limit: float) -> float:
    """How far, in mm, a piece stands off the core; infinite if the core is further than `limit` throughout."""
    margin = [int(limit / d) + 2 for d in spacing]
    wide = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
    near = core[wide]
    if not near.any():
        return float("inf")
    distance = distance_inside(~near, spacing)
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
    return float(distance[inner][piece].max())


def _on_edges(mask: Array) -> float:
    """Share of the voxels on the twelve edges of the grid that are body."""
    ends = [0, -1]
    edges = (mask[ends][:, ends], mask[ends][:, :, ends], mask[:, ends][:, :, ends])
    return float(np.concatenate([e.ravel() for e in edges]).mean())
