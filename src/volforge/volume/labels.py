"""Label maps on the grid of their image: from a map, a folder or list with one structure per file, or DICOM."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.tables.names import natural, plain_name
from volforge.volume.companions import companions
from volforge.volume.geometry import (
    Array,
    Reorientation,
    reorientation_of,
    same_place,
)
from volforge.volume.itk_headers import NRRD
from volforge.volume.label_list import Part, read_label_list
from volforge.volume.label_map import MAX_ID, LabelMap, Target, lay_into, onto_grid, present_ids
from volforge.volume.read import SUFFIXES, read_volume, suffix_of
from volforge.volume.read_itk import is_segmentation
from volforge.volume.source_volume import SourceVolume, label_ids

SURFACES = (".stl", ".ply", ".obj")
PICTURES = (".png", ".tif", ".tiff", ".bmp")


def read_labels(
    path: Path,
    target: Target | None,
    structures: Mapping[str, int],
    *,
    resample: bool,
    mesh_frame: str,
    rois: Mapping[str, Collection[str]] | None = None,
) -> LabelMap:
    """Read labels and bring them onto the grid of the image.

    Args:
        path: A label volume; a folder that holds one file, surface or picture stack per structure; a `.tsv` that
            lists them (`read_label_list`); a segmentation of 3D Slicer; a DICOM structure set or segmentation, or
            the folder of one.
        target: The image's grid; None for label maps without image.
        structures: Id by name. Empty: any id is accepted, folders are not.
        resample: Bring maps on another grid onto the image's (nearest neighbour) instead of refusing them.
        mesh_frame: Patient frame of surfaces whose file does not tell.
        rois: Names in DICOM files and of 3D Slicer's segments as their author wrote them, by structure.

    Raises:
        ScanError: another grid, ids that no structure has, values that are not whole numbers.
    """
    if path.suffix.lower() == ".tsv":
        parts = read_label_list(path)
        unlisted = sorted({p.structure for p in parts} - set(structures))
        if unlisted:
            remedy = f"add them to the structures table ({_some(list(structures))})"
            raise ScanError(f"structures that the cohort has not: {_some(unlisted)}", str(path), remedy)
        return _combine(parts, path, target, structures, resample=resample, mesh_frame=mesh_frame)
    if not suffix_of(path):
        from volforge.volume.dicom.labels import read_dicom_labels

        labels = read_dicom_labels(path, target, structures, resample=resample, rois=rois)
        if labels is not None:
            return labels
    if path.is_dir() and not _is_series(path):
        return _read_folder(path, target, structures, resample=resample, mesh_frame=mesh_frame)
    if path.suffix.lower() in SURFACES:
        raise ScanError(
            "one surface is no label map",
            str(path),
            "put the surfaces of a scan into a folder, one per structure",
        )
    if is_segmentation(path):
        from volforge.volume.seg_nrrd import read_segments

        return read_segments(path, target, structures, resample=resample, rois=rois)
    labels = read_mask_volume(path, target, resample=resample)
    known = np.array(sorted(structures.values()))
    present = present_ids(labels.array)
    unknown = [i for i in present if i not in known] if len(known) else []
    if unknown:
        raise ScanError(
            f"label ids that no structure has: {_some(unknown)} (known: {_some(known.tolist())})",
            str(path),
            "add them to the cohort's structures table, or mend the map",
        )
    return labels


def read_mask_volume(path: Path, target: Target | None, *, resample: bool) -> LabelMap:
    """Read one integer volume and match it to the image's grid by physical space."""
    return placed(read_volume(path, labels=True), path, target, resample=resample)


