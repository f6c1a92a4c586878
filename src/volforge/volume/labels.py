"""Label maps on the grid of their image: from a map, a folder or list with one structure per file, or DICOM."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from volforge.cohort.names import natural, plain_name
from volforge.errors import ScanError
from volforge.volume.companions import companions
from volforge.volume.geometry import (
    Array,
    Grid,
    Reorientation,
    corner_displacement_mm,
    describe,
    part_of,
    reorientation_of,
    same_place,
)
from volforge.volume.label_list import Part, read_label_list
from volforge.volume.read import SUFFIXES, SourceVolume, read_volume, scaled, suffix_of

SURFACES = (".stl", ".ply", ".obj")
PICTURES = (".png", ".tif", ".tiff", ".bmp")
MAX_ID = 65535


@dataclass
class LabelMap:
    """Integer labels in canonical order.

    Attributes:
        array: uint8 or uint16, (X, Y, Z).
        grid: Its canonical grid.
        overlap_voxels: Voxels claimed by more than one file of a folder (the later structure holds).
        flags: What a reader should know.
        notes: What was done or left out on the way, in sentences.
        source: The volume that they were read from, where it is one file.
    """

    array: Array
    grid: Grid
    overlap_voxels: int = 0
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    source: SourceVolume | None = None


@dataclass(frozen=True)
class Target:
    """The grid that labels must lie on: canonical grid, and the way there from the image's file.

    Attributes:
        grid: Canonical grid.
        source_shape: Shape in file order.
        turn: File order to canonical.
        source: The image's file as read, None where there is no image.
    """

    grid: Grid
    source_shape: tuple[int, int, int]
    turn: Reorientation
    source: SourceVolume | None = None


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
            lists them (`read_label_list`); a DICOM structure set or segmentation, or the folder of one.
        target: The image's grid; None for label maps without image.
        structures: Id by name. Empty: any id is accepted, folders are not.
        resample: Bring maps on another grid onto the image's (nearest neighbour) instead of refusing them.
        mesh_frame: Patient frame of surfaces whose file does not tell.
        rois: Names in DICOM files as their author wrote them, by structure.

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
    volume = read_volume(path, labels=True)
    values = scaled(volume)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ScanError("the label map holds NaN", str(path), "export it as whole numbers")
        if not np.array_equal(np.rint(values), values):
            fraction = values[np.rint(values) != values].flat[0]
            raise ScanError(
                f"label values are not whole numbers ({fraction:g}): the map was resampled with interpolation",
                str(path),
                "resample label maps with nearest neighbour",
            )
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
    labels = LabelMap(np.asfortranarray(turn.apply(values)), grid, flags=list(volume.flags), source=volume)
    if target is None:
        return labels
    if path.name.lower().endswith(".seg.nrrd"):  # 3D Slicer crops its segments to what they hold
        laid = lay_into(labels, target.grid)
        labels = laid or labels
    return onto_grid(labels, target.grid, path, resample=resample)


def lay_into(labels: LabelMap, grid: Grid) -> LabelMap | None:
    """Labels whose voxels are voxels of `grid`, laid into it; None where they are not."""
    offset = part_of(labels.grid, grid)
    if offset is None:
        return None
    whole = np.zeros(grid.shape, dtype=labels.array.dtype, order="F")
    shapes = list(zip(offset, labels.grid.shape, grid.shape, strict=True))
    ours = tuple(slice(max(0, o), max(0, o + n)) for o, n, _ in shapes)
    theirs = tuple(slice(max(0, -o), max(0, min(n, m - o))) for o, n, m in shapes)
    whole[ours] = labels.array[theirs]
    held, kept = int((labels.array > 0).sum()), int((whole > 0).sum())
    flags, notes = list(labels.flags), list(labels.notes)
    if kept < held:
        flags.append("labels_leave_image")
        notes.append(f"{held - kept} of {held} labelled voxels lie outside of the image")
    return LabelMap(whole, grid, labels.overlap_voxels, flags, notes, labels.source)


def onto_grid(labels: LabelMap, grid: Grid, path: Path, *, resample: bool) -> LabelMap:
    """The labels on `grid`; equal up to header rounding, or resampled where that is allowed."""
    if same_place(labels.grid, grid):
        displacement = corner_displacement_mm(labels.grid, grid)
        flags = [*labels.flags, "label_grid_rounded"] if displacement > 0.01 else labels.flags
        return LabelMap(labels.array, grid, labels.overlap_voxels, flags, labels.notes, labels.source)
    if not resample:
        raise ScanError(
            f"the grid differs from the image's: {describe(labels.grid)}; image: {describe(grid)}",
            str(path),
            "give maps on the image's grid, or set the cohort's `label_grid: resample`",
        )
    from volforge.volume.resample import resample_to

    moved = resample_to(labels.array, labels.grid, grid, nearest=True, outside=0)
    if labels.array.any() and not moved.any():
        raise ScanError("the labels lie outside of the image", str(path), "check that they belong together")
    return LabelMap(moved.astype(labels.array.dtype), grid, 0, [*labels.flags, "labels_resampled"], labels.notes)


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
        result.overlap_voxels += int(((result.array[hit] > 0) & (result.array[hit] != value)).sum())
        result.array[hit] = value
        result.flags += [f for f in mask.flags if f not in result.flags]
    if result is None:
        raise ScanError("no structure is listed", str(where), "write one row per structure")
    if result.overlap_voxels:
        result.flags.append("labels_overlap")
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


def present_ids(array: Array) -> list[int]:
    """The ids in a label map, without background, sorted."""
    counts = np.bincount(array.ravel(order="K"))
    return [int(i) for i in np.flatnonzero(counts) if i]


def _some(items: list[int] | list[str], most: int = 12) -> str:
    shown = ", ".join(str(i) for i in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
