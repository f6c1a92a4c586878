"""Structure sets (RTSTRUCT): closed contours to voxels. A voxel belongs where its centre lies inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.volume.dicom.headers import DAMAGE, read_dataset
from volforge.volume.dicom.names import matched_names
from volforge.volume.geometry import Array
from volforge.volume.labels import LabelMap, Target

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
MOST_OFF_PLANE = 0.25  # voxels by which the points of a contour may leave their plane


def read_structure_set(file: Path, target: Target | None, structures: Mapping[str, int]) -> LabelMap:
    """Read the contours of a structure set onto the image's grid.

    Contours of one ROI on one plane are combined by exclusive or, which makes holes of inner ones and leaves
    keyholes right. Each slice takes the nearest contour plane within half the distance of the planes, so that
    contours of thick slices fill a finer image.

    Raises:
        ScanError: no image; another frame of reference; contours that follow no axis of the image; damage.
    """
    if target is None:
        raise ScanError("contours need an image's grid", remedy="fill the sheet's image column")
    try:
        dataset = read_dataset(file)
        names = {int(r.ROINumber): str(r.get("ROIName", "")) for r in dataset.StructureSetROISequence}
        frames = {str(r.get("ReferencedFrameOfReferenceUID", "") or "") for r in dataset.StructureSetROISequence}
        contours: dict[int, list[Array]] = defaultdict(list)
        skipped = 0
        for roi in dataset.get("ROIContourSequence") or []:
            for contour in roi.get("ContourSequence") or []:
                points = np.array([float(v) for v in contour.get("ContourData") or []])
                if contour.get("ContourGeometricType") in CLOSED and points.size >= 9 and points.size % 3 == 0:
                    contours[int(roi.ReferencedROINumber)].append(points.reshape(-1, 3))
                else:
                    skipped += 1
    except DAMAGE as error:
        raise ScanError(f"the structure set is damaged ({error})", remedy="export it again") from error
    _check_frame(frames, target)
    wanted, notes = matched_names(names, structures)
    if skipped:
        notes.append(f"{skipped} contours that are points, open, or of fewer than three points were left out")
    dtype = np.uint8 if max(structures.values()) < 256 else np.uint16
    result = LabelMap(np.zeros(target.grid.shape, dtype=dtype, order="F"), target.grid, notes=notes)
    inverse = np.linalg.inv(target.grid.affine)
    for number, structure in sorted(wanted.items(), key=lambda item: structures[item[1]]):
        polygons = [(c * [-1, -1, 1]) @ inverse[:3, :3].T + inverse[:3, 3] for c in contours.get(number, [])]
        if not polygons:
            result.notes.append(f"structure '{structure}' has no closed contour")
            continue
        mask, flags = fill_contours(polygons, target.grid.shape, names[number])
        value = structures[structure]
        result.overlap_voxels += int(((result.array[mask] > 0) & (result.array[mask] != value)).sum())
        result.array[mask] = value
        result.flags += [f for f in flags if f not in result.flags]
    if not result.array.any():
        raise ScanError("no contour encloses a voxel of the image", remedy="check that they belong together")
    return result


def _check_frame(frames: set[str], target: Target) -> None:
    image = target.source.frame_uid if target.source else ""
    if image and frames - {""} and image not in frames:
        raise ScanError(
            "the contours were drawn in another frame of reference than the image's",
            remedy="name the series that they were drawn on, or the structure set of this series",
        )


def fill_contours(polygons: list[Array], shape: tuple[int, int, int], name: str) -> tuple[Array, list[str]]:
    """Fill planar contours given in voxel indices.

    Args:
        polygons: Each (n, 3), voxel indices (centres at whole numbers), on planes across one axis of the grid.
        shape: Of the grid.
        name: How messages call them.

    Returns:
        Mask (bool), and flags.

    Raises:
        ScanError: contours that lie across no axis of the grid.
    """
    from skimage.draw import polygon2mask

    spread = np.array([np.ptp(p, axis=0) for p in polygons])
    axis = int(np.argmin(spread.max(axis=0)))
    if spread[:, axis].max() > 2 * MOST_OFF_PLANE:
        raise ScanError(
            f"contours of '{name}' lie oblique to the image's slices",
            remedy="export the structures as a volume, or draw them on this series",
        )
    flags = []
    planes: dict[float, list[Array]] = defaultdict(list)
    for polygon in polygons:
        planes[round(float(polygon[:, axis].mean()), 2)].append(np.delete(polygon, axis, axis=1))
    heights = np.array(sorted(planes))
    apart = float(np.median(np.diff(heights))) if len(heights) > 1 else 1.0
    if apart > 1.5:
        flags.append("contours_sparse")
    if np.abs(heights - np.rint(heights)).max() > MOST_OFF_PLANE:
        flags.append("contours_between_slices")
    across = tuple(int(n) for n in np.delete(shape, axis))
    drawn: dict[float, Array] = {}
    mask = np.zeros(shape, dtype=bool, order="F")
    reach = max(0.5, apart / 2) + 1e-3
    low, high = int(np.floor(heights[0] - reach)), int(np.ceil(heights[-1] + reach))
    for z in range(max(0, low), min(shape[axis], high + 1)):
        nearest = float(heights[np.abs(heights - z).argmin()])
        if abs(nearest - z) > reach:
            continue
        if nearest not in drawn:
            filled = np.zeros(across, dtype=bool)
            for polygon in planes[nearest]:
                filled ^= polygon2mask(across, polygon)
            drawn = {nearest: filled}
        place: list[slice | int] = [slice(None)] * 3
        place[axis] = z
        mask[tuple(place)] = drawn[nearest]
    return mask, flags