def placed(volume: SourceVolume, path: Path, target: Target | None, *, resample: bool) -> LabelMap:
    """A volume that was read as labels, in canonical order and on the grid of the image.

    Raises:
        ScanError: another grid; values that are no ids.
    """
    values = label_ids(volume)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > MAX_ID:
        raise ScanError(f"label ids from {low} to {high}", str(path), f"use 0 to {MAX_ID}")
    values = values.astype(np.uint8 if high < 256 else np.uint16)
    turn = reorientation_of(volume.grid.affine)
    if (
        target is not None
        and volume.grid.shape == target.source_shape
        and same_place(target.turn.canonical(volume.grid), target.grid)
    ):
        turn = target.turn  # near 45 degrees rounding alone decides which axis is which
    grid = turn.canonical(volume.grid)
    values = np.asfortranarray(turn.apply(values))
    labels = LabelMap(values, grid, flags=list(volume.flags), notes=list(volume.notes), source=volume)
    if target is None:
        return labels
    if path.name.lower().endswith(tuple(f".seg{s}" for s in NRRD)) or is_segmentation(path):
        laid = lay_into(labels, target.grid)  # 3D Slicer crops its segments to what they hold
        labels = laid or labels
    return onto_grid(labels, target.grid, path, resample=resample)


def _read_folder(
    folder: Path, target: Target | None, structures: Mapping[str, int], *, resample: bool, mesh_frame: str
) -> LabelMap:
    if not structures:
        raise ScanError(
            "a folder of structures needs their ids",
            str(folder),
            "write <cohort>.structures.tsv with name and id",
        )
    found: dict[str, Path] = {}
    unknown: list[str] = []
    for item in sorted(folder.iterdir()):
        name = _structure_name(item)
        if name is None or (item.name.lower().endswith((".img", ".img.gz")) and companions(item)):
            continue  # the voxels of a header that is read
        if name not in structures:
            unknown.append(item.name)
        elif name in found:
            raise ScanError(
                f"structure '{name}' has two files: {found[name].name}, {item.name}", str(folder), "keep one"
            )
        else:
            found[name] = item
    if unknown:
        raise ScanError(
            f"files that name no structure: {_some(unknown)}",
            str(folder),
            f"name each after a structure ({_some(list(structures))}), or add it to the structures table",
        )
    if not found:
        raise ScanError("no structure in this folder", str(folder), f"expected e.g. {next(iter(structures))}.nii.gz")
    parts = [Part(name, found[name]) for name in found]
    return _combine(parts, folder, target, structures, resample=resample, mesh_frame=mesh_frame)


def _combine(
    parts: list[Part],
    where: Path,
    target: Target | None,
    structures: Mapping[str, int],
    *,
    resample: bool,
    mesh_frame: str,
) -> LabelMap:
    """One map of all parts, in the order of their ids: where two overlap, the later holds, and it is counted."""
    result: LabelMap | None = None
    masks: dict[Path, LabelMap] = {}
    for part in sorted(parts, key=lambda p: structures[p.structure]):
        if part.file not in masks:
            if not part.values:
                masks.clear()  # one structure per file: nothing is read twice
            masks[part.file] = _one_structure(part.file, target, resample=resample, mesh_frame=mesh_frame)
        mask = masks[part.file]
        if result is None:
            dtype = np.uint8 if max(structures.values()) < 256 else np.uint16
            result = LabelMap(np.zeros_like(mask.array, dtype=dtype), mask.grid, flags=[], source=mask.source)
            target = target or Target(mask.grid, mask.grid.shape, Reorientation((0, 1, 2), (False,) * 3))
        hit = part.hit(mask.array)
        if not part.values and hit.any() and (mask.array[hit] != mask.array[hit][0]).any():
            raise ScanError(
                f"the file of structure '{part.structure}' holds several labels",
                str(part.file),
                "give one binary file per structure, one label map instead of the folder, or a list with values",
            )
        value = structures[part.structure]
        if part.values and not hit.any():
            result.notes.append(f"structure '{part.structure}' has no voxel")
        result.lay(part.structure, value, hit)
        result.flags += [f for f in mask.flags if f not in result.flags]
    if result is None:
        raise ScanError("no structure is listed", str(where), "write one row per structure")
    result.flag_overlaps()
    return result


