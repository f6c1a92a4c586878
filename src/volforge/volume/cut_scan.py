"""A recipe applied to one imported scan: arrays, index and geometry in a folder that appears whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volforge.config.models import RegionRecipe, SliceRecipe
from volforge.errors import ScanError, VolforgeError
from volforge.volume.cut import (
    AXES,
    Placement,
    legacy_slices,
    region_placement,
    slice_placement,
    stored_in,
    stored_values,
    take,
    to_stack,
    window_of,
)
from volforge.volume.folders import read_object, whole_folder, write_json
from volforge.volume.geometry import Array, Grid
from volforge.volume.label_map import present_ids
from volforge.volume.read import read_canonical
from volforge.volume.resample import about
from volforge.volume.store import write_array
from volforge.whole_file import refuse_folder, write_whole

INDEX_COLUMNS = ("slice", "position_mm", "body_mm2", "kept", "labels")
MASKS = ("body", "defective", "implant")
REGION_CHUNK = 64


def cut_scan(
    scan: Path,
    recipe: SliceRecipe | RegionRecipe,
    out: Path,
    *,
    structures: dict[str, int] | None = None,
    record_refusal: bool = False,
) -> bool:
    """Cut an imported scan by a recipe.

    Args:
        scan: Folder of the import.
        recipe: Slices or region.
        out: Result folder: `image|labels|body|defective|implant.b2nd`, `index.tsv`, `geometry.json`,
            `record.json`; the record alone for a refused scan.
        structures: Id by name, for regions around structures.
        record_refusal: Record a refusal instead of raising it.

    Returns:
        Whether the scan was cut.

    Raises:
        ScanError: the scan was refused at import or does not fit the recipe, and `record_refusal` is false.
    """
    refuse_folder("--out", out, {"the scan": scan})
    record = read_object(scan / "record.json", "the record of a scan", "accepted", "scan")
    try:
        if not record["accepted"]:
            raise ScanError("refused at import: " + record["refused"]["reason"], record["refused"]["where"])
        absent = [key for key in ("modality", "unit", "grid") if key not in record]
        if absent:
            text = f"not the record of a scan: it has no {', '.join(absent)}"
            raise VolforgeError(text, str(scan / "record.json"), "import the scan again")
        with whole_folder(out) as scratch:
            summary = _cut(scan, record, recipe, scratch, structures or {})
            write_json(scratch / "record.json", {"accepted": True, "scan": record["scan"], **summary})
        return True
    except ScanError as error:
        error.where = error.where or str(scan)
        if not record_refusal:
            raise
        with whole_folder(out) as scratch:
            refusal = {"reason": error.message, "where": error.where, "remedy": error.remedy}
            write_json(scratch / "record.json", {"accepted": False, "scan": record["scan"], "refused": refusal})
        return False


def _cut(
    scan: Path,
    record: dict[str, Any],
    recipe: SliceRecipe | RegionRecipe,
    out: Path,
    structures: dict[str, int],
) -> dict[str, Any]:
    volumes, grid = _load(scan)
    image, labels = volumes.get("image"), volumes.get("labels")
    body = volumes["body"] > 0 if "body" in volumes else None
    focus = focus_of(volumes, record["modality"])
    if isinstance(recipe, SliceRecipe):
        placement = slice_placement(grid, recipe, focus)
    else:
        around = body if body is not None else (focus if image is None or record["modality"] == "mask" else None)
        placement = region_placement(grid, recipe, around, labels, structures)
    outside = outside_of(record, image)
    values: dict[str, Any] | None = None
    arrays: dict[str, Array] = {}
    if image is not None:
        arrays["image"], values = cut_image(image, body, grid, placement, record, recipe, outside)
    if labels is not None:
        arrays["labels"] = take(labels, grid, placement, outside=0, kind="labels")
    for name in MASKS:
        if name in volumes:
            arrays[name] = take(volumes[name], grid, placement, outside=0, kind="mask")
    kept = _write(arrays, recipe, placement, out)
    geometry = {
        "kind": recipe.kind,
        "axis": recipe.axis if isinstance(recipe, SliceRecipe) else "",
        "scan_grid": {"shape": list(grid.shape), "affine": grid.affine.tolist()},
        "cut_grid": {"shape": list(placement.grid.shape), "affine": placement.grid.affine.tolist()},
        "spacing_mm": list(placement.grid.spacing_mm),
        "offset": list(placement.offset) if placement.offset is not None else None,
        "values": values,
        "outside": outside,
    }
    write_json(out / "geometry.json", geometry)
    return {"shape": list(placement.grid.shape), "spacing_mm": list(placement.grid.spacing_mm), **kept}


def focus_of(volumes: Mapping[str, Array], modality: str) -> Array | None:
    """What slices of a scan are centred on, whoever cuts them: training, or a prediction on the scan's own grid.

    Args:
        volumes: Those of `image`, `labels`, `body`, `defective` that the scan has.
        modality: Of the scan. A mask is cut about itself: one without labels must be cut as one with them.

    Returns:
        The body, else the mask's own voxels, else all labels, else the defective bone of a scan without an image;
        None: the whole grid.
    """
    names = ["body", *(["image"] if modality == "mask" else []), "labels"]
    if "image" not in volumes:
        names.append("defective")
    return next((volumes[n] > 0 for n in names if n in volumes and volumes[n].any()), None)


def _load(scan: Path) -> tuple[dict[str, Array], Grid]:
    volumes: dict[str, Array] = {}
    grid: Grid | None = None
    for name in ("image", "labels", *MASKS):
        file = scan / f"{name}.nii.gz"
        if file.exists():
            values, grid = read_canonical(file, labels=name != "image")
            volumes[name] = np.asfortranarray(values)
    if grid is None:
        raise ScanError("the scan's folder holds no volume", remedy="import the scan again")
    return volumes, grid


def outside_of(record: Mapping[str, Any], image: Array | None) -> float:
    """Value beyond a cut: what the import recorded; else air for HU, or the smallest of 0 and the darkest value."""
    known = record.get("values", {}).get("outside")
    if known is not None:
        return float(known)
    if image is None or record["modality"] == "mask":
        return 0.0
    return -1024.0 if record["unit"] == "hu" else min(0.0, float(image.min()))


def cut_image(
    image: Array,
    body: Array | None,
    grid: Grid,
    placement: Placement,
    record: dict[str, Any],
    recipe: SliceRecipe | RegionRecipe,
    outside: float,
) -> tuple[Array, dict[str, Any]]:
    """An image cut by a recipe as it is stored, and how its values are read (`values` of geometry.json)."""
    if record["modality"] == "mask":
        cut = take(image, grid, placement, outside=0, kind="mask")
        return stored_values(cut, None, "mask", "", recipe)
    if isinstance(recipe, SliceRecipe) and recipe.background == "legacy_threshold":
        raw = take(image, grid, placement, outside=outside, kind="image")
        levels = legacy_slices(to_stack(raw, AXES[recipe.axis]))
        from volforge.volume.cut import from_stack

        values = {"kind": "slice_minmax", "low": 0.0, "high": 255.0, "slope": 1.0, "intercept": 0.0}
        return from_stack(levels, AXES[recipe.axis]), values
    values = window_of(image, body, record["unit"], recipe)
    return cut_values(image, grid, placement, record["unit"], values, outside), values


def cut_values(
    image: Array, grid: Grid, placement: Placement, unit: str, values: dict[str, Any], outside: float
) -> Array:
    """An image, or some of its slices, cut and stored by a window that is known.

    Args:
        image: (X, Y, Z) in its unit.
        grid: Its grid.
        placement: Where the cut lies in it.
        unit: `hu` or another.
        values: From `window_of`.
        outside: Value beyond the image, in its unit.

    Returns:
        (X, Y, Z) of the cut, int16.
    """
    if placement.offset is None:  # interpolate in the unit, quantise after
        part, place = about(image, grid, placement.grid, outside)
        cut = take(part.astype(np.float32), place, placement, outside=outside, kind="image")
        if image.dtype.kind in "iu" and unit == "hu":
            cut = np.rint(cut).astype(np.int16)
        return _requantise(cut, values)
    edge = _requantise(np.asarray([outside], dtype=image.dtype), values)[0]
    return take(stored_in(image, values), grid, placement, outside=float(edge), kind="image")


def _requantise(cut: Array, values: dict[str, Any]) -> Array:
    clipped = np.clip(cut, values["low"], values["high"])
    if values["slope"] == 1.0 and values["intercept"] == 0.0:
        return np.rint(clipped).astype(np.int16)
    return np.rint((clipped.astype(np.float64) - values["intercept"]) / values["slope"]).astype(np.int16)


def _write(
    arrays: dict[str, Array], recipe: SliceRecipe | RegionRecipe, placement: Placement, out: Path
) -> dict[str, Any]:
    grid = placement.grid
    if isinstance(recipe, RegionRecipe):
        for name, array in arrays.items():
            chunks = tuple(min(REGION_CHUNK, n) for n in array.shape)
            write_array(out / f"{name}.b2nd", array, chunks)
        body = float(arrays["body"].sum()) * grid.voxel_mm3 if "body" in arrays else 0.0
        ids = present_ids(arrays["labels"]) if "labels" in arrays else []
        row = f"0\t\t{body / max(grid.spacing_mm[2], 1e-9):.1f}\t1\t{','.join(map(str, ids))}\n"
        write_whole(out / "index.tsv", "\t".join(INDEX_COLUMNS) + "\n" + row)
        return {"kept": 1, "slices": 1, "labels": ids}
    axis = AXES[recipe.axis]
    stacks = {name: to_stack(array, axis) for name, array in arrays.items()}
    pixel = float(np.prod([s for a, s in enumerate(grid.spacing_mm) if a != axis]))
    area_of = stacks.get("body", stacks.get("labels", stacks.get("image")))
    assert area_of is not None
    areas = (area_of > 0).sum(axis=(1, 2)) * pixel
    count = next(iter(stacks.values())).shape[0]
    lines, kept, every = ["\t".join(INDEX_COLUMNS)], 0, set()
    direction = grid.affine[:3, axis] / grid.spacing_mm[axis]
    for n in range(count):
        ids = present_ids(stacks["labels"][n]) if "labels" in stacks else []
        keep = areas[n] >= recipe.min_body_mm2 and areas[n] > 0 and (bool(ids) or not recipe.require_labels)
        centre = [(s - 1) / 2 for s in grid.shape]
        centre[axis] = n
        position = float(direction @ (grid.affine[:3, :3] @ np.array(centre) + grid.affine[:3, 3]))
        lines.append(f"{n}\t{position:.3f}\t{areas[n]:.1f}\t{int(keep)}\t{','.join(map(str, ids))}")
        kept += int(keep)
        every.update(ids if keep else [])
    if not kept:
        raise ScanError(
            f"every one of the {count} slices is blank",
            remedy="lower the recipe's `min_body_mm2`, or look at the scan's qc.png",
        )
    for name, stack in stacks.items():
        write_array(out / f"{name}.b2nd", stack, (1, *stack.shape[1:]))
    write_whole(out / "index.tsv", "\n".join(lines) + "\n")
    return {"kept": kept, "slices": count, "labels": sorted(every)}
