"""Labels from DICOM: structure sets (RTSTRUCT) and segmentations (SEG), on the grid of their image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from volforge.errors import ScanError
from volforge.volume.dicom.damage import read_dataset
from volforge.volume.dicom.headers import files_below, looks_like_dicom, read_headers, refuse_damaged, shown
from volforge.volume.dicom.names import FileNames
from volforge.volume.dicom.segmentation import segment_names
from volforge.volume.dicom.structure_set import contours_of, roi_names
from volforge.volume.label_map import LabelMap, Target


def find_labels(path: Path) -> tuple[Path, str] | None:
    """The structure set or segmentation that a path means, with its modality; None where it means something else.

    Raises:
        ScanError: a folder that holds several of them, or damaged files.
    """
    if path.is_dir():
        files = files_below(path)
        if not any(looks_like_dicom(p) for p in files[:8]):
            return None
    elif looks_like_dicom(path):
        files = [path]
    else:
        return None
    headers = read_headers(files)
    refuse_damaged(headers)
    found = [(p, kind) for p, kind in headers.others if kind in ("RTSTRUCT", "SEG")]
    if len(found) > 1:
        raise ScanError(
            f"{len(found)} structure sets or segmentations: {', '.join(shown(p) for p, _ in found[:4])}",
            str(path),
            "name one file in the sheet",
        )
    return found[0] if found else None


def read_dicom_labels(
    path: Path,
    target: Target | None,
    structures: Mapping[str, int],
    *,
    resample: bool,
    rois: Mapping[str, Collection[str]] | None = None,
) -> LabelMap | None:
    """Read a structure set or a segmentation; None where the path is neither.

    Structures are found by name (`names.matched_names`); those that the table has not are left out and named in
    the notes.

    Args:
        path: A file, or a folder that holds one.
        target: The image's grid; None where there is no image.
        structures: Id by name.
        resample: Bring segments on another grid onto the image's.
        rois: ROI names or segment labels as their author wrote them, by structure.

    Raises:
        ScanError: another frame of reference or grid than the image's, none of the structures, damaged files.
    """
    found = find_labels(path)
    if found is None:
        return None
    file, kind = found
    if not structures:
        raise ScanError(
            "the names of a structure set need ids",
            str(file),
            "write <cohort>.structures.tsv with structure and id, or let `volforge cohort discover` write it",
        )
    try:
        if kind == "RTSTRUCT":
            from volforge.volume.dicom.structure_set import read_structure_set

            labels = read_structure_set(file, target, structures, rois or {})
        else:
            from volforge.volume.dicom.segmentation import read_segmentation

            labels = read_segmentation(file, target, structures, rois or {}, resample=resample)
    except ScanError as error:
        error.where = error.where or str(file)
        raise
    labels.flag_overlaps()
    return labels


def label_names(file: Path) -> FileNames:
    """Names of the structures that a structure set or segmentation holds, as its author wrote them."""
    dataset = read_dataset(file)
    if dataset.get("Modality") == "RTSTRUCT":
        return roi_names(dataset, {n for n, contours in contours_of(dataset)[0].items() if contours})
    return segment_names(dataset)
