"""From a head CT to a clean binary skull, and the skull cap that implants are made in, cut out and put back.

Source: Li et al., Medical Image Analysis 73:102171 (2021) for threshold, largest component and cap. Differences: the
cap is measured in mm along the patient's axis, whatever the grid's axes and length, and goes back onto the whole grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.blocks import block_factor, block_means, blown_up
from volforge.volume.body_mask import BodyResult, find_body
from volforge.volume.boxes import Box, foreground_box
from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.morphology import Spacing, component_boxes, components, dilate

BONE_HU = 150.0
METAL_HU = 2500.0
METAL_MM3 = 50.0  # dental fillings and the noise of dense bone stay below, plates and screws do not
FRAGMENT_MM3 = 1000.0  # a bone flap in pieces: what is smaller is calcification or noise
HEAD_MARGIN_MM = 10.0
CAP_MM = 110.0
CAP_MARGIN_MM = 10.0


def skull_of_ct(
    hu: Array,
    spacing: Spacing,
    bone_hu: float = BONE_HU,
    most_hu: float | None = None,
    defective: bool = True,
    body_mm: float | None = None,
) -> Array:
    """The bone of a head CT as a mask: without couch, head holder, noise and loose calcifications.

    Bone is what lies above the threshold inside the body (`volume.body_mask`); of that the largest component (26
    neighbours) stays, with the cervical spine and the mandible where they touch.

    Args:
        hu: (X, Y, Z) along RAS, Hounsfield units.
        spacing: Voxel size in mm.
        bone_hu: Lowest value of bone.
        most_hu: Highest value of bone; None: no limit, metal counts as bone.
        defective: Also keep every component of 1 cm3 or more that lies mostly in the box of the largest one, grown by
            10 mm: fragments of a bone flap.
        body_mm: Voxels on which the body is looked for, much quicker than on fine ones; it then ends up to one such
            voxel further out. None: the scan's own.

    Returns:
        (X, Y, Z) bool.

    Raises:
        VolforgeError: No body, or no bone in it.
    """
    return skull_and_flags(hu, spacing, bone_hu, most_hu, defective, body_mm)[0]


def skull_and_flags(
    hu: Array,
    spacing: Spacing,
    bone_hu: float = BONE_HU,
    most_hu: float | None = None,
    defective: bool = True,
    body_mm: float | None = None,
) -> tuple[Array, tuple[str, ...]]:
    """The same as `skull_of_ct`, with what the search for the body flagged."""
    found = find_body(hu, spacing, True) if body_mm is None else _coarse_body(hu, spacing, body_mm)
    body = found.mask
    if not body.any():
        raise VolforgeError("no body was found in the CT", remedy="check that the values are HU (the sheet's `unit`)")
    bone = (hu >= bone_hu) & body
    if most_hu is not None:
        bone &= hu <= most_hu
    labels, counts = components(bone, 26)
    if len(counts) < 2:
        raise VolforgeError(
            f"no bone: no voxel of the body lies at {bone_hu:g} HU or above",
            remedy="check the sheet's `unit`, or lower the threshold",
        )
    counts[0] = 0
    largest = int(counts.argmax())
    kept = np.zeros(len(counts), bool)
    kept[largest] = True
    if defective:
        box = component_boxes(labels)[largest]
        margin = [int(np.ceil(HEAD_MARGIN_MM / s)) for s in spacing]
        head = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
        within = np.bincount(labels[head].ravel(order="K"), minlength=len(counts))
        kept |= (counts * float(np.prod(spacing)) >= FRAGMENT_MM3) & (2 * within > counts)
        kept[0] = False
    return kept[labels], tuple(found.flags)


def _coarse_body(hu: Array, spacing: Spacing, body_mm: float) -> BodyResult:
    """The body found on coarse voxels, grown by one of them: bone that skin hardly covers stays in it."""
    x, y, z = hu.shape
    grid = Grid((x, y, z), np.diag([*spacing, 1.0]))
    factor = block_factor(grid, body_mm)
    coarse, own = block_means(hu, grid, factor)
    found = find_body(np.rint(coarse).astype(np.int16), own.spacing_mm, True)
    wide = dilate(found.mask, 1.01 * max(own.spacing_mm), own.spacing_mm) if found.mask.any() else found.mask
    return replace(found, mask=blown_up(wide, factor, hu.shape))


def metal_mm3(hu: Array, spacing: Spacing, above_hu: float = METAL_HU) -> float:
    """Volume in mm3 above a value that bone does not reach.

    Args:
        hu: (X, Y, Z), Hounsfield units.
        spacing: Voxel size in mm.
        above_hu: That value.
    """
    return float(np.count_nonzero(hu > above_hu)) * float(np.prod(spacing))


def has_metal(hu: Array, spacing: Spacing) -> bool:
    """Whether a CT holds more metal (50 mm3 above 2500 HU) than bone and its noise can feign.

    A CT whose values end below 2500 HU cannot tell.
    """
    return metal_mm3(hu, spacing) > METAL_MM3


@dataclass(frozen=True)
class Cap:
    """The cap of a skull.

    Attributes:
        part: (X, Y, Z) bool: bone of the cap; false below its plane and beyond the grid of the skull.
        place: Where it lies on the skull's grid: a slice per axis, which may reach beyond that grid.
        affine: Of the part.
    """

    part: Array
    place: Box
    affine: Affine


def cap_of(skull: Array, affine: Affine, cap_mm: float = CAP_MM, margin_mm: float = CAP_MARGIN_MM) -> Cap:
    """The upper part of a skull: what lies up to `cap_mm` below its topmost bone along the patient's axis.

    The plane is perpendicular to the patient's axis, not to the grid's: an oblique grid gives the same bone. The box
    is that of the cap in the patient's axes, `margin_mm` of room around it; where the volume ends before, zeros follow.

    Args:
        skull: (X, Y, Z) bool, any axis order.
        affine: 4x4, voxel index to RAS mm.
        cap_mm: Height of the cap; what lies exactly so low belongs to it.
        margin_mm: Room above and beside the bone.

    Returns:
        The cap; `paste_back(cap.part, cap.place, skull.shape)` equals the skull above the plane and is zero below.

    Raises:
        VolforgeError: The skull is empty, or the cap has no height.
    """
    if cap_mm <= 0 or margin_mm < 0:
        raise VolforgeError(f"a cap of {cap_mm:g} mm with {margin_mm:g} mm of room is none", remedy="use lengths in mm")
    bone = foreground_box(skull)
    if bone is None:
        raise VolforgeError("the skull is empty", remedy="look at the mask, or at the threshold of bone")
    index = np.argwhere(skull[bone]) + [s.start for s in bone]
    places = index @ affine[:3, :3].T + affine[:3, 3]
    plane = places[:, 2].max() - cap_mm - 1e-6  # the rounding of the header's own numbers
    in_cap = places[places[:, 2] >= plane]
    low, high = in_cap.min(axis=0) - margin_mm, in_cap.max(axis=0) + margin_mm
    low[2] = plane
    corners = np.array(list(product(*zip(low, high, strict=True))))
    inverse = np.linalg.inv(affine)
    ends = corners @ inverse[:3, :3].T + inverse[:3, 3]
    first, last = np.ceil(ends.min(axis=0) - 1e-6).astype(int), np.floor(ends.max(axis=0) + 1e-6).astype(int)
    place = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    part_affine = Grid((1, 1, 1), affine).part(place).affine
    part = cut(skull, place)
    i, j, k = (np.arange(n) for n in part.shape)
    row = part_affine[2]
    part &= row[0] * i[:, None, None] + row[1] * j[None, :, None] + row[2] * k[None, None, :] + row[3] >= plane
    return Cap(part, place, part_affine)


def cut(volume: Array, place: Box, outside: float = 0) -> Array:
    """A box of a volume, of any other volume on the grid of a cap too.

    Args:
        volume: (X, Y, Z).
        place: A slice per axis, which may reach beyond the volume.
        outside: Value there.

    Returns:
        A new array of the size of the box, of the volume's dtype.
    """
    part = np.full(tuple(s.stop - s.start for s in place), outside, volume.dtype)
    whole, inner = _shared(place, volume.shape)
    part[inner] = volume[whole]
    return part


def paste_back(part: Array, place: Box, shape: tuple[int, ...]) -> Array:
    """A part on the grid that it was cut from: exact where it lies, zeros elsewhere.

    Args:
        part: Of the size of its place: a cap, or an implant on the grid of one.
        place: Where it was cut out.
        shape: Of the whole grid.

    Raises:
        VolforgeError: The part has not the size of its place.
    """
    size = tuple(s.stop - s.start for s in place)
    if part.shape != size:
        raise VolforgeError(f"a part of {part.shape} voxels does not fit a place of {size}")
    whole, inner = _shared(place, shape)
    volume = np.zeros(shape, part.dtype)
    volume[whole] = part[inner]
    return volume


def _shared(place: Box, shape: tuple[int, ...]) -> tuple[Box, Box]:
    """What a box and a grid have in common: as a part of the grid, and as a part of the box."""
    whole = tuple(slice(min(max(s.start, 0), n), min(max(s.stop, 0), n)) for s, n in zip(place, shape, strict=True))
    return whole, tuple(
        slice(w.start - s.start, w.stop - s.start) if w.stop > w.start else slice(0, 0)
        for w, s in zip(whole, place, strict=True)
    )
