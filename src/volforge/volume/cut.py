"""Recipes: how a canonical scan is cut for networks, and the exact way back.

A recipe's target grid is axis-parallel to the scan. Where its spacing is the scan's own, voxels are copied
(crop and pad); elsewhere they are resampled. `geometry.json` holds what the way back needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from volforge.config.models import HuWindow, RecipeBase, RegionRecipe, SliceRecipe
from volforge.errors import ScanError
from volforge.volume.boxes import bounding_box, holding
from volforge.volume.geometry import Array, Grid
from volforge.volume.intensity import values_in
from volforge.volume.legacy_threshold import remove_background, stretch_slice
from volforge.volume.resample import about, resample_to

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
LEVELS = 65534


@dataclass(frozen=True)
class Placement:
    """Where a cut lies in its scan.

    Attributes:
        grid: Grid of the cut, (X, Y, Z) in canonical order.
        offset: Index in the scan of the cut's first voxel; None where the cut is resampled.
    """

    grid: Grid
    offset: tuple[int, int, int] | None


def place(
    grid: Grid,
    spacing_mm: tuple[float | None, float | None, float | None],
    size: tuple[int | None, int | None, int | None],
    box: tuple[slice, slice, slice],
) -> Placement:
    """The grid of a cut about the centre of a box.

    Args:
        grid: The scan's canonical grid.
        spacing_mm: Wanted voxel size per axis; None: the scan's.
        size: Wanted voxels per axis; None: what the box spans.
        box: Box in voxels of the scan.
    """
    offset: list[float] = []
    shape: list[int] = []
    steps: list[float] = []
    for axis in range(3):
        own = grid.spacing_mm[axis]
        wanted = spacing_mm[axis]
        step = 1.0 if wanted is None or abs(wanted - own) < 1e-4 * own else wanted / own
        low, high = box[axis].start, box[axis].stop
        count = size[axis]
        if count is None:
            count = high - low if step == 1.0 else max(1, round((high - low) / step))
        centre = (low + high - 1) / 2
        first = centre - step * (count - 1) / 2
        offset.append(float(np.floor(first + 0.5)) if step == 1.0 else first)
        shape.append(count)
        steps.append(step)
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = offset
    target = Grid((shape[0], shape[1], shape[2]), grid.affine @ matrix)
    copied = all(s == 1.0 for s in steps)
    return Placement(target, (int(offset[0]), int(offset[1]), int(offset[2])) if copied else None)


def take(array: Array, grid: Grid, placement: Placement, *, outside: float, kind: str) -> Array:
    """The cut of an array: copied, or resampled (`kind`: image, labels or mask)."""
    if placement.offset is not None:
        result = np.full(placement.grid.shape, outside, dtype=array.dtype, order="F")
        here, there = _overlap(array.shape, placement)
        result[there] = array[here]
        return result
    if kind == "labels":
        return resample_to(array, grid, placement.grid, nearest=True, outside=outside)
    if kind == "mask":
        part, place = about(array, grid, placement.grid, outside)
        share = resample_to(part.astype(np.float32), place, placement.grid, nearest=False, outside=outside, smooth=True)
        return (share >= 0.5).astype(array.dtype)
    return resample_to(array, grid, placement.grid, nearest=False, outside=outside, smooth=True)


def put_back(cut: Array, grid: Grid, placement: Placement, *, outside: float, kind: str) -> Array:
    """A cut on the scan's grid: the exact inverse where it was copied, else resampled."""
    if placement.offset is not None:
        result = np.full(grid.shape, outside, dtype=cut.dtype, order="F")
        here, there = _overlap(grid.shape, placement)
        result[here] = cut[there]
        return result
    return resample_to(cut, placement.grid, grid, nearest=kind != "image", outside=outside)


Box = tuple[slice, slice, slice]


def _overlap(shape: tuple[int, ...], placement: Placement) -> tuple[Box, Box]:
    """The common box of scan and cut, in indices of the scan and of the cut."""
    assert placement.offset is not None
    here, there = [], []
    for length, first, count in zip(shape, placement.offset, placement.grid.shape, strict=True):
        low, high = max(0, first), max(0, min(length, first + count))
        low = min(low, high)
        here.append(slice(low, high))
        there.append(slice(low - first, high - first))
    return (here[0], here[1], here[2]), (there[0], there[1], there[2])


def to_stack(cut: Array, axis: int) -> Array:
    """(X, Y, Z) to (slices, rows, columns) as people look at slices; `from_stack` is the exact inverse."""
    return np.moveaxis(cut, axis, 0).transpose(0, 2, 1)[:, ::-1, ::-1]


def from_stack(stack: Array, axis: int) -> Array:
    """(slices, rows, columns) to (X, Y, Z)."""
    return np.moveaxis(stack[:, ::-1, ::-1].transpose(0, 2, 1), 0, axis)


def stored_values(
    image: Array, body: Array | None, modality: str, unit: str, recipe: RecipeBase
) -> tuple[Array, dict[str, Any]]:
    """Image values as they are stored, and how to read them: value = stored * slope + intercept.

    HU under a fixed window are kept as int16 HU, clipped to the window. Other scales are clipped to their
    percentiles and spread over int16. Masks stay 0 and 1.
    """
    if modality == "mask":
        return image.astype(np.uint8), {
            "kind": "mask",
            "low": 0.0,
            "high": 1.0,
            "slope": 1.0,
            "intercept": 0.0,
        }
    values = window_of(image, body, unit, recipe)
    return stored_in(image, values), values


