"""Closed planar contours to voxels. A voxel belongs where its centre lies inside; what lies on the line has a rule.

Contours whose corners all lie at voxel centres were drawn from a mask (as `cv2.findContours` does): their line runs
through the outermost voxels of what they border. So the line of an outer contour belongs to the structure, and the
line of a hole belongs to the wall around it; one voxel and a row of voxels, which enclose nothing, are kept. In other
contours a centre that happens to lie on the line counts as inside where the area touches it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Array

MOST_APART = 6.0  # voxels: planes further apart are no stack of slices
BRIDGED = 2.5  # times the distance of planes: gaps up to this are filled from the nearest plane
MOST_OFF_PLANE = 0.25  # voxels by which the points of a contour may leave their plane
AT_CENTRE = 0.02  # voxels by which the corners of a contour drawn from a mask may miss centres (rounded mm)
ROUNDED = 1e-4  # voxels: rounding of coordinates that were exact


class Contour(NamedTuple):
    """Points (n, 3) of a closed contour, and whether it is combined with others by exclusive or."""

    points: Array
    is_xor: bool = False


class Area(NamedTuple):
    """What a contour encloses on the voxels of its plane.

    Attributes:
        closed: The voxels with its line: what it adds.
        open: The voxels without its line: what it takes away as a hole.
        window: The part of the plane that holds them.
        size: Enclosed area in voxels.
        around: Length of the line in voxels.
        is_drawn: Whether all its corners lie at voxel centres.
    """

    closed: Array
    open: Array
    window: tuple[slice, slice]
    size: float
    around: float
    is_drawn: bool


def fill_contours(
    polygons: list[Contour], shape: tuple[int, int, int], name: str
) -> tuple[Array, list[str], list[str]]:
    """Fill planar contours given in voxel indices.

    Args:
        polygons: Points in voxel indices (centres at whole numbers), on planes across one axis of the grid.
        shape: Of the grid.
        name: How messages call them.

    Returns:
        Mask (bool), flags and notes.

    Raises:
        ScanError: contours that lie across no axis of the grid.
    """
    flags, notes = set(), []
    # a point or two enclose nothing, but may be voxels drawn from a mask (their plane may lie off the slice)
    enclosing = [p for p in polygons if len(p.points) > 2 or sum(map(_is_at_centres, p.points.T)) >= 2]
    if len(enclosing) < len(polygons):
        few = len(polygons) - len(enclosing)
        notes.append(f"{few} contours of '{name}' have fewer than three points and were left out")
        polygons = enclosing
    if not polygons:
        return np.zeros(shape, dtype=bool, order="F"), [], notes
    spread = np.array([np.ptp(p.points, axis=0) for p in polygons])
    flattest = spread.max(axis=0)
    axis = int(np.flatnonzero(flattest <= flattest.min() + ROUNDED)[-1])  # single voxels lie flat on every axis
    if spread[:, axis].max() > 2 * MOST_OFF_PLANE:
        raise ScanError(
            f"contours of '{name}' lie oblique to the image's slices",
            remedy="export the structures as a volume, or draw them on this series",
        )
    heights, planes = _planes(polygons, axis)
    gaps = np.diff(heights)
    # the distance of planes is the smallest usual gap; a far one is a hole, or no neighbour at all
    apart = float(np.percentile(gaps, 10, method="lower")) if len(gaps) else 1.0
    apart = apart if apart <= MOST_APART else 1.0
    if apart > 1.5 or (gaps > 1.5 * max(apart, 1.0)).any():
        flags.add("contours_sparse")
    if np.abs(heights - np.rint(heights)).max() > MOST_OFF_PLANE:
        flags.add("contours_between_slices")
    holes = int((gaps > BRIDGED * max(apart, 1.0)).sum())
    if holes:
        notes.append(f"'{name}' has {holes} gaps between its contours, which were left empty")
    leaving = _leaving(heights, planes, axis, shape)
    if leaving:
        flags.add("labels_leave_image")
        notes.append(
            f"{leaving} of {len(polygons)} contours of '{name}' leave the image and were cut off at its border"
        )
    across = tuple(int(n) for n in np.delete(shape, axis))
    mask = np.zeros(shape, dtype=bool, order="F")
    reach = max(0.5, apart / 2)
    low, high = np.floor(heights[0] - reach), np.ceil(heights[-1] + reach)
    drawn: dict[int, Array] = {}
    walls = 0
    for z in range(int(max(0, low)), int(min(shape[axis], high + 1))):
        nearest = int(np.abs(heights - z).argmin())
        after = int(np.searchsorted(heights, z))
        between = 0 < after < len(heights) and gaps[after - 1] <= BRIDGED * max(apart, 1.0)
        if not between and not -reach < z - heights[nearest] <= reach + 1e-6:
            continue
        if nearest not in drawn:
            filled, do_cross, thin = fill_plane(planes[nearest], axis, across)
            drawn = {nearest: filled}
            flags |= {"contours_cross"} if do_cross else set()
            walls += thin
        place: list[slice | int] = [slice(None)] * 3
        place[axis] = z
        mask[tuple(place)] = drawn[nearest]
    if walls:
        flags.add("contours_twice")
        notes.append(f"{walls} contours of '{name}' stand twice along voxel centres: read as walls of one voxel")
    return mask, sorted(flags), notes


def _planes(polygons: list[Contour], axis: int) -> tuple[Array, list[list[Contour]]]:
    """Contours by plane: heights that differ by rounding only are one plane."""
    ordered = sorted(polygons, key=lambda p: float(p.points[:, axis].mean()))
    heights = np.array([float(p.points[:, axis].mean()) for p in ordered])
    gaps = np.diff(heights)
    typical = float(np.median(gaps[gaps > 0.05])) if (gaps > 0.05).any() else 1.0
    groups: list[list[int]] = [[0]]
    for i, gap in enumerate(gaps, start=1):
        if gap > min(0.25, 0.3 * typical):
            groups.append([])
        groups[-1].append(i)
    return np.array([heights[g].mean() for g in groups]), [[ordered[i] for i in g] for g in groups]


def _leaving(heights: Array, planes: list[list[Contour]], axis: int, shape: tuple[int, int, int]) -> int:
    """How many contours reach voxels beyond the image: on planes of no slice of it, or across its sides."""
    sides = np.delete(np.array(shape), axis)
    count = 0
    for height, contours in zip(heights, planes, strict=True):
        is_beyond = not 0 <= np.floor(height + 0.5 + 1e-6) < shape[axis]
        for contour in contours:
            flat = np.delete(contour.points, axis, axis=1)
            count += bool(is_beyond or (flat <= -1 + ROUNDED).any() or (flat >= sides - ROUNDED).any())
    return count


def area_of(points: Array, shape: tuple[int, ...]) -> Area:
    """What a polygon encloses; points (n, 2) in voxels, centres at whole numbers."""
    from skimage.measure import grid_points_in_poly, points_in_poly

    whole, is_drawn = np.rint(points), _is_at_centres(points)
    points = whole if is_drawn else np.where(np.abs(points - whole) <= ROUNDED, whole, points)
    after = np.roll(points, -1, axis=0)
    size = abs(float((points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]).sum())) / 2
    around = float(np.linalg.norm(points - after, axis=1).sum())
    closed, inner = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    low = np.clip(np.floor(points.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, low, shape).astype(int)
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    size_there, there = tuple(int(n) for n in high - low), points - low
    if 0 in size_there:
        return Area(closed, inner, window, size, around, is_drawn)
    if len(there) < 3:
        closed[window] = _line(there.astype(int), size_there) if is_drawn else False
        return Area(closed, inner, window, size, around, is_drawn)
    place = grid_points_in_poly(size_there, there, binarize=False)  # 0 outside, 1 inside, 2 and 3 on the line
    closed[window], inner[window] = place > 0, place == 1
    if is_drawn:
        line = _line(there.astype(int), size_there)
        closed[window] |= line
        inner[window] &= ~line
    elif (place > 1).any():
        on_line = np.argwhere(place > 1)
        nudges = np.array([(1.0, 0.37), (-0.37, 1.0), (-1.0, -0.37), (0.37, -1.0)]) * 1e-3
        beside = np.stack([points_in_poly(on_line + nudge, there) for nudge in nudges])
        at = tuple((on_line + low).T)
        closed[at] = beside.any(axis=0)  # a line there and back (to a hole, between islands) has no area
        inner[at] = beside.all(axis=0)
    return Area(closed, inner, window, size, around, is_drawn)


def _is_at_centres(points: Array) -> bool:
    """Whether all points are voxel centres."""
    return bool((np.abs(points - np.rint(points)) <= AT_CENTRE).all())


def _line(corners: Array, shape: tuple[int, ...]) -> Array:
    """The voxel centres that the edges between whole-numbered corners (n, 2) run through, as a mask."""
    line = np.zeros(shape, dtype=bool)
    for start, way in zip(corners, np.roll(corners, -1, axis=0) - corners, strict=True):
        steps = max(int(np.gcd(*way)), 1)
        through = start + np.arange(steps + 1)[:, None] * (way // steps)
        through = through[((through >= 0) & (through < shape)).all(axis=1)]
        line[tuple(through.T)] = True
    return line


def fill_plane(contours: list[Contour], axis: int, shape: tuple[int, ...]) -> tuple[Array, bool, int]:
    """The contours of one plane as a mask, whether some cross each other, and the number of walls of one voxel.

    A contour that lies (to 95 %) inside of a larger one is its hole, one inside of a hole an island, and so on. A
    contour that stands twice counts once; one drawn twice along voxel centres is a wall of one voxel.
    """
    areas = [area_of(np.delete(c.points, axis, axis=1), shape) for c in contours]
    order = sorted(range(len(areas)), key=lambda i: -areas[i].size)
    result = np.zeros(shape, dtype=bool)
    xors = [i for i in order if contours[i].is_xor]
    for n, i in enumerate(xors):
        is_hole = sum(_lies_in(areas[i], areas[k]) for k in xors[:n]) % 2
        result ^= areas[i].open if is_hole else areas[i].closed
    kept: list[int] = []
    depth: dict[int, int] = {}
    do_cross, walls = False, 0
    for i in (i for i in order if not contours[i].is_xor):
        twin = next((k for k in kept if _is_twin(areas[i], areas[k])), None)
        if twin is not None and not (areas[i].is_drawn and areas[twin].is_drawn):
            continue  # stored twice
        walls += twin is not None and areas[i].size > 0 and _differing(areas[i], areas[twin]) == 0
        parents = [k for k in kept if _lies_in(areas[i], areas[k])]
        depth[i] = len(parents)
        common = (_common(areas[i], areas[k]) for k in kept if k not in parents)
        do_cross |= any(c > 0.5 * areas[i].around for c in common)
        kept.append(i)
    for i in sorted(kept, key=lambda i: depth[i]):
        result = result & ~areas[i].open if depth[i] % 2 else result | areas[i].closed
    return result, do_cross, walls


def _common(area: Area, other: Area) -> int:
    """Number of voxels that two contours both enclose; only where their windows meet, since a plane may hold many."""
    pairs = zip(area.window, other.window, strict=True)
    window = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    if any(w.stop <= w.start for w in window):
        return 0
    return int(np.count_nonzero(area.closed[window] & other.closed[window]))


def _count(area: Area) -> int:
    return int(np.count_nonzero(area.closed[area.window]))


def _differing(area: Area, other: Area) -> int:
    """Number of voxels that one of two contours encloses alone."""
    return _count(area) + _count(other) - 2 * _common(area, other)


def _is_twin(area: Area, other: Area) -> bool:
    """Whether two contours enclose the same but for a tenth of their line."""
    return _differing(area, other) <= 0.1 * area.around


def _lies_in(area: Area, other: Area) -> bool:
    count = _count(area)
    return count > 0 and _common(area, other) >= 0.95 * count