def _is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM slices (a map as a series), not one file per structure."""
    from volforge.volume.dicom.headers import looks_like_dicom

    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return bool(files) and not suffix_of(files[0]) and looks_like_dicom(files[0])


def _structure_name(item: Path) -> str | None:
    if item.name.startswith("."):
        return None
    if item.is_dir():
        return item.name.lower()
    suffix = suffix_of(item) or item.suffix.lower()
    if suffix in NRRD and item.name.lower().endswith(f".seg{suffix}"):  # as 3D Slicer calls its segmentations
        return plain_name(item.name[: -len(f".seg{suffix}")])
    if suffix in SUFFIXES or suffix in SURFACES or suffix in PICTURES:
        return plain_name(item.name[: -len(suffix)])
    return None


def _one_structure(item: Path, target: Target | None, *, resample: bool, mesh_frame: str) -> LabelMap:
    if item.is_file() and item.suffix.lower() in SURFACES:
        if target is None:
            raise ScanError("a surface needs an image's grid", str(item), "fill the sheet's image column")
        from volforge.volume.voxelise import voxelise_file

        mask, flags = voxelise_file(item, target.grid, mesh_frame)
        return LabelMap(mask.astype(np.uint8), target.grid, flags=flags)
    if item.is_dir() or item.suffix.lower() in PICTURES:
        if target is None:
            raise ScanError("a picture stack needs an image's grid", str(item), "fill the sheet's image column")
        return _picture_stack(item, target)
    return read_mask_volume(item, target, resample=resample)


def _picture_stack(item: Path, target: Target) -> LabelMap:
    """A structure as pictures, one per slice of the image's third file axis; columns are its first axis."""
    import SimpleITK as sitk

    files = sorted(_pictures_in(item), key=lambda p: natural(p.name)) if item.is_dir() else [item]
    if not files:
        raise ScanError("no picture in this folder", str(item), f"expected {' '.join(PICTURES)}")
    try:
        image = sitk.ReadImage([str(f) for f in files]) if len(files) > 1 else sitk.ReadImage(str(files[0]))
    except RuntimeError as error:
        raise ScanError("the pictures cannot be read as one stack", str(item), "all must have one size") from error
    channels = min(3, image.GetNumberOfComponentsPerPixel())
    if channels > 1:
        planes = [sitk.VectorIndexSelectionCast(image, c) for c in range(channels)]
        if any(
            not np.array_equal(sitk.GetArrayViewFromImage(p), sitk.GetArrayViewFromImage(planes[0])) for p in planes
        ):
            raise ScanError("pictures in colour hold no ids", str(item), "export them as grey pictures")
        image = planes[0]
    array = sitk.GetArrayFromImage(image)
    array = (array[None] if array.ndim == 2 else array).transpose(2, 1, 0)
    if array.shape != target.source_shape:
        raise ScanError(
            f"the stack has {array.shape} (columns, rows, pictures), the image {target.source_shape}",
            str(item),
            "give one picture per slice, of the slice's size",
        )
    array = _in_slice_order(array, files, item, target)
    if array.min() < 0 or array.max() > MAX_ID:
        raise ScanError(f"values from {array.min()} to {array.max()}", str(item), f"use 0 to {MAX_ID}")
    array = array.astype(np.uint16 if array.max() > 255 else np.uint8)
    return LabelMap(np.asfortranarray(target.turn.apply(array)), target.grid)


def _in_slice_order(array: Array, files: list[Path], item: Path, target: Target) -> Array:
    """Pictures follow the names of the DICOM files that they were drawn on, not the places of the slices."""
    names = target.source.slice_files if target.source else []
    if not names:
        return array
    if target.source is not None and target.source.planes is not None:
        raise ScanError("pictures cannot follow slices that had to be resampled", str(item), "give a volume")
    order = sorted(range(len(names)), key=lambda k: natural(names[k]))
    placed = np.empty_like(array)
    placed[:, :, order] = array
    return placed


def _pictures_in(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]


def _some(items: list[int] | list[str], most: int = 12) -> str:
    shown = ", ".join(str(i) for i in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