def window_of(image: Array, body: Array | None, unit: str, recipe: RecipeBase) -> dict[str, Any]:
    """The window of an image that is no mask, and the scale that its values are stored in.

    Args:
        image: The whole scan.
        body: Where percentiles are taken; None, or an empty one: everywhere.
        unit: `hu` or another.
        recipe: Names the windows.

    Returns:
        `kind` (`hu`, `fixed` or `percentile`), `low`, `high`, `slope`, `intercept`.

    Raises:
        ScanError: Both percentiles are equal.
    """
    window = recipe.ct_window if unit == "hu" else recipe.mr_window
    if isinstance(window, HuWindow):
        low, high = window.low, window.high
        kind = "hu" if unit == "hu" else "fixed"
    else:
        inside = values_in(image, body > 0) if body is not None and body.any() else image.ravel(order="K")
        low, high = (
            float(v) for v in np.percentile(inside[:: max(1, inside.size // 2_000_000)], [window.low, window.high])
        )
        kind = "percentile"
        if high <= low:
            raise ScanError(
                f"the {window.low:g} and {window.high:g} percentiles inside the body are equal ({low:g})",
                remedy="widen the recipe's window",
            )
    values: dict[str, Any] = {"kind": kind, "low": low, "high": high, "slope": 1.0, "intercept": 0.0}
    if not (image.dtype.kind in "iu" and kind == "hu"):
        values["slope"], values["intercept"] = (high - low) / LEVELS, (high + low) / 2
    return values


def stored_in(image: Array, values: dict[str, Any]) -> Array:
    """Values of an image, or of a part of it, as they are stored: int16, clipped to the window of `window_of`."""
    if image.dtype.kind in "iu" and values["kind"] == "hu":
        return np.clip(image, int(np.ceil(values["low"])), int(np.floor(values["high"]))).astype(np.int16)
    share = np.clip((image.astype(np.float64) - values["intercept"]) / values["slope"], -LEVELS / 2, LEVELS / 2)
    return np.rint(share).astype(np.int16)


def slice_placement(grid: Grid, recipe: SliceRecipe, focus: Array | None) -> Placement:
    """Where the slices of a scan lie: all of them along the axis, cropped about the body within."""
    axis = AXES[recipe.axis]
    box = list(bounding_box(focus)) if focus is not None else [slice(0, n) for n in grid.shape]
    box[axis] = slice(0, grid.shape[axis])
    spacing: list[float | None] = [recipe.spacing_mm] * 3
    spacing[axis] = None
    size: list[int | None] = [None, None, None]
    across = [a for a in range(3) if a != axis]
    if recipe.size is not None:
        size[across[1]], size[across[0]] = recipe.size
    else:
        for a in across:
            box[a] = slice(0, grid.shape[a])
    return place(grid, (spacing[0], spacing[1], spacing[2]), (size[0], size[1], size[2]), (box[0], box[1], box[2]))


def region_placement(
    grid: Grid, recipe: RegionRecipe, body: Array | None, labels: Array | None, structures: dict[str, int]
) -> Placement:
    """Where the region of a scan lies.

    Raises:
        ScanError: a structure that `around` names is not in the scan.
    """
    whole = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    margin = [int(np.ceil(recipe.margin_mm / s)) for s in grid.spacing_mm]
    if recipe.around == "image" or (recipe.around == "body" and body is None and labels is None):
        box = whole
    else:
        if recipe.around == "body":
            focus = body if body is not None else labels
            assert focus is not None
            focus = focus > 0
        else:
            if labels is None:
                raise ScanError("the region lies around structures, and the scan has no labels")
            focus = holding(labels, [structures[s] for s in recipe.around if s in structures])
        if not focus.any():
            raise ScanError(
                f"nothing to cut a region around: {recipe.around} is not in the scan",
                remedy="set the recipe's `around`, or mend the labels",
            )
        tight = bounding_box(focus)
        # grown beyond the grid where need be: the margin is padded, the centre stays
        box = tuple(slice(s.start - m, s.stop + m) for s, m in zip(tight, margin, strict=True))  # type: ignore[assignment]
    spacing = tuple(recipe.spacing_mm) if recipe.spacing_mm else (None, None, None)
    size = tuple(recipe.size) if recipe.size else (None, None, None)
    return place(grid, spacing, size, box)  # type: ignore[arg-type]


def legacy_slices(stack: Array) -> Array:
    """The published background rule on every slice of a stack of raw values; uint8."""
    return np.stack([remove_background(stretch_slice(s)) for s in stack])


def placement_of(geometry: dict[str, Any]) -> tuple[Placement, Grid]:
    """The placement and the scan's grid from `geometry.json`."""
    cut, scan = geometry["cut_grid"], geometry["scan_grid"]
    offset = geometry["offset"]
    return Placement(Grid.of(cut), tuple(offset) if offset is not None else None), Grid.of(scan)


def restore(stack: Array, geometry: dict[str, Any], *, kind: str, outside: float | None = None) -> Array:
    """Slices or a region back on the scan's canonical grid, image values in their unit.

    Args:
        stack: (slices, rows, columns), or (X, Y, Z) for a region, as stored.
        geometry: Content of `geometry.json`.
        kind: `image` (values are converted), `labels` or `mask`.
        outside: Value where the cut does not reach; the scan's outside value for images, else 0.
    """
    placement, grid = placement_of(geometry)
    cut = from_stack(stack, AXES[geometry["axis"]]) if geometry["kind"] == "slices" else stack
    if kind == "image":
        values = geometry["values"]
        if values["kind"] == "slice_minmax":
            raise ScanError("slices stretched one by one have lost their unit", remedy="use background: body")
        if values["slope"] != 1.0 or values["intercept"] != 0.0:
            cut = cut.astype(np.float32) * np.float32(values["slope"]) + np.float32(values["intercept"])
        outside = geometry["outside"] if outside is None else outside
    return put_back(np.ascontiguousarray(cut), grid, placement, outside=outside or 0, kind=kind)
