"""A scan as a network of translation sees it: cut by the recipe, on a canvas that holds the whole body, slab by slab.

A slab is some neighbouring slices of the canvas. It is cut from these slices of the scan alone, by the same functions
as the slices of a training, so that no copy of the whole volume in floating point is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from volforge.config.models import SliceRecipe
from volforge.errors import ScanError, VolforgeError
from volforge.volume.boxes import bounding_box
from volforge.volume.cut import AXES, Placement, put_back, slice_placement, to_stack, window_of
from volforge.volume.cut_scan import cut_values
from volforge.volume.geometry import Array, Grid
from volforge.volume.store import normalise

LEAST = 8  # pixels of a scan along each side of a slice
REACH = 6  # voxels about a slab that blurring and interpolating it reads, times the ratio of the voxel sizes


class UnfitError(ScanError):
    """A scan that was read well, and that no network of this view can take."""


@dataclass(frozen=True)
class Contrast:
    """An image of the source's modality.

    Attributes:
        image: (X, Y, Z), canonical, in its unit.
        grid: Its grid.
        body: (X, Y, Z) bool; None: none was found, percentiles are taken everywhere.
        unit: `hu` or `arbitrary`.
        outside: Value beyond the image, in its unit.
        scan: Its name, for messages.
    """

    image: Array
    grid: Grid
    body: Array | None
    unit: str
    outside: float
    scan: str = ""


@dataclass(frozen=True)
class Canvas:
    """Where the slices of a view lie in a scan.

    Attributes:
        axis: Of the scan, that slices follow each other on.
        grid: Of the scan.
        placement: Of all slices.
    """

    axis: int
    grid: Grid
    placement: Placement

    @property
    def count(self) -> int:
        """Slices."""
        return self.placement.grid.shape[self.axis]

    def slab(self, first: int, end: int) -> tuple[tuple[slice, ...], Grid, Placement]:
        """Some slices: their box in the scan, its grid, and where the slab lies in it."""
        box = _along(self.axis, first, end, self.grid.shape)
        own = _along(self.axis, first, end, self.placement.grid.shape)
        return box, self.grid.part(box), Placement(self.placement.grid.part(own), self.placement.offset)

    def back(self, values: Array, first: int, end: int, outside: float) -> Array:
        """A slab's values on the voxels of the scan.

        Args:
            values: (X, Y, Z) of the slab.
            first, end: Its slices.
            outside: Value where the canvas does not reach.

        Returns:
            (X, Y, Z) of the slab's box in the scan: copied where the cut was, else interpolated linearly.
        """
        _, grid, placement = self.slab(first, end)
        return put_back(values, grid, placement, outside=outside, kind="image")


def _along(axis: int, first: int, end: int, shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(first, end) if a == axis else slice(0, n) for a, n in enumerate(shape))


def canvas_of(grid: Grid, recipe: SliceRecipe, body: Array | None, divisor: int = 1, where: str = "") -> Canvas:
    """The slices of a scan as the recipe cuts them, grown where they do not hold the whole body.

    A canvas grows on both sides by whole pixels, so that the pixels of the recipe stay where they are; and so that its
    sides stay multiples of `divisor` where those of the recipe are.

    Args:
        grid: Of the scan.
        recipe: The slices.
        body: (X, Y, Z) bool, or None: the whole grid.
        divisor: Of the network.
        where: The scan, for messages.

    Raises:
        UnfitError: The scan shows fewer than 8 pixels along a side of a slice; an empty body.
        VolforgeError: A recipe whose slices have no unit.
    """
    if recipe.background != "body":
        text = "slices that are stretched one by one hold no signal that could be translated"
        raise VolforgeError(text, where, "use a recipe with `background: body`")
    if body is not None and not body.any():
        raise UnfitError("the body mask is empty", where, "look at the scan's qc.png, or give a body mask")
    axis = AXES[recipe.axis]
    placement = slice_placement(grid, recipe, body)
    held = bounding_box(body) if body is not None else tuple(slice(0, n) for n in grid.shape)
    there = np.linalg.inv(grid.affine) @ placement.grid.affine
    unit = divisor // math.gcd(2, divisor)
    grown = [0, 0, 0]
    for a in (a for a in range(3) if a != axis):
        step, count = float(there[a, a]), placement.grid.shape[a]
        if round(grid.shape[a] / step) < LEAST:
            shown = " x ".join(map(str, grid.shape))
            raise UnfitError(
                f"a scan of {shown} voxels has fewer than {LEAST} pixels along a side of its {recipe.axis} slices",
                where,
                "translate it by a model of another view, or give a larger scan",
            )
        first = float(there[a, 3]) - step / 2  # edges, in voxels of the scan
        lacking = max(first - (held[a].start - 0.5), held[a].stop - 0.5 - (first + count * step)) / step
        if lacking > 1e-6:
            grown[a] = unit * math.ceil(math.ceil(lacking - 1e-6) / unit)
    box = tuple(slice(-g, n + g) for g, n in zip(grown, placement.grid.shape, strict=True))
    offset = placement.offset
    if offset is not None:
        offset = (offset[0] - grown[0], offset[1] - grown[1], offset[2] - grown[2])
    return Canvas(axis, grid, Placement(placement.grid.part(box), offset))


class Source:
    """The contrasts of a scan, cut for one view.

    Args:
        contrasts: The source, then further ones of its frame; those on another grid are put onto its canvas.
        recipe: The slices and windows.
        canvas: From `canvas_of`.

    Raises:
        UnfitError: The window of a contrast is empty: it has one grey.
    """

    def __init__(self, contrasts: Sequence[Contrast], recipe: SliceRecipe, canvas: Canvas):
        self.contrasts, self.canvas = contrasts, canvas
        try:
            self.values: list[dict[str, Any]] = [window_of(c.image, c.body, c.unit, recipe) for c in contrasts]
        except ScanError as error:
            raise UnfitError(error.message, error.where, error.remedy) from error

    def slab(self, first: int, end: int, context: int = 0) -> Array:
        """What the network sees of some slices, without the channels that neighbours make.

        Args:
            first, end: The slices.
            context: Neighbours on each side; beyond the ends the last slice stands again.

        Returns:
            (contrasts, end - first + 2 context, rows, columns) float32 from -1 to 1.
        """
        low, high = max(0, first - context), min(self.canvas.count, end + context)
        box, grid, placement = self.canvas.slab(low, high)
        found = []
        for contrast, values in zip(self.contrasts, self.values, strict=True):
            if _is_same(contrast.grid, self.canvas.grid):
                cut = cut_values(contrast.image[box], grid, placement, contrast.unit, values, contrast.outside)
            else:
                cut = _cut_elsewhere(contrast, placement.grid, values)
            found.append(normalise(to_stack(cut, self.canvas.axis), values))
        missing = (low - (first - context), end + context - high)
        stacks = np.stack(found)
        return np.pad(stacks, ((0, 0), missing, (0, 0), (0, 0)), mode="edge") if any(missing) else stacks


def _is_same(one: Grid, other: Grid) -> bool:
    """Whether voxels can be copied; the same rule as for the slices of a training."""
    return one.shape == other.shape and np.allclose(one.affine, other.affine, atol=1e-4)


def _cut_elsewhere(contrast: Contrast, onto: Grid, values: dict[str, Any]) -> Array:
    """A slab of a contrast whose grid is another one, from the part of it that lies about the slab."""
    matrix = np.linalg.inv(contrast.grid.affine) @ onto.affine
    corners = np.array(np.meshgrid(*[[0, n - 1] for n in onto.shape])).reshape(3, -1)
    placed = matrix[:3, :3] @ corners + matrix[:3, 3:]
    ratio = max(a / b for a in onto.spacing_mm for b in contrast.grid.spacing_mm)
    margin = math.ceil(REACH * max(1.0, ratio))
    low = np.clip(np.floor(placed.min(axis=1)).astype(int) - margin, 0, contrast.image.shape)
    high = np.clip(np.ceil(placed.max(axis=1)).astype(int) + margin + 1, 0, contrast.image.shape)
    if (high <= low).any():  # the contrast does not show these slices: one of its voxels, and nothing of it in view
        low, high = np.zeros(3, int), np.ones(3, int)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    part = contrast.grid.part(box)
    return cut_values(contrast.image[box], part, Placement(onto, None), contrast.unit, values, contrast.outside)


def channels_of(stacks: Array, context: int) -> Array:
    """Slices with their neighbours as channels, contrast by contrast, each from below upwards.

    Args:
        stacks: (contrasts, S + 2 context, rows, columns).
        context: Neighbours on each side.

    Returns:
        (S, contrasts (2 context + 1), rows, columns).
    """
    _, depth, rows, columns = stacks.shape
    seen = np.lib.stride_tricks.sliding_window_view(stacks, 2 * context + 1, axis=1)  # ..., neighbour last
    count = depth - 2 * context
    return np.ascontiguousarray(seen.transpose(1, 0, 4, 2, 3)).reshape(count, -1, rows, columns)
