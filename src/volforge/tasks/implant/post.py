"""From a predicted mask to one that can be an implant: in a fixed order, every step with what it took or gave.

Source: methods, sections 5.2 and 5.3; the thinning is that of the MWod entry of the AutoImplant challenge 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from volforge.errors import VolforgeError
from volforge.volume.boxes import Box, foreground_box, grown
from volforge.volume.geometry import Array
from volforge.volume.morphology import (
    Spacing,
    closing,
    component_boxes,
    components,
    distance_inside,
    enclosed,
    opening,
)

MARGIN_MM = 10.0
MOST_OFFSETS = 125  # of a gap that is measured to the faces of voxels, direction by direction


@dataclass(frozen=True)
class PostOptions:
    """What is done to a predicted implant, in mm.

    Attributes:
        open_mm: Radius of the ball of the opening that takes films off; 0: none.
        open_most_percent: An opening that takes more than this is skipped: the implant is as thin as its ball.
        max_components: So many of the largest pieces are kept (2 for defects on both sides).
        min_cm3: Smaller pieces go, even the largest.
        fill_holes: Enclosed cavities become implant.
        close_border: The seam between implant and bone is closed by one voxel.
        gap_mm: Clearance: the implant loses what lies nearer to bone (to its voxels' faces); 0: none.
        outside_mm: The implant loses what lies further outside of the convex hull of the bone; None: nothing.
        thin_ratio: Share of the volume that thinning from inside leaves (0.6 to 0.7 as in clinics); None: none.
    """

    open_mm: float = 1.0
    open_most_percent: float = 15.0
    max_components: int = 1
    min_cm3: float = 0.0
    fill_holes: bool = True
    close_border: bool = False
    gap_mm: float = 0.0
    outside_mm: float | None = None
    thin_ratio: float | None = None

    def __post_init__(self) -> None:
        if min(self.open_mm, self.min_cm3, self.gap_mm, self.outside_mm or 0.0) < 0 or self.max_components < 1:
            raise VolforgeError("lengths and volumes are 0 or more, pieces 1 or more", "post-processing", str(self))
        if self.thin_ratio is not None and not 0 < self.thin_ratio <= 1:
            raise VolforgeError(f"thin_ratio is above 0 and at most 1, not {self.thin_ratio:g}", "post-processing")


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        step: Its name.
        before_mm3, after_mm3: Volume.
        note: Why it was skipped; empty where it was not.
    """

    step: str
    before_mm3: float
    after_mm3: float
    note: str = ""

    @property
    def removed_mm3(self) -> float:
        """Volume taken off; below 0 where some was added."""
        return self.before_mm3 - self.after_mm3

    @property
    def record(self) -> dict[str, object]:
        """As JSON holds it."""
        return {
            "step": self.step,
            "before_mm3": round(self.before_mm3, 3),
            "removed_mm3": round(self.removed_mm3, 3),
            "note": self.note,
        }


def postprocess(
    implant: Array, defective: Array, spacing: Spacing, options: PostOptions | None = None
) -> tuple[Array, list[Step]]:
    """Make a predicted mask one that can be an implant. It never overlaps with bone.

    The order: less bone; opening; pieces; holes; border; clearance; outside of the head; thinning. The work is done in
    the implant's box with a margin.

    Args:
        implant: (X, Y, Z), above 0 (or true) where an implant was predicted.
        defective: Defective skull on the same grid.
        spacing: Voxel size in mm.
        options: What is done.

    Returns:
        (X, Y, Z) bool, and the steps.

    Raises:
        VolforgeError: grids differ.
    """
    options = options or PostOptions()
    if implant.shape != defective.shape:
        raise VolforgeError(f"grids differ: {implant.shape} and {defective.shape}", "post-processing", "use one grid")
    whole = np.zeros(implant.shape, bool)
    box = foreground_box(implant)
    if box is None:
        return whole, []
    margin = max(MARGIN_MM, options.open_mm + 1, options.gap_mm + 1)
    wide = grown(box, [int(np.ceil(margin / s)) + 1 for s in spacing], implant.shape)
    bone = np.ascontiguousarray(defective[wide] > 0)
    worked = _Worked(np.ascontiguousarray(implant[wide] > 0), float(np.prod(spacing)))
    worked.take("minus_bone", worked.mask & ~bone)
    if options.open_mm > 0:
        _open(worked, options, spacing)
    _keep(worked, options)
    if options.fill_holes:
        # a cavity between implant and bone alone is none of the implant's
        worked.take("fill_holes", worked.mask | (enclosed(worked.mask) & ~bone))
    if options.close_border:
        worked.take("close_border", worked.mask | (_near(worked.mask, _joined(worked.mask | bone, spacing)) & ~bone))
    if options.gap_mm > 0:
        left = worked.mask & ~nearer_to(bone, spacing, options.gap_mm)
        meets = bool((worked.mask & nearer_to(bone, spacing, 0.51 * max(spacing))).any())
        sides = " x ".join(f"{s:.2g}" for s in spacing)
        coarse = f"nothing was taken: voxels of {sides} mm are too coarse for a gap of {options.gap_mm:g} mm"
        worked.take("clearance", left, coarse if meets and np.array_equal(left, worked.mask) else "")
    if options.outside_mm is not None:
        worked.take("outside_head", near_hull(worked.mask, defective, wide, spacing, options.outside_mm))
    if options.thin_ratio is not None:
        worked.take("thin", _thinned_each(worked.mask, _middle(defective, wide), spacing, options.thin_ratio))
    if options.gap_mm > 0 or options.outside_mm is not None or options.thin_ratio is not None:
        _keep(worked, options, "small_pieces")  # what these left in crumbs
    whole[wide] = worked.mask
    return whole, worked.steps


class _Worked:
    """A mask on its way, and what was done to it."""

    def __init__(self, mask: Array, voxel_mm3: float):
        self.mask, self.voxel = mask, voxel_mm3
        self.steps: list[Step] = []

    def take(self, step: str, mask: Array, note: str = "") -> None:
        before, after = (float(np.count_nonzero(m)) * self.voxel for m in (self.mask, mask))
        self.steps.append(Step(step, before, after, note))
        self.mask = mask


def _open(worked: _Worked, options: PostOptions, spacing: Spacing) -> None:
    opened = opening(worked.mask, options.open_mm, spacing)
    count = int(np.count_nonzero(worked.mask))
    lost = 100 * (count - int(np.count_nonzero(opened))) / max(count, 1)
    if lost > options.open_most_percent:
        note = f"skipped: it would take {lost:.1f} percent"
        worked.take("open", worked.mask, note)
    else:
        worked.take("open", opened)


def _keep(worked: _Worked, options: PostOptions, step: str = "components") -> None:
    labels, counts = components(worked.mask, 26)
    order = 1 + np.argsort(-counts[1:], kind="stable")
    kept = [i for i in order[: options.max_components] if counts[i] * worked.voxel >= 1000 * options.min_cm3]
    worked.take(step, np.isin(labels, kept))


def nearer_to(bone: Array, spacing: Spacing, gap_mm: float) -> Array:
    """Voxels whose middle lies nearer to the faces of bone voxels than a gap, (X, Y, Z) bool; bone itself among them.

    Args:
        bone: (X, Y, Z) bool.
        spacing: Voxel size in mm.
        gap_mm: The gap. Half a voxel across is the least that takes anything.
    """
    reach = [int(np.floor(gap_mm / s + 0.5)) for s in spacing]
    if np.prod([2 * r + 1 for r in reach]) > MOST_OFFSETS:  # fine voxels: distances run between middles
        return np.asarray(distance_inside(~bone, spacing) - np.float32(0.5 * np.prod(spacing) ** (1 / 3)) < gap_mm)
    found = bone.copy()
    for offset in product(*(range(-r, r + 1) for r in reach)):
        apart = [max(abs(o) - 0.5, 0.0) * s for o, s in zip(offset, spacing, strict=True)]
        if any(offset) and float(np.linalg.norm(apart)) < gap_mm:
            here = tuple(slice(max(o, 0), n + min(o, 0)) for o, n in zip(offset, bone.shape, strict=True))
            there = tuple(slice(max(-o, 0), n + min(-o, 0)) for o, n in zip(offset, bone.shape, strict=True))
            found[here] |= bone[there]
    return found


def _joined(mask: Array, spacing: Spacing) -> Array:
    """A closing by one voxel."""
    return closing(mask, 1.01 * max(spacing), spacing)


def _near(mask: Array, others: Array) -> Array:
    """Those of other voxels that lie within two voxels of a mask."""
    from scipy.ndimage import binary_dilation

    return others & binary_dilation(mask, iterations=2)


def near_hull(mask: Array, bone: Array, box: Box, spacing: Spacing, outside_mm: float) -> Array:
    """The voxels of a mask that lie inside of the convex hull of the bone, or less than a distance outside.

    Over a wide hole the hull is flat: the distance must leave room for the bulge of what was there.

    Args:
        mask: (x, y, z) bool, in a box of the bone's grid.
        bone: (X, Y, Z), the whole defective skull.
        box: Where the mask lies.
        spacing: mm.
        outside_mm: How far outside of the hull still counts.
    """
    from scipy.spatial import ConvexHull

    skull = bone > 0
    lines = skull.any(axis=2)
    x, y = np.nonzero(lines)
    # of every line of voxels the ends are enough
    low = skull.argmax(axis=2)[lines]
    high = skull.shape[2] - 1 - skull[:, :, ::-1].argmax(axis=2)[lines]
    ends = np.concatenate([np.stack([x, y, low], 1), np.stack([x, y, high], 1)]) * np.array(spacing)
    if len(ends) < 5 or np.linalg.matrix_rank(ends - ends[0]) < 3:
        return mask.copy()
    planes = _merged(ConvexHull(ends).equations)
    places = ((np.argwhere(mask) + np.array([s.start for s in box])) * np.array(spacing)).astype(np.float32)
    inside = np.ones(len(places), bool)
    for first in range(0, len(places), 20_000):
        part = places[first : first + 20_000]
        out = part @ planes[:, :3].T.astype(np.float32) + planes[:, 3].astype(np.float32)
        inside[first : first + 20_000] = out.max(axis=1) <= outside_mm + 1e-3
    found = np.zeros_like(mask)
    found[mask] = inside
    return found


def _merged(planes: Array, degrees: float = 4.0) -> Array:
    """Planes of a hull, one of those of nearly one direction: a smooth hull has thousands, and this adds 0.2 mm."""
    kept = planes[:1]
    for plane in planes[1:]:
        if float((kept[:, :3] @ plane[:3]).max()) < np.cos(np.radians(degrees)):
            kept = np.concatenate([kept, plane[None]])
    return kept


def _middle(bone: Array, box: Box) -> Array:
    """Centroid of the bone in voxels of a box, (3,)."""
    found = []
    for axis, s in enumerate(box):
        count = np.count_nonzero(bone, axis=tuple(a for a in range(3) if a != axis))
        found.append(float((count * np.arange(len(count))).sum() / max(count.sum(), 1)) - s.start)
    return np.array(found)


def _thinned_each(mask: Array, centre: Array, spacing: Spacing, ratio: float) -> Array:
    """Every piece thinned in its own direction: those of two sides of a head point apart."""
    labels, counts = components(mask, 26)
    found = np.zeros_like(mask)
    boxes = component_boxes(labels)
    for number in range(1, len(counts)):
        begin = np.array([s.start for s in boxes[number]])
        found[boxes[number]] |= thinned(labels[boxes[number]] == number, centre - begin, spacing, ratio)
    return found


def thinned(mask: Array, centre: Array, spacing: Spacing, ratio: float) -> Array:
    """A thinner implant: moved outwards step by step and cut with itself, until a share of its volume is left.

    The implant's outer surface stays where it is, the inner one rises.

    Args:
        mask: (X, Y, Z) bool.
        centre: (3,) voxels, the middle of the skull.
        spacing: mm.
        ratio: Share of the volume that is left, 0 to 1.
    """
    count = int(np.count_nonzero(mask))
    if not count or ratio >= 1:
        return mask.copy()
    places = np.argwhere(mask)
    way = (places.mean(axis=0) - centre) * np.array(spacing)
    way /= max(float(np.linalg.norm(way)), 1e-9)
    kept = mask
    step = 0.5 * min(spacing)
    for n in range(1, 2000):
        moved = np.zeros_like(mask)
        shifted = places + np.rint(n * step * way / np.array(spacing)).astype(int)
        inside = ((shifted >= 0) & (shifted < mask.shape)).all(axis=1)
        moved[tuple(shifted[inside].T)] = True
        now = mask & moved
        if np.count_nonzero(now) < ratio * count:
            # of the last two the nearer to what was asked for
            errors = [abs(np.count_nonzero(m) - ratio * count) for m in (kept, now)]
            return kept if errors[0] <= errors[1] else now
        kept = now
    return kept
