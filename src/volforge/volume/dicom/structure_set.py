"""Structure sets (RTSTRUCT): closed contours to voxels. A voxel belongs where its centre lies inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from volforge.errors import ScanError
from volforge.volume.dicom.headers import DAMAGE, read_dataset
from volforge.volume.dicom.names import matched_names
from volforge.volume.geometry import Array
from volforge.volume.label_map import LabelMap, Target

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
MOST_APART = 6.0  # voxels: planes further apart are no stack of slices
BRIDGED = 2.5  # times the distance of planes: gaps up to this are filled from the nearest plane
MOST_OFF_PLANE = 0.25  # voxels by which the points of a contour may leave their plane


class Contour(NamedTuple):
    """Points (n, 3) of a closed contour, and whether it is combined with others by exclusive or."""

    points: Array
    is_xor: bool = False


def read_structure_set(file: Path, target: Target | None, structures: Mapping[str, int]) -> LabelMap:
    """Read the contours of a structure set onto the image's grid.

    On one plane a contour inside of another is a hole, contours beside each other are joined, the same contour
    twice counts once, and contours that cross are joined and flagged; those of the type CLOSEDPLANAR_XOR are
    combined by exclusive or. Each slice takes the nearest contour plane within half the distance of the planes, so
    that contours of thick slices fill a finer image.

    Raises:
        ScanError: no image; another frame of reference; contours that follow no axis of the image; damage.
    """
    if target is None:
        raise ScanError("contours need an image's grid", remedy="fill the sheet's image column")
    try:
        dataset = read_dataset(file)
        names = {int(r.ROINumber): str(r.get("ROIName", "")) for r in dataset.StructureSetROISequence}
        frames = {
            int(r.ROINumber): str(r.get("ReferencedFrameOfReferenceUID", "") or "")
            for r in dataset.StructureSetROISequence
        }
        contours: dict[int, list[Contour]] = defaultdict(list)
        skipped = 0
        for roi in dataset.get("ROIContourSequence") or []:
            for contour in roi.get("ContourSequence") or []:
                points = np.array([float(v) for v in contour.get("ContourData") or []])
                if contour.get("ContourGeometricType") in CLOSED and points.size >= 9 and points.size % 3 == 0:
                    is_xor = contour.ContourGeometricType == "CLOSEDPLANAR_XOR"
                    contours[int(roi.ReferencedROINumber)].append(Contour(points.reshape(-1, 3), is_xor))
                else:
                    skipped += 1
    except DAMAGE as error:
        raise ScanError(f"the structure set is damaged ({error})", remedy="export it again") from error
    elsewhere = _other_frames(frames, target)
    wanted, notes = matched_names({n: t for n, t in names.items() if n not in elsewhere}, structures)
    if elsewhere:
        listed = ", ".join(sorted(names[n] for n in elsewhere))
        notes.append(f"drawn in another frame of reference, and left out: {listed}")
    if skipped:
        notes.append(f"{skipped} contours that are points, open, or of fewer than three points were left out")
    dtype = np.uint8 if max(structures.values()) < 256 else np.uint16
    result = LabelMap(np.zeros(target.grid.shape, dtype=dtype, order="F"), target.grid, notes=notes)
    inverse = np.linalg.inv(target.grid.affine)
    for number, structure in sorted(wanted.items(), key=lambda item: structures[item[1]]):
        polygons = [
            Contour((c.points * [-1, -1, 1]) @ inverse[:3, :3].T + inverse[:3, 3], c.is_xor)
            for c in contours.get(number, [])
        ]
        if not polygons:
            result.notes.append(f"structure '{structure}' has no closed contour")
            continue
        mask, flags, more = fill_contours(polygons, target.grid.shape, names[number])
        result.notes += more
        result.lay(structure, structures[structure], mask)
        result.flags += [f for f in flags if f not in result.flags]
    if not result.array.any():
        raise ScanError("no contour encloses a voxel of the image", remedy="check that they belong together")
    return result


def _other_frames(frames: Mapping[int, str], target: Target) -> set[int]:
    """ROIs that were drawn in another frame of reference than the image's."""
    image = target.source.frame_uid if target.source else ""
    others = {n for n, frame in frames.items() if image and frame and frame != image}
    if others and len(others) == len(frames):
        raise ScanError(
            "the contours were drawn in another frame of reference than the image's",
            remedy="name the series that they were drawn on, or the structure set of this series",
        )
    return others


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
    spread = np.array([np.ptp(p.points, axis=0) for p in polygons])
    axis = int(np.argmin(spread.max(axis=0)))
    if spread[:, axis].max() > 2 * MOST_OFF_PLANE:
        raise ScanError(
            f"contours of '{name}' lie oblique to the image's slices",
            remedy="export the structures as a volume, or draw them on this series",
        )
    flags, notes = set(), []
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
    across = tuple(int(n) for n in np.delete(shape, axis))
    mask = np.zeros(shape, dtype=bool, order="F")
    reach = max(0.5, apart / 2)
    low, high = int(np.floor(heights[0] - reach)), int(np.ceil(heights[-1] + reach))
    drawn: dict[int, Array] = {}
    for z in range(max(0, low), min(shape[axis], high + 1)):
        nearest = int(np.abs(heights - z).argmin())
        after = int(np.searchsorted(heights, z))
        between = 0 < after < len(heights) and gaps[after - 1] <= BRIDGED * max(apart, 1.0)
        if not between and not -reach < z - heights[nearest] <= reach + 1e-6:
            continue
        if nearest not in drawn:
            filled, do_cross = _filled(planes[nearest], axis, across)
            drawn = {nearest: filled}
            flags |= {"contours_cross"} if do_cross else set()
        place: list[slice | int] = [slice(None)] * 3
        place[axis] = z
        mask[tuple(place)] = drawn[nearest]
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


def _filled(contours: list[Contour], axis: int, shape: tuple[int, ...]) -> tuple[Array, bool]:
    """The contours of one plane as a mask, and whether some cross each other.

    A contour that lies (to 95 %) inside of a larger one is its hole, one inside of a hole an island, and so on.
    """
    from skimage.draw import polygon2mask

    flat = [np.delete(c.points, axis, axis=1) for c in contours]
    masks = [polygon2mask(shape, points) for points in flat]
    around = [float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum()) for points in flat]
    result = np.zeros(shape, dtype=bool)
    for mask, contour in zip(masks, contours, strict=True):
        if contour.is_xor:
            result ^= mask
    kept: list[int] = []
    depth: dict[int, int] = {}
    do_cross = False
    for i in sorted((i for i, c in enumerate(contours) if not c.is_xor), key=lambda i: -int(masks[i].sum())):
        area = int(masks[i].sum())
        if any(int((masks[i] ^ masks[k]).sum()) <= 0.1 * around[i] for k in kept):
            continue  # stored twice
        common = {k: int((masks[i] & masks[k]).sum()) for k in kept}
        parents = [k for k in kept if area and common[k] >= 0.95 * area]
        depth[i] = len(parents)
        do_cross |= any(c > 0.5 * around[i] for k, c in common.items() if k not in parents)
        kept.append(i)
    for i in sorted(kept, key=lambda i: depth[i]):
        result = result & ~masks[i] if depth[i] % 2 else result | masks[i]
    return result, do_cross
