"""Structure sets (RTSTRUCT): which contours belong to which structure, laid onto the grid of the image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.dicom.contours import Contour, fill_contours
from volforge.volume.dicom.damage import damage, read_dataset
from volforge.volume.dicom.names import FileNames, matched_names, name_text, numbered
from volforge.volume.label_map import LabelMap, Target

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def read_structure_set(
    file: Path, target: Target | None, structures: Mapping[str, int], rois: Mapping[str, Collection[str]]
) -> LabelMap:
    """Read the contours of a structure set onto the image's grid.

    On one plane a contour inside of another is a hole, contours beside each other are joined, the same contour
    twice counts once, and contours that cross are joined and flagged; those of the type CLOSEDPLANAR_XOR are
    combined by exclusive or; lines through voxel centres have a rule (`dicom.contours`). Each slice takes the
    nearest contour plane within half the distance of the planes, so that contours of thick slices fill a finer image.

    Raises:
        ScanError: no image; another frame of reference; contours that follow no axis of the image; damage.
    """
    if target is None:
        raise ScanError("contours need an image's grid", remedy="fill the sheet's image column")
    try:
        dataset = read_dataset(file)
        contours, skipped = contours_of(dataset)
        names = roi_names(dataset, {n for n, drawn in contours.items() if drawn})
        frames = {
            int(r.ROINumber): str(r.get("ReferencedFrameOfReferenceUID", "") or "")
            for r in dataset.StructureSetROISequence
            if int(r.ROINumber) in names.drawn
        }
        named = _on_slices(dataset, target)
    except damage() as error:
        raise ScanError(f"the structure set is damaged ({error})", remedy="export it again") from error
    elsewhere = _other_frames({n: f for n, f in frames.items() if n not in named}, target)
    here = {n: t for n, t in names.drawn.items() if n not in elsewhere}
    wanted, notes = matched_names(FileNames(here, names.empty), structures, rois)
    if elsewhere:
        listed = ", ".join(sorted(names.drawn[n] for n in elsewhere))
        notes.append(f"drawn in another frame of reference, and left out: {listed}")
    flags = []
    if named and any(frames[n] != target.source.frame_uid for n in named if frames.get(n) and target.source):
        flags.append("frame_of_reference_differs")
        notes.append("its frame of reference is another one than the image's, but its contours name the image's slices")
    if skipped:
        notes.append(f"{skipped} contours that are points or open were left out")
    dtype = np.uint8 if max(structures.values()) < 256 else np.uint16
    result = LabelMap(np.zeros(target.grid.shape, dtype=dtype, order="F"), target.grid, flags=flags, notes=notes)
    inverse = np.linalg.inv(target.grid.affine)
    for number, structure in sorted(wanted.items(), key=lambda item: structures[item[1]]):
        polygons = [
            Contour((c.points * [-1, -1, 1]) @ inverse[:3, :3].T + inverse[:3, 3], c.is_xor) for c in contours[number]
        ]
        mask, seen, more = fill_contours(polygons, target.grid.shape, names.drawn[number])
        result.notes += more
        result.lay(structure, structures[structure], mask)
        result.flags += [f for f in seen if f not in result.flags]
    if not result.array.any():
        raise ScanError("no contour encloses a voxel of the image", remedy="check that they belong together")
    return result


def _on_slices(dataset: Any, target: Target) -> set[int]:
    """ROIs whose contours name slices of the image by UID: they belong to it, whatever their frame of reference says.

    Programs that replace names do not always replace both UIDs alike.
    """
    slices = set(target.source.slice_uids) if target.source else set()
    found = set()
    for roi in dataset.get("ROIContourSequence") or []:
        for contour in roi.get("ContourSequence") or []:
            items = contour.get("ContourImageSequence") or []
            if slices & {str(i.get("ReferencedSOPInstanceUID", "")) for i in items}:
                found.add(int(roi.ReferencedROINumber))
                break
    return found


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


def contours_of(dataset: Any) -> tuple[dict[int, list[Contour]], int]:
    """Closed contours (LPS mm) by number of their ROI, and how many others the structure set holds."""
    contours: dict[int, list[Contour]] = defaultdict(list)
    skipped = 0
    for roi in dataset.get("ROIContourSequence") or []:
        for contour in roi.get("ContourSequence") or []:
            points = np.array([float(v) for v in contour.get("ContourData") or []])
            if contour.get("ContourGeometricType") in CLOSED and points.size and points.size % 3 == 0:
                is_xor = contour.ContourGeometricType == "CLOSEDPLANAR_XOR"
                contours[int(roi.ReferencedROINumber)].append(Contour(points.reshape(-1, 3), is_xor))
            else:
                skipped += 1
    return contours, skipped


def roi_names(dataset: Any, drawn: Collection[int]) -> FileNames:
    """Names of the ROIs; those that have no closed contour apart."""
    names = {int(r.ROINumber): name_text(r.get("ROIName")) for r in dataset.get("StructureSetROISequence") or []}
    return FileNames(
        numbered({n: t for n, t in names.items() if n in drawn}), tuple(t for n, t in names.items() if n not in drawn)
    )
